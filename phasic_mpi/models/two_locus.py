"""The ancestry of a sample at two loci with recombination between them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray

from phasic_mpi.models.lineages import counted, merge_pairs
from phasic_mpi.models.model import Model, Parameter, Process, Reward, every, shifted
from phasic_mpi.models.settings import Integer
from phasic_mpi.rule import Batch, Rule

COALESCENCE, RECOMBINATION = np.eye(2)

# With descendants samples of 23 have more states than there are numbers for vertices.
_ENOUGH = 23


def process(n: int, descendants: int) -> Process:
    """States are lineages by what they are ancestral to; the ancestor of all at both is absorbed.

    Lineages that are ancestral to nobody in the sample are left out. Those that are ancestral at
    one locus only are followed to the end, also after the locus has found its most recent common
    ancestor: the process ends in the first lineage that is ancestral to all at both loci. The
    rewards of a locus end with its common ancestor; until then the locus alone is Kingman's
    coalescent. In units of time in which a pair coalesces at rate 1, ``recombination`` is half the
    scaled recombination rate ``4 N r``.
    """
    parameters = (
        Parameter("coalescence", 1.0, "rate at which each pair of lineages coalesces"),
        Parameter("recombination", 0.5, "rate at which a lineage with both loci splits in two"),
    )
    if not descendants:
        return Process(
            initial=[n, 0, 0],
            transitions=_by_loci,
            parameters=parameters,
            state_names=("both", "left", "right"),
            absorbing=lambda states: states.sum(axis=1) == 1,
            rewards=_rewards(np.array([True, True, False]), np.array([True, False, True])),
        )
    left, right = kinds(n)
    initial = (left == 1) & (right == 1)
    return Process(
        initial=n * initial.astype(np.int32),
        transitions=_by_descendants(left, right),
        parameters=parameters,
        state_names=tuple(f"lineages_{a}_{b}" for a, b in zip(left, right, strict=True)),
        absorbing=lambda states: states.sum(axis=1) == 1,
        rewards=_rewards(left > 0, right > 0) + _spectrum(n, left, right),
    )


def kinds(n: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Descendants at the left and at the right locus of each kind of lineage, ``int64[n_kinds]``.

    Kind i has ``divmod(i + 1, n + 1)`` of them, so that two kinds merge to that of their sum.
    """
    return np.divmod(np.arange(1, (n + 1) ** 2), n + 1)


def _by_loci(states: NDArray[np.int32]) -> Iterator[Batch]:
    both, left, right = states.astype(np.float64).T
    yield every(states), shifted(states, -1, 0, 0), np.outer(both * (both - 1) / 2, COALESCENCE)
    for lineages, step in ((left, (0, -1, 0)), (right, (0, 0, -1))):
        pairs = lineages * (lineages - 1) / 2 + lineages * both
        yield every(states), shifted(states, *step), np.outer(pairs, COALESCENCE)
    yield every(states), shifted(states, 1, -1, -1), np.outer(left * right, COALESCENCE)
    yield every(states), shifted(states, -1, 1, 1), np.outer(both, RECOMBINATION)


def _by_descendants(left: NDArray[np.int64], right: NDArray[np.int64]) -> Rule:
    split = np.flatnonzero((left > 0) & (right > 0))
    # Kind i has divmod(i + 1, n + 1) descendants: what is left of it on either side.
    right_part = right[split] - 1
    left_part = split - right[split]

    def transitions(states: NDArray[np.int32]) -> Iterator[Batch]:
        row, target, pairs = merge_pairs(states)
        yield row, target, np.outer(pairs, COALESCENCE)
        row, which = np.nonzero(states[:, split])
        target = states[row]
        at = np.arange(row.size)
        target[at, split[which]] -= 1
        target[at, left_part[which]] += 1
        target[at, right_part[which]] += 1
        yield row, target, np.outer(states[row, split[which]], RECOMBINATION)

    return transitions


def _rewards(left: NDArray[np.bool_], right: NDArray[np.bool_]) -> tuple[Reward, ...]:
    """Lengths and times until common ancestors; given are the kinds that are ancestral."""
    loci = (("left", left), ("right", right))
    return (
        *(
            Reward(
                f"{locus}_branch_length",
                partial(_unfinished, ancestral),
                f"length of all branches at the {locus} locus",
            )
            for locus, ancestral in loci
        ),
        *(
            Reward(
                f"{locus}_time",
                partial(_any_unfinished, [ancestral]),
                f"time until the common ancestor at the {locus} locus",
            )
            for locus, ancestral in loci
        ),
        Reward(
            "both_time",
            partial(_any_unfinished, [left, right]),
            "time until both loci have found their common ancestors",
        ),
    )


def _spectrum(n: int, left: NDArray[np.int64], right: NDArray[np.int64]) -> tuple[Reward, ...]:
    """Lengths of branches by their descendants, at each locus."""
    return tuple(
        Reward(
            f"{locus}_branch_length_{i}",
            partial(_lineages, descendants == i),
            f"of those with {counted(i)}",
        )
        for locus, descendants in (("left", left), ("right", right))
        for i in range(1, n)
    )


def _lineages(chosen: NDArray[np.bool_], states: NDArray[np.int32]) -> NDArray[np.int32]:
    lineages: NDArray[np.int32] = states @ chosen.astype(np.int32)
    return lineages


def _unfinished(ancestral: NDArray[np.bool_], states: NDArray[np.int32]) -> NDArray[np.int32]:
    """Ancestral lineages, 0 once there is but one."""
    count = _lineages(ancestral, states)
    return np.where(count > 1, count, np.int32(0))


def _any_unfinished(loci: list[NDArray[np.bool_]], states: NDArray[np.int32]) -> NDArray[np.bool_]:
    waiting: NDArray[np.bool_] = np.any([_unfinished(kinds, states) for kinds in loci], axis=0)
    return waiting


def n_vertices(n: int, descendants: int) -> int:
    """The start and the states.

    With descendants they are the ways to write (n, n) as a sum of pairs of numbers (OEIS A002774).
    """
    if not descendants:
        return 1 + n * n + n * (n + 1) * (2 * n + 1) // 6
    n = min(n, _ENOUGH)
    ways = np.zeros((n + 1, n + 1), dtype=np.int64)
    ways[0, 0] = 1
    for a, b in zip(*(numbers.tolist() for numbers in kinds(n)), strict=True):
        # Sums with this kind are read again for those that have it once more.
        for i in range(a, n + 1) if a else ():
            ways[i, b:] += ways[i - a, : n + 1 - b]
        for j in range(b, n + 1) if not a else ():
            ways[:, j] += ways[:, j - b]
    return 1 + int(ways[n, n])


MODEL = Model(
    name="two-locus",
    summary="Ancestry at two loci with recombination between them",
    settings=(
        Integer("n", 4, 2, "sample size"),
        Integer("descendants", 0, 0, "1: lineages are counted by descendants at either locus", 1),
    ),
    process=process,
    source="Hudson (1983), Properties of a neutral allele model with intragenic recombination, "
    "Theoretical Population Biology 23; Griffiths (1991), The two-locus ancestral graph; Simonsen "
    "and Churchill (1997), A Markov chain model of coalescence with recombination, Theoretical "
    "Population Biology 52",
    n_vertices=n_vertices,
)
