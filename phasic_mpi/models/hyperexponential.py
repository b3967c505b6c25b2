"""The hyperexponential distribution: one of several exponential times, drawn at the start."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from phasic_mpi.graph import MASS_TOLERANCE
from phasic_mpi.models.model import Model, Parameter, Process, every
from phasic_mpi.models.settings import Matrix
from phasic_mpi.rule import Batch


def process(probabilities: NDArray[np.float64]) -> Process:
    """States are branches from 1 on; the number after the last is absorbing."""
    if len(probabilities) != 1 or (probabilities <= 0).any():
        raise ValueError("probabilities to be positive numbers")
    if abs(probabilities.sum() - 1) > MASS_TOLERANCE:
        raise ValueError(f"probabilities to sum to 1, not {probabilities.sum():.12g}")
    n_branches = probabilities.size
    unit = np.eye(n_branches)

    def transitions(states: NDArray[np.int32]) -> Batch:
        return every(states), [n_branches + 1], unit[states[:, 0] - 1]

    return Process(
        initial=np.arange(1, n_branches + 1)[:, np.newaxis],
        initial_probabilities=probabilities[0],
        transitions=transitions,
        parameters=tuple(
            Parameter(f"rate_{i}", float(i), f"rate of branch {i}")
            for i in range(1, n_branches + 1)
        ),
        state_names=("branch",),
        absorbing=lambda states: states[:, 0] > n_branches,
    )


def n_vertices(probabilities: NDArray[np.float64]) -> int:
    """The start, the branches, and the end."""
    return probabilities.size + 2


MODEL = Model(
    name="hyperexponential",
    summary="Hyperexponential distribution: mixture of exponential times",
    settings=(Matrix("probabilities", "0.7,0.3", "probability of each branch"),),
    process=process,
    source="Morse (1958), Queues, Inventories and Maintenance",
    n_vertices=n_vertices,
)
