"""Cuts a graph into strongly connected components (SCCs) and names each by its content."""

from __future__ import annotations

import hashlib
import logging
import struct
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from phasic_mpi import _core
from phasic_mpi.errors import GraphError
from phasic_mpi.graph import PhaseTypeGraph
from phasic_mpi.names import describe_vertex

# Part of every content key: a change of what the recorder reads or writes makes new keys.
BLOCK_SCHEMA = "phasic_mpi.block.5"
PART_SCHEMA = "phasic_mpi.part.1"

_NAMED_VERTICES = 5


@dataclass(frozen=True, eq=False)
class SccBlock:
    """What is recorded at once: the internal edges of a strongly connected component, or a part.

    Vertices are numbered locally. A block knows neither weights nor where it sits in the graph, so
    equal blocks have equal keys and are recorded once. :class:`Condensation` remembers the places.
    The vertices of a part (:mod:`phasic_mpi.parts`) are those below it, its own and its boundary,
    one after another; a whole block has neither of the first nor of the last.

    Attributes:
        key: SHA-256 of everything the recorder reads, and nothing else; 64 hexadecimal digits.
        check: BLAKE2b of the same, 32 hexadecimal digits: a second opinion on every cache hit.
        row_ptr: ``int64[n_vertices + 1]``, CSR row starts.
        col: ``int32[n_edges]``, ascending within a row, no diagonal.
        n_below: Vertices that stand for what is eliminated before a part.
        n_boundary: Vertices of a part that are eliminated after it.
    """

    key: str
    check: str
    row_ptr: NDArray[np.int64]
    col: NDArray[np.int32]
    n_below: int = 0
    n_boundary: int = 0

    @classmethod
    def build(
        cls,
        row_ptr: NDArray[np.int64],
        col: NDArray[np.int32],
        n_below: int = 0,
        n_boundary: int = 0,
    ) -> SccBlock:
        """Returns the block or part with these edges; computes its fingerprints.

        Raises:
            GraphError: The pointers do not ascend from 0 to the number of columns, a row holds
                columns that are out of range, repeated, out of order or on the diagonal, or a part
                has edges between vertices of its boundary, or back between those below it.
        """
        row_ptr = np.ascontiguousarray(row_ptr, dtype=np.int64)
        col = np.ascontiguousarray(col, dtype=np.int32)
        # The core looks at each edge once, which takes a tenth of the time that arrays take.
        if not _core.is_valid_block(row_ptr, col, n_below, n_boundary):
            raise GraphError(
                "Block pattern is malformed",
                problem=_pattern_fault(row_ptr, col, n_below, n_boundary),
                context={"n_vertices": row_ptr.size - 1, "n_edges": col.size},
                resolution="cut blocks out of a graph with condense(), or pass CSR rows as "
                "documented",
            )
        return cls.from_core(row_ptr, col, n_below, n_boundary)

    @classmethod
    def from_core(
        cls,
        row_ptr: NDArray[np.int64],
        col: NDArray[np.int32],
        n_below: int = 0,
        n_boundary: int = 0,
    ) -> SccBlock:
        """As :meth:`build`, of arrays that the compiled core has made: they are not checked."""
        fingerprints = _fingerprints(row_ptr, col, n_below, n_boundary)
        return cls(*fingerprints, row_ptr, col, n_below, n_boundary)

    @property
    def n_vertices(self) -> int:
        """Number of vertices."""
        return self.row_ptr.size - 1

    @property
    def n_edges(self) -> int:
        """Number of distinct internal edges."""
        return self.col.size

    @property
    def is_part(self) -> bool:
        """Whether this is a part of a block."""
        return self.n_below + self.n_boundary > 0

    @property
    def n_recorded(self) -> int:
        """Number of vertices that have a row in the trace."""
        return self.n_vertices - self.n_below

    @property
    def n_placed(self) -> int:
        """Number of edges that have a slot in the trace: those of a part get theirs when joined."""
        return 0 if self.is_part else self.n_edges


