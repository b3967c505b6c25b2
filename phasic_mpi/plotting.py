"""What a plot shows of a trace at some theta."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from phasic_mpi.errors import ConfigError
from phasic_mpi.evaluator import Evaluator
from phasic_mpi.pictures import densities
from phasic_mpi.quantities import Request

# More curves or bars cannot be told apart.
_MOST_THETA = 8

# Marked unless others are asked for; and where the axis ends.
_MARKED = (0.05, 0.5, 0.95)
_END = 0.995

_POINTS = 400


def require_few(n_theta: int) -> None:
    """Refuses more theta than a plot can show.

    Raises:
        ConfigError: There are more.
    """
    if n_theta > _MOST_THETA:
        raise ConfigError(
            "The plot cannot be made",
            problem=f"expected at most {_MOST_THETA} theta, got {n_theta}",
            resolution="give fewer theta with --plot",
        )


def draw(path: Path, evaluator: Evaluator, request: Request, theta: NDArray[np.float64]) -> None:
    """Draws the density at each theta, or the means of several rewards.

    Args:
        path: File to write.
        evaluator: What computes.
        request: Names the method, and quantiles to mark if it asks for some.
        theta: ``float64[n_theta, n_parameters]``.

    Raises:
        EvaluationError: The density cannot be computed.
    """
    labels = [_label(row, evaluator.inputs.trace.parameter_names) for row in theta]
    if evaluator.inputs.n_rewards is not None:
        means = evaluator.results(Request(n_moments=1), theta).values["moments"][..., 0]
        densities.save_means(
            path, means, labels, unit="reward", reward_names=evaluator.inputs.reward_names
        )
        return
    marked = request.points.get("quantile", _MARKED)
    found = evaluator.results(
        Request(n_moments=1, points={"quantile": (*marked, _END)}, method=request.method), theta
    )
    means, quantiles = found.values["moments"][:, 0], found.values["quantile"]
    points = np.linspace(0, quantiles.max(), _POINTS + 1)[1:]
    asked = Request(points={"pdf": tuple(points.tolist())}, method=request.method)
    values = evaluator.results(asked, theta).values["pdf"]
    curves = [
        densities.Density(label, points, curve, float(mean), list(zip(marked, row, strict=False)))
        for label, curve, mean, row in zip(labels, values, means, quantiles, strict=True)
    ]
    unit = "time" if evaluator.inputs.rewards is None else "reward"
    what = "time to absorption" if evaluator.inputs.rewards is None else "accumulated reward"
    what = " ".join([what, *evaluator.inputs.reward_names])
    densities.save_densities(path, curves, unit=unit, what=what)


def _label(theta: NDArray[np.float64], parameter_names: tuple[str, ...]) -> str:
    """What the legend says of one theta."""
    values = [f"{x:g}" for x in theta]
    if not parameter_names:
        return f"theta = {', '.join(values)}"
    return ", ".join(f"{name} = {x}" for name, x in zip(parameter_names, values, strict=True))
