"""What can be asked of a trace at a theta, and the names, axes and units of the answers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import NoReturn

from phasic_mpi.errors import ConfigError
from phasic_mpi.names import theta_labels

METHODS = ("auto", "uniformisation", "inversion")

# Distribution functions: what they are called in texts, the points they are asked at, their unit.
_FUNCTIONS = {
    "pdf": ("Density", "time", "1/{}"),
    "cdf": ("Distribution function", "time", "1"),
    "survival": ("Survival function", "time", "1"),
    "quantile": ("Quantiles", "probability", "{}"),
}
FUNCTIONS = tuple(_FUNCTIONS)

GRADIENT_SUFFIX = "_gradient"


@dataclass(frozen=True)
class Request:
    """Quantities to compute at every theta.

    Attributes:
        n_moments: Highest raw moment; 0 for none.
        points: For each of :data:`FUNCTIONS` that is asked for, its times or probabilities.
        covariance: Whether to compute covariances and correlations of several rewards.
        gradient: Whether to compute the derivatives of everything in theta too.
        method: One of :data:`METHODS`, for the functions.
        n_terms: Terms of uniformisation, None if the method needs no number.

    Raises:
        ConfigError: Nothing is asked for, or something that does not exist.
    """

    n_moments: int = 0
    points: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    covariance: bool = False
    gradient: bool = False
    method: str = "auto"
    n_terms: int | None = None

    def __post_init__(self) -> None:
        if self.n_moments < 0 or not (self.n_moments or self.points or self.covariance):
            _refuse("expected moments, functions or covariances, got none", "ask for one of them")
        if self.method not in METHODS:
            _refuse(f"expected one of {', '.join(METHODS)}, got {self.method!r}", "name one")
        for name, points in self.points.items():
            if name not in FUNCTIONS or not points:
                _refuse(f"expected points for one of {FUNCTIONS}, got {name}: {points}", "do so")
            for point in points:
                _require_point(name, point)

    @property
    def times(self) -> tuple[float, ...]:
        """All times at which a function is asked for."""
        return tuple(t for name, times in self.points.items() if name != "quantile" for t in times)


@dataclass(frozen=True)
class Axis:
    """One axis of the results.

    Attributes:
        name: What is counted along it.
        coordinates: Numbers along it.
        labels: Names that stand for these numbers in texts; none if the numbers do.
    """

    name: str
    coordinates: tuple[float, ...]
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Quantity:
    """One array of results; its first axis, which is not listed, are the rows of theta.

    Attributes:
        name: Its key in files.
        title: What it is called in texts.
        axes: Its further axes.
        unit: Its unit; ``k`` stands for the order of a moment.
    """

    name: str
    title: str
    axes: tuple[Axis, ...]
    unit: str

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the results at one theta."""
        return tuple(len(axis.coordinates) for axis in self.axes)

    @property
    def value_name(self) -> str:
        """Name of the quantity that this one is the gradient of, or its own."""
        return self.name.removesuffix(GRADIENT_SUFFIX)

    def columns(self) -> Iterator[str]:
        """Names with units of the results at one theta as one row, last axis fastest."""
        labels = [axis.labels or tuple(map(repr, axis.coordinates)) for axis in self.axes]
        for texts in product(*labels):
            yield self._column(dict(zip((axis.name for axis in self.axes), texts, strict=True)))

    def _column(self, at: dict[str, str]) -> str:
        unit = self.unit
        parts = []
        if "reward" in at:
            parts.append(f"reward_{at['reward']}" if at["reward"].isdecimal() else at["reward"])
        if self.value_name == "moments":
            parts.append(f"moment_{at['moment']}")
            unit = unit.replace("^k", "" if at["moment"] == "1" else f"^{at['moment']}")
        elif "reward_2" in at:
            parts = [f"{self.value_name}_{at['reward_1']}_{at['reward_2']}"]
        else:
            (point,) = (text for name, text in at.items() if name in ("time", "probability"))
            parts.append(f"{self.value_name}_at_{point}")
        name = "_".join(parts)
        if "theta" in at:
            name = f"d_{name}_d_{at['theta']}"
        return f"{name} [{unit}]"


def quantities(
    request: Request,
    *,
    n_parameters: int,
    n_rewards: int | None,
    has_rewards: bool,
    parameter_names: tuple[str, ...] = (),
    reward_names: tuple[str, ...] = (),
) -> list[Quantity]:
    """The arrays that answer a request, in the order in which they are shown.

    Args:
        request: What is asked for.
        n_parameters: Length of theta.
        n_rewards: Number of rewards if there are several, which adds an axis; else None.
        has_rewards: Whether rewards are accumulated, not time.
        parameter_names: Names of the entries of theta, if they have some.
        reward_names: Names of the rewards, or of the one, if they have some.

    Raises:
        ConfigError: Covariances without several rewards, a gradient without parameters.
    """
    if request.covariance and n_rewards is None:
        _refuse(
            "expected several rewards for covariances, got one",
            "give --rewards a two-dimensional array, one row for each reward, or several --reward",
        )
    if request.gradient and n_parameters == 0:
        _refuse("expected parameters for a gradient, the graph has none", "leave --gradient out")
    unit = "reward" if has_rewards else "time"
    whose = "the accumulated reward" if has_rewards else "the time to absorption"
    if n_rewards is None and reward_names:
        whose += f" '{reward_names[0]}'"
    each = () if n_rewards is None else (_counted("reward", n_rewards, reward_names),)
    found = []
    if request.n_moments:
        axes = (*each, _counted("moment", request.n_moments))
        found.append(Quantity("moments", f"Moments of {whose}", axes, f"{unit}^k"))
    for name in FUNCTIONS:
        if name in request.points:
            title, along, form = _FUNCTIONS[name]
            axes = (*each, Axis(along, request.points[name]))
            found.append(Quantity(name, f"{title} of {whose}", axes, form.format(unit)))
    if request.covariance and n_rewards is not None:
        pair = ("reward_1", "reward_2")
        axes = tuple(_counted(name, n_rewards, reward_names) for name in pair)
        found.append(Quantity("covariance", "Covariance of rewards", axes, f"{unit}^2"))
        found.append(Quantity("correlation", "Correlation of rewards", axes, "1"))
    if request.gradient:
        entries = _counted("theta", n_parameters, theta_labels(parameter_names, n_parameters))
        found += [_gradient(quantity, entries) for quantity in found]
    return found


def _gradient(quantity: Quantity, theta: Axis) -> Quantity:
    return Quantity(
        f"{quantity.name}{GRADIENT_SUFFIX}",
        f"Gradient: {quantity.title}",
        (*quantity.axes, theta),
        f"{quantity.unit}/theta",
    )


def _counted(name: str, n: int, labels: tuple[str, ...] = ()) -> Axis:
    return Axis(name, tuple(range(1, n + 1)), labels)


def _require_point(name: str, point: float) -> None:
    if name == "quantile" and not 0 < point < 1:
        _refuse(f"expected probabilities between 0 and 1, got {point!r}", "correct --quantile")
    if not (math.isfinite(point) and point >= 0):
        _refuse(f"expected times of at least 0, got {point!r}", f"correct --{name}")


def _refuse(problem: str, resolution: str) -> NoReturn:
    raise ConfigError("This cannot be computed", problem=problem, resolution=resolution)
