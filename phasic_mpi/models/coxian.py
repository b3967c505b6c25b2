"""The Coxian distribution: phases in a row, each of which may be the last."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from phasic_mpi.models.model import Model, Parameter, Process
from phasic_mpi.models.settings import Integer
from phasic_mpi.rule import Batch


def process(phases: int) -> Process:
    """States are phases from 1 to ``phases``; ``phases + 1`` is absorbing.

    Phase i goes on to the next at rate ``onward_i`` and ends the time at rate ``exit_i``: its rate
    is their sum, and the probability of going on ``onward_i`` divided by that.
    """
    onward = [
        Parameter(f"onward_{i}", 1.0, f"rate from phase {i} to phase {i + 1}")
        for i in range(1, phases)
    ]
    leaving = [
        Parameter(f"exit_{i}", 0.5, f"rate from phase {i} to the end") for i in range(1, phases + 1)
    ]
    unit = np.eye(2 * phases - 1)

    def transitions(states: NDArray[np.int32]) -> Iterator[Batch]:
        phase = states[:, 0]
        (before_last,) = np.nonzero(phase < phases)
        yield before_last, states[before_last] + 1, unit[phase[before_last] - 1]
        yield np.arange(len(states)), [phases + 1], unit[phase + phases - 2]

    return Process(
        initial=[1],
        transitions=transitions,
        parameters=(*onward, *leaving),
        state_names=("phase",),
        absorbing=lambda states: states[:, 0] > phases,
    )


def n_vertices(phases: int) -> int:
    """The start, the phases, and the end."""
    return phases + 2


MODEL = Model(
    name="coxian",
    summary="Coxian distribution: exponential times in a row, each of which may be the last",
    # Each phase has parameters of its own, and each edge a coefficient for each of them.
    settings=(Integer("phases", 3, 1, "number of phases", 1000),),
    process=process,
    source="Cox (1955), A use of complex probabilities in the theory of stochastic processes, "
    "Mathematical Proceedings of the Cambridge Philosophical Society 51",
    n_vertices=n_vertices,
)
