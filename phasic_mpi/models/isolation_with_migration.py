"""Isolation with migration: two populations that exchange migrants and were one before."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from phasic_mpi import _core
from phasic_mpi.models.lineages import pairs_of_kinds
from phasic_mpi.models.model import Model, Parameter, Process, Reward
from phasic_mpi.models.settings import Integer
from phasic_mpi.rule import Batch


def process(n1: int, n2: int, epoch: int) -> Process:
    """States are the lineages, one code each, the largest first; 0 where there is none.

    A lineage with i descendants in sample 1 and j in sample 2 is of class ``i (n2 + 1) + j``, so
    that classes add up when lineages merge; its code is twice that, and 1 more on island 2. Since
    the split, which is the first epoch backward in time, pairs on one island merge and lineages
    change islands; before it all lineages are in one population, with codes as on island 1.
    """
    islands = epoch == 1
    sample = [2] * n2, [2 * (n2 + 1)] * n1
    if islands:
        sample = [code + 1 for code in sample[0]], sample[1]

    def transitions(states: NDArray[np.int32]) -> Iterator[Batch]:
        yield _merge(states, islands)
        if islands:
            yield _migrate(states)

    return Process(
        initial=sorted(sample[0] + sample[1], reverse=True),
        transitions=transitions,
        parameters=_ISLANDS if islands else _ANCESTRAL,
        state_names=tuple(f"lineage_{k}" for k in range(1, n1 + n2 + 1)),
        absorbing=lambda states: states[:, 1] == 0,
        rewards=(
            Reward(
                "branch_length", lambda s: np.count_nonzero(s, axis=1), "length of all branches"
            ),
        ),
    )


def ancestral_states(states: NDArray[np.int32]) -> NDArray[np.int32]:
    """The states of the second epoch that those of the first turn into at the split."""
    return _sorted(states & ~1)


def vertices_before(states: NDArray[np.int32], ancestral: NDArray[np.int32]) -> NDArray[np.int32]:
    """Vertex of the second epoch for each vertex of the first: ``onward`` of an ``Epoch``.

    Args:
        states: ``int32[n_vertices, n1 + n2]``, states of the first epoch's graph.
        ancestral: ``int32[n_vertices, n1 + n2]``, states of the second epoch's graph.
    """
    table = _core.Exploration(ancestral.shape[1], 0)
    table.insert(np.ascontiguousarray(ancestral))
    # It counts from 1, and the states of the graph from its start on.
    vertex: NDArray[np.int32] = table.insert(np.ascontiguousarray(ancestral_states(states))) - 1
    return vertex


def joint_spectrum(states: NDArray[np.int32], n1: int, n2: int) -> NDArray[np.float64]:
    """Lineages with i and j descendants in the two samples, ``float64[n1 + 1, n2 + 1, n_states]``.

    As rewards these give the branch lengths of the joint site frequency spectrum.
    """
    classes = states // 2
    out = np.zeros(((n1 + 1) * (n2 + 1), len(states)))
    for column in classes.T:
        out[column, np.arange(len(states))] += column > 0
    return out.reshape(n1 + 1, n2 + 1, -1)


_ISLANDS = (
    Parameter("coalescence_1", 1.0, "rate at which each pair of lineages on island 1 merges"),
    Parameter("coalescence_2", 1.0, "the same on island 2"),
    Parameter("migration_1", 0.5, "rate at which a lineage on island 1 moves, backward in time"),
    Parameter("migration_2", 0.5, "the same on island 2"),
)
_ANCESTRAL = (Parameter("coalescence", 1.0, "rate at which each pair of lineages merges"),)


def _merge(states: NDArray[np.int32], islands: bool) -> Batch:
    """All ways in which two lineages on one island become one."""
    row, column, number = _kinds(states)
    first, second, pairs = pairs_of_kinds(row, number)
    code = states[row, column]
    together = (code[first] ^ code[second]) & 1 == 0
    first, second, pairs = first[together], second[together], pairs[together]
    target = states[row[first]]
    at = np.arange(first.size)
    island = code[first] & 1
    target[at, column[first]] = code[first] + code[second] - island
    target[at, column[second] + (first == second)] = 0
    coefficient = np.zeros((first.size, len(_ISLANDS if islands else _ANCESTRAL)))
    coefficient[at, island] = pairs
    return row[first], _sorted(target), coefficient


def _migrate(states: NDArray[np.int32]) -> Batch:
    """All ways in which a lineage changes islands."""
    row, column, number = _kinds(states)
    at = np.arange(row.size)
    target = states[row]
    island = target[at, column] & 1
    target[at, column] ^= 1
    coefficient = np.zeros((row.size, len(_ISLANDS)))
    coefficient[at, 2 + island] = number
    return row, _sorted(target), coefficient


def _kinds(
    states: NDArray[np.int32],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Row and column of the first lineage of each code, and how many have it."""
    begins = np.ones((len(states), states.shape[1] + 1), dtype=bool)
    begins[:, 1:-1] = states[:, 1:] != states[:, :-1]
    row, column = np.nonzero(begins[:, :-1])
    number = np.diff(np.flatnonzero(begins[:, :-1]), append=begins[:, :-1].size)
    there = states[row, column] != 0
    return row[there], column[there], number[there].astype(np.float64)


def _sorted(states: NDArray[np.int32]) -> NDArray[np.int32]:
    ordered: NDArray[np.int32] = np.sort(states, axis=1)[:, ::-1]
    return ordered


MODEL = Model(
    name="isolation-with-migration",
    summary="Two populations with migration that were one before: lineages by their descendants",
    settings=(
        Integer("n1", 3, 1, "sample size in population 1"),
        Integer("n2", 3, 1, "sample size in population 2"),
        Integer("epoch", 1, 1, "1: since the populations split, 2: before that", 2),
    ),
    process=process,
    source="Kern and Hey (2017), Exact calculation of the joint allele frequency spectrum for "
    "isolation with migration models, Genetics 207",
)