@dataclass(frozen=True, eq=False)
class Condensation:
    """A graph in block upper triangular form: what goes to the recorder, and where it belongs.

    "Position" counts transient vertices block by block, sources first, ascending within a block.
    Only live edges count: self-loops and edges whose weight is zero at every theta are left out.

    Attributes:
        distinct: The distinct blocks of more than one vertex, in the order of first appearance.
        block_pattern: ``int32[n_blocks]``, index into ``distinct``, -1 for a block of one vertex.
        block_ptr: ``int64[n_blocks + 1]``, first position of each block.
        vertex: ``int32[n_transient]``, graph vertex at each position.
        position: ``int32[n_vertices]``, -1 for the starting and the absorbing vertices.
        internal_ptr: ``int64[n_blocks + 1]``, first distinct internal edge of each block.
        off_ptr: ``int64[n_transient + 1]``, CSR of the distinct edges between blocks.
        off_col: ``int32[n_off]``, position of the target.
        edge_index: ``int64[n_live]``, live edges of the graph; constant edges are numbered first.
        edge_place: ``int64[n_live]``: a distinct internal edge; ``n_internal`` + a distinct edge
            between blocks; or ``n_internal + n_off`` + position of the source, for an edge to an
            absorbing vertex.
        n_self_loops: Self-loops left out: they do not change the law of a continuous chain.
        n_zero_edges: Edges left out because their weight is zero at every theta.
    """

    distinct: tuple[SccBlock, ...]
    block_pattern: NDArray[np.int32]
    block_ptr: NDArray[np.int64]
    vertex: NDArray[np.int32]
    position: NDArray[np.int32]
    internal_ptr: NDArray[np.int64]
    off_ptr: NDArray[np.int64]
    off_col: NDArray[np.int32]
    edge_index: NDArray[np.int64]
    edge_place: NDArray[np.int64]
    n_self_loops: int
    n_zero_edges: int

    @property
    def n_blocks(self) -> int:
        """Number of strongly connected components of transient vertices."""
        return self.block_pattern.size

    @property
    def n_internal(self) -> int:
        """Number of distinct edges within blocks."""
        return int(self.internal_ptr[-1])

    @property
    def n_off(self) -> int:
        """Number of distinct edges between blocks."""
        return self.off_col.size


def condense(graph: PhaseTypeGraph) -> Condensation:
    """Orders the graph so that its matrix is block upper triangular and cuts out the blocks.

    Strongly connected components by Tarjan (1972).

    Raises:
        GraphError: A vertex whose edges all have weight zero, vertices from which absorption
            cannot be reached, or a start that reaches no transient and no absorbing vertex.
    """
    source, target, loop, zero = _edges(graph)
    live = np.flatnonzero(~(loop | zero))
    has_exit = _require_exits(graph, source, live)
    source, target = source[live], target[live]
    _require_absorption(graph, source, target)
    _require_start(graph, has_exit)
    parts = _core.condense(graph.n_vertices, source, target)
    distinct, block_pattern = _cut(parts["block_ptr"], parts["inner_ptr"], parts["inner_col"])
    n_self_loops, n_zero_edges = int(loop.sum()), int((zero & ~loop).sum())
    _log_dropped(n_self_loops, n_zero_edges)
    return Condensation(
        distinct=distinct,
        block_pattern=block_pattern,
        block_ptr=parts["block_ptr"],
        vertex=parts["vertex"],
        position=parts["position"],
        internal_ptr=parts["internal_ptr"],
        off_ptr=parts["off_ptr"],
        off_col=parts["off_col"],
        edge_index=live,
        edge_place=parts["edge_place"],
        n_self_loops=n_self_loops,
        n_zero_edges=n_zero_edges,
    )


class LiveEdges(NamedTuple):
    """Live edges of a graph in the order of ``Condensation.edge_index``, constant ones first.

    Attributes:
        source: ``int32[n_live]``, graph vertex each edge leaves.
        target: ``int32[n_live]``, graph vertex each edge leads to.
        constant: ``float64[n_constant]``, weights of the constant edges.
        coefficient: ``float64[n_live - n_constant, n_parameters]``, of the other edges.
    """

    source: NDArray[np.int32]
    target: NDArray[np.int32]
    constant: NDArray[np.float64]
    coefficient: NDArray[np.float64]


