"""The structured coalescent: lineages on islands that exchange migrants."""

from __future__ import annotations

from collections.abc import Iterator
from math import comb

import numpy as np
from numpy.typing import NDArray

from phasic_mpi.models.model import Model, Parameter, Process, Reward, every
from phasic_mpi.models.settings import Integer, Matrix
from phasic_mpi.rule import Batch


def process(
    n: int,
    islands: int,
    sample: NDArray[np.float64],
    migration: NDArray[np.float64],
    separate: int,
) -> Process:
    """States are lineages per island; one lineage is absorbed, wherever it is.

    On island i with k lineages coalescence happens at rate k (k - 1) / 2 times its parameter, and
    each lineage migrates, backward in time, to island j at rate ``migration[i, j]`` times its
    parameter; the diagonal is not read. One parameter of each kind serves all islands unless
    ``separate`` is 1.
    """
    initial = _initial(n, islands, sample)
    rates = _migration(islands, migration)
    pairs = [(i, j) for i in range(islands) for j in range(islands) if rates[i, j] > 0]
    parameters = _parameters(islands, pairs) if separate else _COMMON
    unit = np.eye(len(parameters))
    merging = unit[:islands] if separate else unit[[0] * islands]
    moving = unit[islands:] if separate else unit[[1] * len(pairs)]
    island = np.eye(islands, dtype=np.int32)

    def transitions(states: NDArray[np.int32]) -> Iterator[Batch]:
        lineages = states.astype(np.float64)
        for i in range(islands):
            k = lineages[:, i]
            yield every(states), states - island[i], np.outer(k * (k - 1) / 2, merging[i])
        for (i, j), parameter in zip(pairs, moving, strict=True):
            moved = states + (island[j] - island[i])
            yield every(states), moved, np.outer(lineages[:, i] * rates[i, j], parameter)

    return Process(
        initial=initial,
        transitions=transitions,
        parameters=parameters,
        state_names=tuple(f"island_{i}" for i in range(1, islands + 1)),
        absorbing=lambda states: states.sum(axis=1) == 1,
        rewards=(
            Reward("branch_length", lambda states: states.sum(axis=1), "length of all branches"),
        ),
    )


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


def n_vertices(n: int, islands: int, sample: NDArray[np.float64], **_: object) -> int:
    """The start and the ways to place 1 to n lineages on the islands; at most, if few migrate."""
    if sample.size:
        _require_sample(islands, sample)
        n = int(sample.sum())
    # Beyond 20 of both there are more than 1e11, and numbers too large to write down.
    return comb(n + islands, min(n, islands, 20))


MODEL = Model(
    name="structured-coalescent",
    summary="Coalescent on islands with migration: time to the most recent common ancestor",
    settings=(
        Integer("n", 10, 2, "sample size, all on the first island; not read if 'sample' is given"),
        Integer("islands", 3, 1, "number of islands"),
        Matrix("sample", "", "lineages sampled on each island, such as 5,5,0"),
        Matrix(
            "migration",
            "",
            "relative rates from each island (row) to each, diagonal not read; all 1 by default",
        ),
        Integer("separate", 0, 0, "1: a parameter for each island and pair of islands", 1),
    ),
    process=process,
    source="Notohara (1990), The coalescent and the genealogical process in geographically "
    "structured population, Journal of Mathematical Biology 29",
    n_vertices=n_vertices,
)
