"""A trace in layers: blocks that do not wait for each other, divided between ranks.

The layer of a block is the length of the longest way from it through other blocks. All edges that
leave a block lead to lower layers, so a solution is found layer by layer, each by any number of
ranks that know the layers below.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from phasic_mpi import _core
from phasic_mpi.factoring import Factoring
from phasic_mpi.graph import PhaseTypeGraph
from phasic_mpi.scc import Condensation, SccBlock
from phasic_mpi.stitch import stitch
from phasic_mpi.trace import BlockTrace, pointers

# Cost of a block of one vertex.
_SMALL_COST = 1


def layers_of(condensation: Condensation) -> list[NDArray[np.int64]]:
    """The blocks of each layer, ascending, from the one that only leads to absorption."""
    n_blocks = condensation.n_blocks
    block_of = np.repeat(np.arange(n_blocks), np.diff(condensation.block_ptr))
    source = np.repeat(block_of, np.diff(condensation.off_ptr))
    target = block_of[condensation.off_col]
    # Edges by their target, so that those into a finished layer are found at once.
    by_target = np.argsort(target, kind="stable")
    into_ptr = pointers(np.bincount(target, minlength=n_blocks))
    n_waiting = np.bincount(source, minlength=n_blocks)
    layers = []
    layer = np.flatnonzero(n_waiting == 0)
    while layer.size:
        layers.append(layer)
        into = _ranges(into_ptr[layer], into_ptr[layer + 1])
        waiting, counts = np.unique(source[by_target[into]], return_counts=True)
        n_waiting[waiting] -= counts
        layer = waiting[n_waiting[waiting] == 0]
    return layers


def _ranges(begin: NDArray[np.int64], end: NDArray[np.int64]) -> NDArray[np.int64]:
    """All numbers of some ranges, one range after another."""
    first = np.repeat(begin - pointers(end - begin)[:-1], end - begin)
    return first + np.arange(first.size)


def deal(
    condensation: Condensation, layers: Sequence[NDArray[np.int64]], n_ranks: int
) -> list[list[NDArray[np.int64]]]:
    """Per layer, per rank, the blocks that it factors and solves, ascending.

    Dearest first to the rank with the least to do in this layer, of equal ones to the one with the
    least to hold in all (Graham 1969). A block costs about its entries of L and U.
    """
    edges = np.array([block.n_edges for block in condensation.distinct], dtype=np.float64)
    sizes = np.array([block.n_vertices for block in condensation.distinct], dtype=np.float64)
    pattern_cost = np.append(edges * (2 + np.cbrt(sizes)), _SMALL_COST)
    held = [0.0] * n_ranks
    dealt = []
    for layer in layers:
        cost = pattern_cost[condensation.block_pattern[layer]]
        queue = [(0.0, held[rank], rank) for rank in range(n_ranks)]
        heapq.heapify(queue)
        owner = np.empty(layer.size, dtype=np.int64)
        for index in np.argsort(-cost, kind="stable").tolist():
            load, total, rank = queue[0]
            more = float(cost[index])
            heapq.heapreplace(queue, (load + more, total + more, rank))
            held[rank] = total + more
            owner[index] = rank
        dealt.append([layer[owner == rank] for rank in range(n_ranks)])
    return dealt


class Divider:
    """Takes blocks out of a condensation, as condensations of their own.

    Args:
        condensation: The whole.
    """

    def __init__(self, condensation: Condensation) -> None:
        self._whole = condensation
        source = self._blocks_of_places()[condensation.edge_place]
        self._edges = np.argsort(source, kind="stable")
        self._edge_ptr = pointers(np.bincount(source, minlength=condensation.n_blocks))

    def _blocks_of_places(self) -> NDArray[np.int64]:
        """The block that an edge of each place leaves."""
        whole = self._whole
        sizes = np.diff(whole.block_ptr)
        block_of = np.repeat(np.arange(whole.n_blocks), sizes)
        inner = np.repeat(np.arange(whole.n_blocks), np.diff(whole.internal_ptr))
        return np.concatenate([inner, np.repeat(block_of, np.diff(whole.off_ptr)), block_of])

    def take(
        self, blocks: NDArray[np.int64]
    ) -> tuple[Condensation, NDArray[np.int64], NDArray[np.int32]]:
        """The condensation of some blocks, ascending, of one layer.

        Returns it, the positions of its blocks in the whole, and those that edges lead to from
        them: these come last, as blocks that no edge leaves, in the order of the whole.
        """
        whole = self._whole
        own = positions_of(whole, blocks)
        off = _ranges(whole.off_ptr[own], whole.off_ptr[own + 1])
        inner = _ranges(whole.internal_ptr[blocks], whole.internal_ptr[blocks + 1])
        known, off_col = np.unique(whole.off_col[off], return_inverse=True)
        pattern, block_pattern = np.unique(whole.block_pattern[blocks], return_inverse=True)
        if pattern.size and pattern[0] < 0:
            pattern, block_pattern = pattern[1:], block_pattern - 1
        # Places of the whole ascend, from those within blocks to those of exits, as do the parts'.
        n_inner, n_outer = whole.n_internal, whole.n_internal + whole.n_off
        places = np.concatenate([inner, n_inner + off, n_outer + own])
        edges = np.sort(self._edges[_ranges(self._edge_ptr[blocks], self._edge_ptr[blocks + 1])])
        edge_place = np.searchsorted(places, whole.edge_place[edges])
        # Exits come after the places of all edges between blocks, which are none below.
        nothing = np.zeros(known.size, dtype=np.int64)
        vertex = whole.vertex[np.concatenate([own, known])]
        position = np.full(whole.position.size, -1, dtype=np.int32)
        position[vertex] = np.arange(vertex.size)
        part = Condensation(
            distinct=tuple(whole.distinct[index] for index in pattern.tolist()),
            block_pattern=np.append(block_pattern, nothing - 1).astype(np.int32),
            block_ptr=pointers(np.append(np.diff(whole.block_ptr)[blocks], nothing + 1)),
            vertex=vertex,
            position=position,
            internal_ptr=pointers(np.append(np.diff(whole.internal_ptr)[blocks], nothing)),
            off_ptr=pointers(np.append(np.diff(whole.off_ptr)[own], nothing)),
            off_col=(own.size + off_col).astype(np.int32),
            edge_index=whole.edge_index[edges],
            edge_place=edge_place,
            n_self_loops=0,
            n_zero_edges=0,
        )
        return part, own, known


class Layer:
    """Blocks of one layer as a trace of their own, whose patterns go once they are planned.

    Below them stand the positions that their edges lead to, as vertices that nothing leaves but
    an exit at rate 1: with what is known of a position as its right-hand side, its solution is
    just that. They follow in ascending order, so sums are made in the order of the whole trace.

    Args:
        graph: The graph.
        divider: Takes blocks out of its condensation.
        blocks: The blocks of this layer to hold, ascending.
        traces: The traces of their patterns by key.
        n_threads: Threads that factor together; they do not show in the bits.

    Attributes:
        own: Positions of these blocks in the whole.
        n_entries: Entries of L and U that are held.
    """

    def __init__(
        self,
        graph: PhaseTypeGraph,
        divider: Divider,
        blocks: NDArray[np.int64],
        traces: dict[str, BlockTrace],
        *,
        n_threads: int = 1,
    ) -> None:
        part, self.own, known = divider.take(blocks)
        trace = stitch(graph, part, traces)
        exits_below = trace.first_exit_slot + self.own.size + np.arange(known.size)
        self.n_entries = trace.n_entries
        self._needed = np.concatenate([self.own, known])
        self._factoring = Factoring(trace, n_threads=n_threads, unit_slots=exits_below)
        self._factor: _core.Factor | None = None

    def factor(self, theta: NDArray[np.float64], row: int) -> None:
        """Factors the blocks at one theta and keeps the factors, in place of the last ones.

        Raises:
            EvaluationError: As :meth:`phasic_mpi.evaluate.Replay.moments`.
        """
        self._factor = None  # whose memory the next one takes
        self._factor = self._factoring.factored(theta, row)

    def solve(self, solution: NDArray[np.float64]) -> None:
        """Replaces the right-hand side at the positions of these blocks by the solution.

        Args:
            solution: ``float64[n_transient]`` of the whole graph; lower layers are solved.
        """
        if self._factor is None:
            raise RuntimeError("solve() before factor()")
        local = solution[self._needed]
        self._factor.solve(local)
        solution[self.own] = local[: self.own.size]


def positions_of(condensation: Condensation, blocks: NDArray[np.int64]) -> NDArray[np.int64]:
    """Positions of the vertices of some blocks, block by block."""
    return _ranges(condensation.block_ptr[blocks], condensation.block_ptr[blocks + 1])


def distinct_of(
    condensation: Condensation, layers: Sequence[NDArray[np.int64]]
) -> tuple[SccBlock, ...]:
    """The distinct blocks of more than one vertex among some blocks."""
    pattern = np.unique(condensation.block_pattern[np.concatenate(layers)])
    return tuple(condensation.distinct[index] for index in pattern.tolist() if index >= 0)