def live_edges(graph: PhaseTypeGraph, condensation: Condensation) -> LiveEdges:
    """The edges of a graph that count, as its condensation lists them."""
    n_constant_edges = graph.edge_weight.size
    n_constant = int(np.searchsorted(condensation.edge_index, n_constant_edges))
    constant, linear = np.split(condensation.edge_index, [n_constant])
    linear = linear - n_constant_edges
    return LiveEdges(
        source=np.concatenate([graph.edge_source[constant], graph.param_source[linear]]),
        target=np.concatenate([graph.edge_target[constant], graph.param_target[linear]]),
        constant=graph.edge_weight[constant],
        coefficient=graph.param_coefficient[linear],
    )


def require_absorption(graph: PhaseTypeGraph) -> None:
    """Refuses a graph from parts of which absorption cannot be reached, at any theta.

    Raises:
        GraphError: Names such vertices and their states.
    """
    source, target, loop, zero = _edges(graph)
    live = ~(loop | zero)
    _require_exits(graph, source, np.flatnonzero(live))
    _require_absorption(graph, source[live], target[live])


def _edges(
    graph: PhaseTypeGraph,
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.bool_], NDArray[np.bool_]]:
    """Ends of all edges, constant ones first; which are loops; which have weight 0 at any theta."""
    source = np.concatenate([graph.edge_source, graph.param_source])
    target = np.concatenate([graph.edge_target, graph.param_target])
    linear = np.zeros(graph.param_source.size, dtype=bool)
    for column in graph.param_coefficient.T:  # few and long: any(axis=1) takes five times as long
        linear |= column != 0
    return source, target, source == target, ~np.concatenate([graph.edge_weight != 0, linear])


def _cut(
    block_ptr: NDArray[np.int64], inner_ptr: NDArray[np.int64], inner_col: NDArray[np.int32]
) -> tuple[tuple[SccBlock, ...], NDArray[np.int32]]:
    """Cuts out the blocks of more than one vertex and keeps one of each content."""
    block_pattern = np.full(block_ptr.size - 1, -1, dtype=np.int32)
    index_of: dict[str, int] = {}
    distinct: list[SccBlock] = []
    blocks = np.flatnonzero(np.diff(block_ptr) > 1)
    # As Python's integers: graphs of very many small blocks spend their time in this loop.
    ends = zip(block_ptr[blocks].tolist(), block_ptr[blocks + 1].tolist(), strict=True)
    for block, (begin, end) in zip(blocks.tolist(), ends, strict=True):
        rows = inner_ptr[begin : end + 1]
        row_ptr, col = rows - rows[0], inner_col[rows[0] : rows[-1]]
        key, check = _fingerprints(row_ptr, col, 0, 0)
        if key not in index_of:
            index_of[key] = len(distinct)
            distinct.append(SccBlock(key, check, row_ptr, col.copy()))
        block_pattern[block] = index_of[key]
    return tuple(distinct), block_pattern


def _fingerprints(
    row_ptr: NDArray[np.int64], col: NDArray[np.int32], n_below: int, n_boundary: int
) -> tuple[str, str]:
    schema = BLOCK_SCHEMA.encode() + struct.pack("<qq", row_ptr.size - 1, col.size)
    if n_below + n_boundary:
        sizes = (row_ptr.size - 1, col.size, n_below, n_boundary)
        schema = PART_SCHEMA.encode() + struct.pack("<qqqq", *sizes)
    content = b"".join(
        [
            schema,
            row_ptr.astype("<i8", copy=False).tobytes(),
            col.astype("<i4", copy=False).tobytes(),
        ]
    )
    check = hashlib.blake2b(content, digest_size=16)
    return hashlib.sha256(content).hexdigest(), check.hexdigest()


