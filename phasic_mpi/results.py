"""Results of an evaluation, and how they are written: tables, JSON, CSV, HDF5."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phasic_mpi import hdf5
from phasic_mpi.display import Table
from phasic_mpi.names import encode_names, theta_labels
from phasic_mpi.quantities import GRADIENT_SUFFIX, Axis, Quantity, Request, quantities

FILETYPE = "phasic_mpi.results"
VERSION = (1, 1)

# A longer table helps nobody; files have everything.
_SHOWN_ROWS = 200

# Columns of values that fit the width of a page.
_MOST_ACROSS = 6

# Quantities whose last axis goes across a table if it is short; others go down, value by value.
_WIDE = ("moments", "covariance", "correlation")

# Points are written beside the function that was evaluated at them.
_POINT_AXES = {"time": "times", "probability": "probabilities"}


@dataclass(frozen=True, eq=False)
class Results:
    """Values of quantities at many theta.

    Attributes:
        theta: ``float64[n_theta, n_parameters]``.
        quantities: What was computed.
        values: ``float64[n_theta, *shape]`` of each quantity, by its name. Correlations with a
            reward that does not vary are NaN.
        parameter_names: Names of the entries of theta, if they have some.
        reward_names: Names of the rewards, or of the one, if they have some.
    """

    theta: NDArray[np.float64]
    quantities: list[Quantity]
    values: dict[str, NDArray[np.float64]]
    parameter_names: tuple[str, ...] = ()
    reward_names: tuple[str, ...] = ()

    @property
    def theta_labels(self) -> tuple[str, ...]:
        """What the entries of theta are called in texts."""
        return theta_labels(self.parameter_names, self.theta.shape[1])

    def names(self) -> dict[str, list[str]]:
        """Names of parameters and of rewards, where there are some."""
        kinds = ("parameter_names", "reward_names")
        return {kind: list(getattr(self, kind)) for kind in kinds if getattr(self, kind)}

    def arrays(self) -> dict[str, NDArray[np.float64]]:
        """Theta, values, and the points that functions were evaluated at, by their names."""
        found = {"theta": self.theta}
        for quantity in self.quantities:
            found[quantity.name] = self.values[quantity.name]
            for axis in quantity.axes:
                if axis.name in _POINT_AXES:
                    name = f"{quantity.value_name}_{_POINT_AXES[axis.name]}"
                    found[name] = np.array(axis.coordinates)
        return found


def moment_results(
    theta: NDArray[np.float64],
    moments: NDArray[np.float64],
    parameter_names: tuple[str, ...] = (),
    *,
    rewards: NDArray[np.float64] | None = None,
    reward_names: tuple[str, ...] = (),
) -> Results:
    """Moments ``float64[n_theta, n_moments]`` as results.

    Of the time to absorption, or of one reward, ``float64[n_vertices]``.
    """
    asked = quantities(
        Request(n_moments=moments.shape[1]),
        n_parameters=theta.shape[1],
        n_rewards=None,
        has_rewards=rewards is not None,
        parameter_names=parameter_names,
        reward_names=reward_names,
    )
    return Results(theta, asked, {"moments": moments}, parameter_names, reward_names)


def to_hdf5(results: Results) -> bytes:
    """The bytes of a results file, see ``docs/file_formats.md``."""
    units = {f"{quantity.name}_unit": quantity.unit for quantity in results.quantities}
    names = {name: encode_names(tuple(given)) for name, given in results.names().items()}
    image = hdf5.encode(
        FILETYPE,
        VERSION,
        datasets={**results.arrays(), **names},
        attributes=units,
        summary=summary(results),
    )
    return bytes(image)


def summary(results: Results) -> dict[str, Any]:
    """Counts and names, which a results file states before the arrays."""
    return {
        "n_theta": len(results.theta),
        "n_parameters": results.theta.shape[1],
        "quantities": [quantity.name for quantity in results.quantities],
        **results.names(),
    }


def to_json(results: Results) -> str:
    """One JSON object; what is not a number is ``null``."""
    facts: dict[str, Any] = {name: _nested(array) for name, array in results.arrays().items()}
    facts.update(results.names())
    facts["axes"] = {
        quantity.name: ["row", *(axis.name for axis in quantity.axes)]
        for quantity in results.quantities
    }
    facts["units"] = {quantity.name: quantity.unit for quantity in results.quantities}
    return json.dumps(facts, allow_nan=False) + "\n"


def _nested(array: NDArray[np.float64]) -> Any:
    undefined = np.isnan(array)
    if not undefined.any():
        return array.tolist()
    objects = array.astype(object)
    objects[undefined] = None
    return objects.tolist()


def to_csv(results: Results) -> str:
    """One line of names with units, then one line for each theta."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    n_theta = len(results.theta)
    writer.writerow(
        [*results.theta_labels, *(name for q in results.quantities for name in q.columns())]
    )
    flat = [results.values[quantity.name].reshape(n_theta, -1) for quantity in results.quantities]
    for row in np.concatenate([results.theta, *flat], axis=1):
        writer.writerow(row.tolist())
    return stream.getvalue()


def tables(results: Results) -> list[Table]:
    """A table for each quantity, with its gradient in further columns if there is room."""
    beside = results.theta.shape[1] <= _MOST_ACROSS
    gradients = {
        quantity.value_name: quantity
        for quantity in results.quantities
        if beside and quantity.name.endswith(GRADIENT_SUFFIX)
    }
    return [
        _table(results, quantity, gradients.get(quantity.name))
        for quantity in results.quantities
        if quantity.name not in {gradient.name for gradient in gradients.values()}
    ]


def _table(results: Results, quantity: Quantity, gradient: Quantity | None) -> Table:
    values = results.values[quantity.name]
    *down, last = quantity.axes
    across = []
    if gradient is None and quantity.name in _WIDE and len(last.coordinates) <= _MOST_ACROSS:
        singular = "moment" if last.name == "moment" else "reward"
        across = list(last.labels) or [f"{singular}_{k:g}" for k in last.coordinates]
    else:
        down = [*down, last]
        across = ["value"]
        values = values[..., np.newaxis]
        if gradient is not None:
            values = np.concatenate([values, results.values[gradient.name]], axis=-1)
            across += [f"d/d {name}" for name in results.theta_labels]
    theta_names, theta = results.theta_labels, results.theta.tolist()
    if len(theta_names) > _MOST_ACROSS:
        theta_names, theta = ("row of theta",), [[row] for row in range(len(theta))]
    table = Table(
        f"{quantity.title} [{quantity.unit}]", *theta_names, *(axis.name for axis in down), *across
    )
    digits = 10 if len(across) <= _MOST_ACROSS // 2 else 6
    places = list(product(*map(_texts, down)))
    flat = values.reshape(-1, len(across))
    for row in range(min(len(flat), _SHOWN_ROWS)):
        at = [f"{x:g}" for x in theta[row // len(places)]]
        cells = [f"{x:.{digits}g}" for x in flat[row].tolist()]
        table.add(*at, *places[row % len(places)], *cells)
    if len(flat) > _SHOWN_ROWS:
        table.note = (
            f"and {len(flat) - _SHOWN_ROWS:,} more rows, which --format csv, json and hdf5 write"
        )
    return table


def _texts(axis: Axis) -> tuple[str, ...]:
    return axis.labels or tuple(f"{x:g}" for x in axis.coordinates)
