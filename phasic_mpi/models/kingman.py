"""Kingman's coalescent: the number of lineages until the most recent common ancestor."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from phasic_mpi.models.model import Model, Parameter, Process, Reward, every, shifted
from phasic_mpi.models.settings import Integer
from phasic_mpi.rule import Batch


def process(n: int) -> Process:
    """States ``[lineages]`` from ``n`` to 1; any pair coalesces at rate theta[0]."""
    return Process(
        initial=[n],
        transitions=_coalesce,
        parameters=(Parameter("coalescence", 1.0, "rate at which each pair coalesces"),),
        state_names=("lineages",),
        rewards=(
            Reward("branch_length", lambda states: states[:, 0], "total length of all branches"),
        ),
    )


def _coalesce(states: NDArray[np.int32]) -> Iterator[Batch]:
    lineages = states.astype(np.float64)
    yield every(states), shifted(states, -1), lineages * (lineages - 1) / 2


def n_vertices(n: int) -> int:
    """The start and one vertex per number of lineages."""
    return n + 1


MODEL = Model(
    name="kingman",
    summary="Kingman's coalescent: time to the most recent common ancestor of a sample",
    settings=(Integer("n", 10, 2, "sample size"),),
    process=process,
    source="Kingman (1982), The coalescent, Stochastic Processes and their Applications 13",
    n_vertices=n_vertices,
)
