"""The structured coalescent: lineages on islands that exchange migrants."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import comb

import numpy as np
from numpy.typing import NDArray

from phasic_mpi.models.lineages import (
    merge_pairs,
    n_partitions,
    spectrum_names,
    spectrum_rewards,
)
from phasic_mpi.models.model import Model, Parameter, Process, Reward, moves
from phasic_mpi.models.settings import Integer, Matrix
from phasic_mpi.rule import Batch, Rule


@dataclass(frozen=True, eq=False)
class _Rates:
    """Coefficients of theta, ``float64[n_parameters]`` each.

    Attributes:
        coalescence: For each island, of the rate of each pair of lineages there.
        migration: From island to island, of the rate of each lineage.
    """

    coalescence: NDArray[np.float64]
    migration: dict[tuple[int, int], NDArray[np.float64]]


def process(
    n: int,
    islands: int,
    sample: NDArray[np.float64],
    migration: NDArray[np.float64],
    separate: int,
    spectrum: int,
) -> Process:
    """States are lineages per island; one lineage is absorbed, wherever it is.

    On island i with k lineages coalescence happens at rate k (k - 1) / 2 times its parameter, and
    each lineage migrates, backward in time, to island j at rate ``migration[i, j]`` times its
    parameter; the diagonal is not read. One parameter of each kind serves all islands unless
    ``separate`` is 1. If ``spectrum`` is 1, the lineages of an island are counted by their
    descendants in the whole sample.
    """
    initial = _initial(n, islands, sample)
    relative = _migration(islands, migration)
    pairs = [(i, j) for i in range(islands) for j in range(islands) if relative[i, j] > 0]
    parameters = _parameters(islands, pairs) if separate else _COMMON
    unit = np.eye(len(parameters))
    moving = unit[islands:] if separate else unit[[1] * len(pairs)]
    rates = _Rates(
        coalescence=unit[:islands] if separate else unit[[0] * islands],
        migration={pair: relative[pair] * row for pair, row in zip(pairs, moving, strict=True)},
    )
    names = tuple(f"island_{i}" for i in range(1, islands + 1))
    if spectrum:
        n = int(initial.sum())
        return Process(
            initial=np.outer(initial, np.arange(n) == 0).ravel(),
            transitions=_by_descendants(rates, n),
            parameters=parameters,
            state_names=tuple(f"{name}_{kind}" for name in names for kind in spectrum_names(n)),
            absorbing=_has_one,
            rewards=spectrum_rewards(n),
        )
    return Process(
        initial=initial,
        transitions=_by_island(rates),
        parameters=parameters,
        state_names=names,
        absorbing=_has_one,
        rewards=(
            Reward("branch_length", lambda states: states.sum(axis=1), "length of all branches"),
        ),
    )


def _has_one(states: NDArray[np.int32]) -> NDArray[np.bool_]:
    one: NDArray[np.bool_] = states.sum(axis=1) == 1
    return one


def _by_island(rates: _Rates) -> Rule:
    island = np.eye(len(rates.coalescence), dtype=np.int32)
    left = [i for i, _ in rates.migration]
    steps = np.array([*-island, *(island[j] - island[i] for i, j in rates.migration)])
    coefficients = np.array([*rates.coalescence, *rates.migration.values()])

    def transitions(states: NDArray[np.int32]) -> Batch:
        lineages = states.astype(np.float64)
        pairs = lineages * (lineages - 1) / 2
        return moves(states, steps, np.hstack([pairs, lineages[:, left]]), coefficients)

    return transitions


def _by_descendants(rates: _Rates, n: int) -> Rule:
    def transitions(states: NDArray[np.int32]) -> Iterator[Batch]:
        for i, coefficient in enumerate(rates.coalescence):
            here = slice(i * n, (i + 1) * n)
            row, merged, pairs = merge_pairs(states[:, here])
            target = states[row]
            target[:, here] = merged
            yield row, target, np.outer(pairs, coefficient)
        for (i, j), coefficient in rates.migration.items():
            row, kind = np.nonzero(states[:, i * n : (i + 1) * n])
            at, target = np.arange(row.size), states[row]
            target[at, i * n + kind] -= 1
            target[at, j * n + kind] += 1
            yield row, target, np.outer(states[row, i * n + kind], coefficient)

    return transitions


_COMMON = (
    Parameter("coalescence", 1.0, "rate at which each pair of lineages on one island coalesces"),
    Parameter("migration", 0.5, "rate at which a lineage moves, times the entry of 'migration'"),
)


def _parameters(islands: int, pairs: list[tuple[int, int]]) -> tuple[Parameter, ...]:
    coalescence, migration = _COMMON
    merging = [
        Parameter(
            f"coalescence_{i + 1}",
            coalescence.example,
            f"rate at which each pair of lineages on island {i + 1} coalesces",
        )
        for i in range(islands)
    ]
    moving = [
        Parameter(
            f"migration_{i + 1}_{j + 1}",
            migration.example,
            f"rate from island {i + 1} to {j + 1}, times the entry of 'migration'",
        )
        for i, j in pairs
    ]
    return (*merging, *moving)


def _initial(n: int, islands: int, sample: NDArray[np.float64]) -> NDArray[np.int32]:
    if not sample.size:
        return np.array([n] + [0] * (islands - 1), dtype=np.int32)
    _require_sample(islands, sample)
    return sample.astype(np.int32)


def _require_sample(islands: int, sample: NDArray[np.float64]) -> None:
    if sample.shape != (1, islands) or (sample < 0).any() or (sample % 1).any() or sample.sum() < 2:
        raise ValueError(f"sample to be {islands} numbers of lineages, at least 2 in all")


def _migration(islands: int, migration: NDArray[np.float64]) -> NDArray[np.float64]:
    if not migration.size:
        return 1.0 - np.eye(islands)
    if migration.shape != (islands, islands) or (migration < 0).any():
        raise ValueError(f"migration to be a matrix of {islands} x {islands} rates of at least 0")
    rates = migration.copy()
    np.fill_diagonal(rates, 0.0)
    return rates


def n_vertices(
    n: int, islands: int, sample: NDArray[np.float64], spectrum: int, **_: object
) -> int:
    """The start and the ways to place 1 to n lineages on the islands; at most, if few migrate."""
    if sample.size:
        _require_sample(islands, sample)
        n = int(sample.sum())
    if spectrum:
        return 1 + n_partitions(n, islands)
    # Beyond 20 of both there are more than 1e11, and numbers too large to write down.
    return comb(n + islands, min(n, islands, 20))


MODEL = Model(
    name="structured-coalescent",
    summary="Coalescent on islands with migration: time to the most recent common ancestor",
    settings=(
        Integer("n", 10, 2, "sample size, all on the first island; not read if 'sample' is given"),
        Integer("islands", 3, 1, "number of islands"),
        Matrix("sample", "", "lineages sampled on each island, such as 5,5,0"),
        Matrix("migration", "", "relative rates from island (row) to island; all 1 by default"),
        Integer("separate", 0, 0, "1: a parameter for each island and pair of islands", 1),
        Integer("spectrum", 0, 0, "1: lineages are counted by their descendants", 1),
    ),
    process=process,
    source="Notohara (1990), The coalescent and the genealogical process in geographically "
    "structured population, Journal of Mathematical Biology 29",
    n_vertices=n_vertices,
)
