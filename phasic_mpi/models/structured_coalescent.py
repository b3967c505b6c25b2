"""The structured coalescent: lineages on islands that exchange migrants."""

from __future__ import annotations

from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import NDArray

from phasic_mpi.graph import PhaseTypeGraph
from phasic_mpi.models.model import Model, Setting


def build(n: int, islands: int) -> PhaseTypeGraph:
    """States are lineages per island; all ``n`` start on the first, one lineage is absorbed.

    On an island with k lineages coalescence happens at rate k (k - 1) / 2 * theta[0], and each
    lineage migrates to each other island at rate theta[1].
    """
    states = np.concatenate([_compositions(total, islands) for total in range(n, 1, -1)])
    numbering = _Numbering(n, islands)
    island = np.eye(islands, dtype=np.int32)
    source, target, coefficient = [], [], []

    def add(rate: NDArray[np.float64], step: NDArray[np.int32], parameter: int) -> None:
        leaving = np.flatnonzero(rate > 0)
        source.append(1 + leaving)
        target.append(numbering.vertex(states[leaving] + step))
        columns = np.zeros((leaving.size, 2))
        columns[:, parameter] = rate[leaving]
        coefficient.append(columns)

    for i in range(islands):
        count = states[:, i].astype(np.float64)
        add(count * (count - 1) / 2, -island[i], 0)
        for j in range(islands):
            if j != i:
                add(count, island[j] - island[i], 1)
    blank = np.zeros((1, islands), dtype=np.int32)
    start = np.zeros((1, islands), dtype=np.int32)
    start[0, 0] = n
    return PhaseTypeGraph.from_arrays(
        n_vertices=len(states) + 2,
        states=np.concatenate([blank, states, blank]),
        param_source=np.concatenate(source),
        param_target=np.concatenate(target),
        param_coefficient=np.concatenate(coefficient),
        start_target=numbering.vertex(start),
        start_weight=[1.0],
    )


class _Numbering:
    """Vertices of states: 0 starts, then the states in order, then one that absorbs.

    States go by their total, largest first, then by lineages on the first island, most first, and
    so on. ``_fewer[r, k]`` counts the ways to place fewer than r lineages on k islands, which is
    C(r + k - 1, k).
    """

    def __init__(self, n: int, islands: int) -> None:
        self._fewer = np.zeros((n + 2, islands + 1), dtype=np.int64)
        self._fewer[1:, 0] = 1
        for k in range(1, islands + 1):
            self._fewer[:, k] = np.cumsum(self._fewer[:, k - 1])
        self._absorbing = n_vertices(n, islands) - 1

    def vertex(self, states: NDArray[np.int32]) -> NDArray[np.int64]:
        """Vertex of each state; those with one lineage share the absorbing one."""
        islands = states.shape[1]
        remaining = np.cumsum(states[:, ::-1], axis=1)[:, ::-1]
        vertex = 1 + self._fewer[-1, islands] - self._fewer[remaining[:, 0] + 1, islands]
        for i in range(1, islands):
            vertex += self._fewer[remaining[:, i], islands - i]
        return np.where(remaining[:, 0] == 1, self._absorbing, vertex)


def _compositions(total: int, parts: int) -> NDArray[np.int32]:
    """All ways to place ``total`` lineages on ``parts`` islands, most on the first one first."""
    placed = list(combinations(range(total + parts - 1), parts - 1))
    bars = np.array(placed, dtype=np.int32).reshape(len(placed), parts - 1)
    left = np.full((len(bars), 1), -1, dtype=np.int32)
    right = np.full((len(bars), 1), total + parts - 1, dtype=np.int32)
    return np.diff(np.concatenate([left, bars, right], axis=1), axis=1)[::-1] - np.int32(1)


def n_vertices(n: int, islands: int) -> int:
    """The start, the ways to place 2 to n lineages on the islands, and one that absorbs."""
    # Beyond 20 of both there are more than 1e11, and numbers too large to write down.
    return comb(n + islands, min(n, islands, 20)) - islands + 1


MODEL = Model(
    name="structured-coalescent",
    summary="Coalescent on islands with migration: time to the most recent common ancestor",
    settings=(
        Setting("n", 10, 2, "sample size; all lineages start on the first island"),
        Setting("islands", 3, 1, "number of islands"),
    ),
    parameters=("coalescence", "migration"),
    theta=(1.0, 0.5),
    source="Notohara (1990), The coalescent and the genealogical process in geographically "
    "structured population, Journal of Mathematical Biology 29",
    n_vertices=n_vertices,
    build=build,
)
