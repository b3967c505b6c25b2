"""Machines that fail and are repaired: the time until too few of them work."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from phasic_mpi.models.model import Model, Parameter, Process, Reward, moves
from phasic_mpi.models.settings import Integer
from phasic_mpi.rule import Batch


def process(n: int, k: int, repairers: int, operating: int) -> Process:
    """States are failed machines, none at first; with fewer than ``k`` working the system is down.

    Of the machines that work, ``operating`` run and fail at rate ``failure`` each; the others stand
    by and fail at rate ``standby_failure``. A repairer mends one machine at a time.
    """
    if k > n:
        raise ValueError("k of at most n")
    if operating and not k <= operating <= n:
        raise ValueError("operating to be 0 or in k..n")
    most = operating or n
    n_parameters = len(_PARAMETERS) if most < n else len(_PARAMETERS) - 1
    each = np.eye(n_parameters)

    def running(states: NDArray[np.int32]) -> NDArray[np.int32]:
        return np.minimum(n - states[:, 0], most)

    def busy(states: NDArray[np.int32]) -> NDArray[np.int32]:
        return np.minimum(states[:, 0], repairers)

    def transitions(states: NDArray[np.int32]) -> Batch:
        runs = running(states)
        rates = np.column_stack([runs, busy(states), n - states[:, 0] - runs][:n_parameters])
        return moves(states, _STEPS[:n_parameters], rates, each)

    return Process(
        initial=[0],
        transitions=transitions,
        parameters=_PARAMETERS[:n_parameters],
        state_names=("failed",),
        absorbing=lambda states: n - states[:, 0] < k,
        rewards=(
            Reward("running", running, "machines that run"),
            Reward("failed", lambda states: states[:, 0], "machines that have failed"),
            Reward("busy_repairers", busy, "repairers at work"),
        ),
    )


_PARAMETERS = (
    Parameter("failure", 0.1, "rate at which a running machine fails"),
    Parameter("repair", 1.0, "rate at which a repairer mends a machine"),
    Parameter("standby_failure", 0.01, "rate at which a machine on standby fails; 0 if it is cold"),
)

# A failure, a repair, and the failure of a machine on standby.
_STEPS = np.array([[1], [-1], [1]], dtype=np.int32)


def n_vertices(n: int, k: int, **_: object) -> int:
    """The start, and 0 to ``n - k + 1`` failed machines."""
    return n - k + 3


MODEL = Model(
    name="machine-repair",
    summary="k-out-of-n system with repair: time until fewer than k machines work",
    settings=(
        Integer("n", 5, 1, "number of machines"),
        Integer("k", 3, 1, "machines that the system needs"),
        Integer("repairers", 1, 0, "machines that can be repaired at a time"),
        Integer("operating", 0, 0, "machines that run at a time, the others standing by; 0: all"),
    ),
    process=process,
    source="Barlow and Proschan (1965), Mathematical Theory of Reliability, chapter 5",
    n_vertices=n_vertices,
)