def _pattern_fault(
    row_ptr: NDArray[np.int64], col: NDArray[np.int32], n_below: int, n_boundary: int
) -> str:
    """What is wrong with a pattern that is not valid."""
    if row_ptr.size == 0 or row_ptr[0] != 0 or row_ptr[-1] != col.size:
        return f"expected row_ptr from 0 to {col.size}, got {row_ptr[:1]} to {row_ptr[-1:]}"
    n = row_ptr.size - 1
    if np.any(np.diff(row_ptr) < 0):
        return f"row_ptr descends at row {int(np.argmax(np.diff(row_ptr) < 0))}"
    row = np.repeat(np.arange(n, dtype=np.int64), np.diff(row_ptr))
    outside = (col < 0) | (col >= n) | (col == row)
    if outside.any():
        edge = int(np.argmax(outside))
        return (
            f"edge {edge}: expected a column in 0..{n - 1} other than its row {row[edge]}, "
            f"got {col[edge]}"
        )
    unordered = (np.diff(col) <= 0) & (np.diff(row) == 0)
    if unordered.any():
        edge = int(np.argmax(unordered))
        return f"row {row[edge]}: column {col[edge + 1]} does not ascend after {col[edge]}"
    if min(n_below, n_boundary) < 0 or n_below + n_boundary >= max(n, 1):
        return f"expected own vertices among {n}, got {n_below} below and {n_boundary} of boundary"
    own_end = n - n_boundary
    misplaced = ((row >= own_end) & (col >= own_end)) | ((row < n_below) & (col < row))
    edge = int(np.argmax(misplaced))
    return f"edge {edge} from {row[edge]} to {col[edge]} is not one that a part can have"


def _require_exits(
    graph: PhaseTypeGraph, source: NDArray[np.int32], live: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """A vertex with edges needs one that leads elsewhere with a weight that is not always zero.

    Returns which vertices have one: the transient ones.
    """
    has_edges = np.zeros(graph.n_vertices, dtype=bool)
    has_edges[source] = True
    has_exit = has_edges
    if live.size < source.size:
        has_exit = np.zeros(graph.n_vertices, dtype=bool)
        has_exit[source[live]] = True
    stuck = np.flatnonzero(has_edges & ~has_exit)
    if stuck.size:
        raise GraphError(
            "Graph cannot be condensed",
            problem="expected every vertex with edges to have an exit, but at "
            f"{_name(graph, stuck)} all edges are self-loops or have weight zero at every theta",
            context=_sizes(graph),
            resolution="give each of these vertices an edge with a positive weight, or remove all "
            "its edges to make it absorbing",
        )
    return has_exit


def _require_absorption(
    graph: PhaseTypeGraph, source: NDArray[np.int32], target: NDArray[np.int32]
) -> None:
    trapped = _core.trapped_vertices(graph.n_vertices, source, target)
    if trapped.size:
        raise GraphError(
            "Graph cannot be condensed",
            problem=f"expected absorption to be reachable from every vertex, but it is not from "
            f"{_name(graph, trapped)}",
            context=_sizes(graph),
            resolution="add the missing edges towards an absorbing vertex (one without edges)",
        )


def _require_start(graph: PhaseTypeGraph, has_exit: NDArray[np.bool_]) -> None:
    possible = np.concatenate(
        [
            graph.start_target[graph.start_weight > 0],
            graph.start_param_target[graph.start_param_coefficient.any(axis=1)],
        ]
    )
    if not has_exit[possible].any():
        raise GraphError(
            "Graph cannot be condensed",
            problem="expected the start to reach a vertex that can be left, but with probability 1 "
            "the process is absorbed at time zero",
            context={**_sizes(graph), "start targets": possible[:_NAMED_VERTICES].tolist()},
            resolution="give a transient vertex a positive initial probability",
        )


def _name(graph: PhaseTypeGraph, vertices: NDArray[np.int64] | NDArray[np.int32]) -> str:
    named = ", ".join(
        describe_vertex(vertex, graph.states, graph.state_names)
        for vertex in vertices[:_NAMED_VERTICES].tolist()
    )
    more = vertices.size - _NAMED_VERTICES
    return named + (f" and {more} more" if more > 0 else "")


def _sizes(graph: PhaseTypeGraph) -> dict[str, object]:
    return {"n_vertices": graph.n_vertices, "n_edges": graph.n_edges}


def _log_dropped(n_self_loops: int, n_zero_edges: int) -> None:
    logger = logging.getLogger("phasic_mpi")
    if n_self_loops:
        logger.info("Dropped %d self-loops: they do not change the law", n_self_loops)
    if n_zero_edges:
        logger.info("Dropped %d edges whose weight is zero at every theta", n_zero_edges)
