"""A phase-type distribution given by its initial vector and its sub-intensity matrix."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from phasic_mpi.graph import MASS_TOLERANCE
from phasic_mpi.models.model import Model, Parameter, Process
from phasic_mpi.models.settings import Integer, Matrix
from phasic_mpi.rule import Batch

# Of the diagonal: row sums that rounding may leave where no exit is meant.
_ROUNDING = 1e-12


def process(alpha: NDArray[np.float64], S: NDArray[np.float64], scaled: int) -> Process:  # noqa: N803
    """States are phases from 1 on, the rows of ``S``; the number after the last is absorbing.

    What ``alpha`` lacks to 1 is the probability of a time of 0: the process starts absorbed.
    """
    exits = _exit_rates(S)
    end = len(S) + 1
    initial = _initial(alpha, len(S))
    phases = np.flatnonzero(initial) + 1
    rates = np.column_stack([S, exits])
    np.fill_diagonal(rates, 0.0)

    def transitions(states: NDArray[np.int32]) -> Iterator[Batch]:
        row, target = np.nonzero(rates[states[:, 0] - 1])
        rate = rates[states[row, 0] - 1, target]
        yield row, target[:, np.newaxis] + 1, rate[:, np.newaxis] if scaled else rate

    return Process(
        initial=phases[:, np.newaxis],
        initial_probabilities=initial[phases - 1],
        transitions=transitions,
        parameters=(Parameter("rate", 1.0, "what all rates are multiplied by"),) if scaled else (),
        state_names=("phase",),
        absorbing=lambda states: states[:, 0] == end,
    )


def _initial(alpha: NDArray[np.float64], n_phases: int) -> NDArray[np.float64]:
    """Probabilities of all phases and of the end."""
    if not alpha.size:
        alpha = np.eye(1, n_phases)
    if alpha.shape != (1, n_phases) or (alpha < 0).any() or alpha.sum() > 1 + MASS_TOLERANCE:
        raise ValueError(f"alpha to be {n_phases} probabilities with a sum of at most 1")
    lacking = 1 - alpha.sum()
    return np.append(alpha, lacking if lacking > MASS_TOLERANCE else 0.0)


def _exit_rates(S: NDArray[np.float64]) -> NDArray[np.float64]:  # noqa: N803
    """Rates from each phase to the end."""
    if not S.size or S.shape[0] != S.shape[1]:
        raise ValueError("S to be a square matrix")
    diagonal = S.diagonal()
    if (S[~np.eye(len(S), dtype=bool)] < 0).any() or (diagonal >= 0).any():
        raise ValueError("S to be negative on its diagonal and at least 0 beside it")
    exits: NDArray[np.float64] = -S.sum(axis=1)
    exits[np.abs(exits) <= -_ROUNDING * diagonal] = 0.0
    if (exits < 0).any() or not exits.any():
        raise ValueError("the rows of S to have sums of at most 0, one of them below 0")
    return exits


def n_vertices(S: NDArray[np.float64], **_: object) -> int:  # noqa: N803
    """The start, the phases, and the end; at most, if some phases are not reached."""
    return len(S) + 2


MODEL = Model(
    name="phase-type",
    summary="Phase-type distribution given by alpha and S, its sub-intensity matrix",
    settings=(
        Matrix("alpha", "", "initial probability of each phase; the first phase by default"),
        Matrix("S", "-1,1;0,-2", "rates between phases, and minus the rate of leaving each"),
        Integer("scaled", 0, 0, "1: a parameter that multiplies all rates", 1),
    ),
    process=process,
    source="Neuts (1981), Matrix-Geometric Solutions in Stochastic Models, chapter 2",
    n_vertices=n_vertices,
)
