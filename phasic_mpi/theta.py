"""Theta as people give it: vectors, or numbers by the names of the parameters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from phasic_mpi.errors import EvaluationError
from phasic_mpi.names import listed, short, theta_labels

T = TypeVar("T")

# One row of theta or several: vectors, or mappings of all names of the parameters to numbers.
ThetaLike = ArrayLike | Mapping[str, float] | Sequence[Mapping[str, float] | ArrayLike]


def theta_rows(
    theta: ThetaLike, n_parameters: int, parameter_names: Sequence[str] = ()
) -> NDArray[np.float64]:
    """Theta as rows, ``float64[n_theta, n_parameters]``.

    Args:
        theta: One row or several; each is a vector, or a mapping of all names to numbers.
        n_parameters: Length of theta.
        parameter_names: Names of its entries, if they have some.

    Raises:
        EvaluationError: They have another shape or other names, or are not finite.
    """
    ordered = _without_names(theta, parameter_names)
    try:
        rows = np.atleast_2d(np.asarray(ordered, dtype=np.float64))
    except (TypeError, ValueError) as exc:
        raise EvaluationError(
            "Trace cannot be evaluated",
            problem=f"expected theta of shape (n_theta, {n_parameters}): {exc}",
            context={"n_parameters": n_parameters},
            resolution="give one number per parameter of the graph",
        ) from exc
    if rows.ndim != 2 or rows.shape[1] != n_parameters:
        raise EvaluationError(
            "Trace cannot be evaluated",
            problem=f"expected theta of shape (n_theta, {n_parameters}), got {np.shape(ordered)}",
            context={"n_parameters": n_parameters},
            resolution="give one number per parameter of the graph: "
            + (listed(theta_labels(parameter_names, n_parameters)) or "none"),
        )
    if not np.isfinite(rows).all():
        index = int(np.argmin(np.isfinite(rows).all(axis=1)))
        raise EvaluationError(
            "Trace cannot be evaluated",
            problem="expected finite parameters, got theta = "
            + describe_theta(rows[index], parameter_names),
            context={"row of theta": index},
            resolution="give finite parameters",
        )
    return rows


def _without_names(theta: ThetaLike, parameter_names: Sequence[str]) -> Any:
    """Theta with each mapping in it as a list in the order of the parameters."""
    if isinstance(theta, Mapping):
        values = by_parameter(theta, parameter_names)
        for name, value in zip(parameter_names, values, strict=True):
            if np.ndim(value) != 0:
                raise EvaluationError(
                    "Theta does not fit the graph",
                    problem=f"expected one number for {name}, got shape {np.shape(value)}",
                    resolution="give a list of mappings for several theta",
                )
        return values
    if isinstance(theta, Sequence):
        return [
            _without_names(row, parameter_names) if isinstance(row, Mapping) else row
            for row in theta
        ]
    return theta


def by_parameter(theta: Mapping[str, T], parameter_names: Sequence[str]) -> list[T]:
    """The values of a mapping in the order of the parameters.

    Raises:
        EvaluationError: The parameters have no names, or the mapping has others or lacks some.
    """
    unknown = [short(name) for name in theta if name not in parameter_names]
    missing = [name for name in parameter_names if name not in theta]
    if unknown and not parameter_names:
        raise EvaluationError(
            "Theta does not fit the graph",
            problem="expected numbers, because the parameters of this graph have no names, got "
            f"{listed(unknown)}",
            resolution="give a vector, or make the graph with parameter_names",
        )
    if unknown or missing:
        raise EvaluationError(
            "Theta does not fit the graph",
            problem=f"expected the parameters {listed(parameter_names)}; unknown: "
            f"{listed(unknown) or 'none'}; missing: {listed(missing) or 'none'}",
            resolution="give every parameter of the graph by its name, or a vector",
        )
    return [theta[name] for name in parameter_names]


def describe_theta(theta: Iterable[float], parameter_names: Sequence[str] = ()) -> str:
    """One theta as people read it: ``[1.0, 0.5]``, or ``[coalescence=1.0, migration=0.5]``."""
    values = [str(float(value)) for value in theta]
    if parameter_names:
        values = [f"{name}={value}" for name, value in zip(parameter_names, values, strict=True)]
    return f"[{', '.join(values)}]"
