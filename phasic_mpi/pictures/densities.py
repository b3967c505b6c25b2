"""Densities at several theta over one axis, and means of several rewards as bars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phasic_mpi.pictures import figures

_SIZE = (8, 5)


@dataclass(frozen=True, eq=False)
class Density:
    """The density at one theta.

    Attributes:
        label: What its legend says.
        points: ``float64[n]``; ``values``: the density there.
        mean: The mean.
        quantiles: Probabilities and quantiles.
    """

    label: str
    points: NDArray[np.float64]
    values: NDArray[np.float64]
    mean: float
    quantiles: Sequence[tuple[float, float]]


def save_densities(path: Path, densities: Sequence[Density], *, unit: str, what: str) -> None:
    """Draws densities over the same axis, with their means and quantiles marked.

    Args:
        path: File to write, ``.png``, ``.svg`` or ``.pdf``.
        densities: A curve each.
        unit: Unit of the axis.
        what: Name of the quantity, such as "the time to absorption".
    """

    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        for index, density in enumerate(densities):
            colour = f"C{index}"
            axes.plot(density.points, density.values, color=colour, label=density.label)
            _mark(axes, density, colour)
        for style, name in (("--", "mean"), ("o", "quantiles")):
            axes.plot([], [], style, color="grey", linewidth=1, markersize=5, label=name)
        axes.set_xlabel(f"{what} [{unit}]")
        axes.set_ylabel(f"density [1/{unit}]")
        axes.set_xlim(0, densities[0].points[-1])
        axes.set_ylim(bottom=0)
        axes.legend(fontsize="small")

    figures.save_figure(path, _SIZE, draw)


def _mark(axes: Any, density: Density, colour: str) -> None:
    """A line at the mean, and dots with their probability at the quantiles."""

    def height(x: float) -> float:
        return float(np.interp(x, density.points, density.values))

    axes.vlines(density.mean, 0, height(density.mean), color=colour, linestyle="--", linewidth=1)
    x = [quantile for _, quantile in density.quantiles]
    y = [height(quantile) for quantile in x]
    axes.plot(x, y, "o", color=colour, markersize=5)
    for (probability, quantile), top in zip(density.quantiles, y, strict=True):
        axes.annotate(
            f"{100 * probability:g} %",
            (quantile, top),
            xytext=(6, 4),
            textcoords="offset points",
            fontsize="small",
            color=colour,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5},
        )


def save_means(
    path: Path,
    means: NDArray[np.float64],
    labels: Sequence[str],
    *,
    unit: str,
    reward_names: Sequence[str] = (),
) -> None:
    """Draws the means of several rewards as bars, side by side for each theta.

    Args:
        path: File to write, ``.png``, ``.svg`` or ``.pdf``.
        means: ``float64[n_theta, n_rewards]``.
        labels: What the legend says of each theta.
        unit: Unit of the means.
        reward_names: Names of the rewards, if they have some.
    """

    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        rewards = np.arange(1, means.shape[1] + 1)
        width = 0.8 / len(means)
        for index, (row, label) in enumerate(zip(means, labels, strict=True)):
            shift = width * (index - (len(means) - 1) / 2)
            axes.bar(rewards + shift, row, width, label=label)
        if reward_names:
            axes.set_xticks(rewards, reward_names, rotation="vertical")
            axes.set_xlabel("reward")
        else:
            axes.xaxis.get_major_locator().set_params(integer=True, nbins=20)
            axes.set_xlabel("reward (row of the file of rewards)")
        axes.set_ylabel(f"expected reward [{unit}]")
        axes.legend(fontsize="small")

    figures.save_figure(path, _SIZE, draw)
