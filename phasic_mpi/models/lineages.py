"""Lineages of several kinds, counted by kind, of which some find a common ancestor."""

from __future__ import annotations

from functools import partial
from math import comb

import numpy as np
from numpy.typing import NDArray

from phasic_mpi.models.model import Reward


def merge_pairs(
    states: NDArray[np.int32],
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float64]]:
    """All ways in which two lineages become one.

    Kinds are numbered so that lineages of kinds i and j become one of kind i + j + 1: where kind i
    has i + 1 descendants, for instance.

    Args:
        states: ``int32[m, n_kinds]``, lineages of each kind.

    Returns:
        ``row``, ``int64[k]``, the state that each way leaves; ``target``, ``int32[k, n_kinds]``,
        where it leads; and ``pairs``, ``float64[k]``, how many pairs of lineages merge that way.
    """
    row, kind = np.nonzero(states)
    first, second, pairs = pairs_of_kinds(row, states[row, kind].astype(np.float64))
    target = states[row[first]]
    at = np.arange(first.size)
    target[at, kind[first]] -= 1
    target[at, kind[second]] -= 1
    target[at, kind[first] + kind[second] + 1] += 1
    return row[first], target, pairs


def pairs_of_kinds(
    row: NDArray[np.int64], number: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """All pairs of lineages of one state, by their kinds.

    Args:
        row: ``int64[q]``, ascending, the state that each kind is in.
        number: ``float64[q]``, lineages of each kind.

    Returns:
        ``first`` and ``second``, ``int64[k]``, places of two kinds, or twice of one; and ``pairs``,
        ``float64[k]``, how many pairs of such lineages there are, at least one.
    """
    end = np.cumsum(np.bincount(row))
    # Each kind that is present, with itself and the later ones of its row.
    n_partners = end[row] - np.arange(row.size)
    first = np.repeat(np.arange(row.size), n_partners)
    second = first + _count_up(n_partners)
    pairs = np.where(
        first == second, number[first] * (number[first] - 1) / 2, number[first] * number[second]
    )
    some = pairs > 0
    return first[some], second[some], pairs[some]


def take_some(states: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """All ways to take lineages out of each state, none and all included.

    Args:
        states: ``int32[m, n_kinds]``, lineages of each kind.

    Returns:
        ``row``, ``int64[k]``, the state that they are taken from, and ``taken``,
        ``int32[k, n_kinds]``, how many of each kind.
    """
    row = np.arange(len(states))
    choices = []
    for available in states.T:
        n_choices = available[row] + 1
        parent = np.repeat(np.arange(row.size), n_choices)
        choices.append((parent, _count_up(n_choices)))
        row = row[parent]
    taken = np.empty((row.size, states.shape[1]), dtype=np.int32)
    at = np.arange(row.size)
    for kind in reversed(range(len(choices))):
        parent, count = choices[kind]
        taken[:, kind] = count[at]
        at = parent[at]
    return row, taken


def spectrum_names(n: int) -> tuple[str, ...]:
    """Names of states that count the lineages with 1 to n descendants."""
    return tuple(f"lineages_{i}" for i in range(1, n + 1))


def spectrum_rewards(n: int) -> tuple[Reward, ...]:
    """Of such states, or several in a row: lengths of all branches and by their descendants."""
    return (
        Reward("branch_length", lambda states: states.sum(axis=1), "length of all branches"),
        *(
            Reward(f"branch_length_{i}", partial(_with, i, n), f"of those with {counted(i)}")
            for i in range(1, n)
        ),
    )


def n_partitions(n: int, islands: int = 1) -> int:
    """Ways to write n as a sum of numbers that are each on one of the islands.

    So many states there are. Where they are more than vertices can be, as from 122 on, it is any
    number above that.
    """
    n = min(n, 122)
    ways = [1] + [0] * n
    for part in range(1, n + 1):
        several = [comb(islands - 1 + times, times) for times in range(n // part + 1)]
        ways = [
            sum(several[times] * ways[total - times * part] for times in range(total // part + 1))
            for total in range(n + 1)
        ]
    return min(ways[n], 10**18)


def counted(descendants: int) -> str:
    """Words for a number of descendants."""
    return f"{descendants} descendant{'s' if descendants > 1 else ''}"


def _with(descendants: int, n: int, states: NDArray[np.int32]) -> NDArray[np.int32]:
    lineages: NDArray[np.int32] = states[:, descendants - 1 :: n].sum(axis=1)
    return lineages


def _count_up(lengths: NDArray[np.integer]) -> NDArray[np.int64]:
    """0, 1, ... below each length, one after another."""
    begin = np.cumsum(lengths) - lengths
    numbers: NDArray[np.int64] = np.arange(lengths.sum()) - np.repeat(begin, lengths)
    return numbers
