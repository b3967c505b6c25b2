"""What a plot shows of a trace at some theta."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from phasic_mpi import plot
from phasic_mpi.evaluator import Evaluator
from phasic_mpi.quantities import Request


def draw(path: Path, evaluator: Evaluator, request: Request, theta: NDArray[np.float64]) -> None:
    """Draws the density at each theta, or the means of several rewards.

    Raises:
        ConfigError: There are more theta than a plot can show.
    """
    labels = [f"theta = {', '.join(f'{x:g}' for x in row)}" for row in theta]
    means = evaluator.results(Request(n_moments=1), theta).values["moments"][..., 0]
    if means.ndim == 2:
        plot.save_means(path, means, labels, unit="reward")
