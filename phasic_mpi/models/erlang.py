"""The Erlang distribution: phases in a row, all left at one rate."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from phasic_mpi.models.model import Model, Parameter, Process, every, shifted
from phasic_mpi.models.settings import Integer
from phasic_mpi.rule import Batch


def process(phases: int) -> Process:
    """States are phases from 1 to ``phases``; the one after the last is absorbing."""
    return Process(
        initial=[1],
        transitions=_transitions,
        parameters=(Parameter("rate", 1.0, "rate at which each phase is left"),),
        state_names=("phase",),
        absorbing=lambda states: states[:, 0] > phases,
    )


def _transitions(states: NDArray[np.int32]) -> Iterator[Batch]:
    yield every(states), shifted(states, 1), np.ones((len(states), 1))


def n_vertices(phases: int) -> int:
    """The start, the phases, and the end."""
    return phases + 2


MODEL = Model(
    name="erlang",
    summary="Erlang distribution: sum of exponential times of one rate",
    settings=(Integer("phases", 3, 1, "number of exponential times"),),
    process=process,
    source="Erlang (1917), Solution of some problems in the theory of probabilities of "
    "significance in automatic telephone exchanges, Elektroteknikeren 13",
    n_vertices=n_vertices,
)
