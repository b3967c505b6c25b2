"""Puts the traces of a graph's blocks together into one trace of the whole graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from phasic_mpi.errors import PayloadError
from phasic_mpi.graph import PhaseTypeGraph
from phasic_mpi.scc import Condensation, SccBlock
from phasic_mpi.trace import BlockTrace, EliminationTrace

_NAMED_BLOCKS = 5
_KEY_DIGITS = 12


def stitch(
    graph: PhaseTypeGraph,
    condensation: Condensation,
    traces: dict[str, BlockTrace],
    *,
    consume: bool = False,
) -> EliminationTrace:
    """Places the patterns of all distinct blocks and gives every live edge its slot.

    Args:
        graph: The graph.
        condensation: Its blocks and the places of its edges.
        traces: A trace for each of ``condensation.distinct``, by key; others are not read.
        consume: Whether to remove each trace from ``traces`` as soon as it is copied, so that the
            patterns need not be in memory twice.

    Raises:
        PayloadError: Traces are missing, or one does not belong to its block.
    """
    _require_all(condensation.distinct, traces)
    patterns = _concatenate(condensation.distinct, traces, consume=consume)
    slot_of_place = _slots(condensation, patterns)
    n_constant_edges = graph.edge_weight.size
    n_constant = int(np.searchsorted(condensation.edge_index, n_constant_edges))
    constant, linear = np.split(condensation.edge_index, [n_constant])
    linear = linear - n_constant_edges
    return EliminationTrace(
        n_vertices=graph.n_vertices,
        n_parameters=graph.n_parameters,
        states=graph.states,
        vertex=condensation.vertex,
        block_ptr=condensation.block_ptr,
        block_pattern=condensation.block_pattern,
        pattern_key=tuple(block.key for block in condensation.distinct),
        pattern_ptr=patterns.pattern_ptr,
        order=patterns.order,
        row_ptr=patterns.row_ptr,
        upper_ptr=patterns.upper_ptr,
        col=patterns.col,
        off_ptr=condensation.off_ptr,
        off_col=condensation.off_col,
        edge_source=np.concatenate([graph.edge_source[constant], graph.param_source[linear]]),
        edge_target=np.concatenate([graph.edge_target[constant], graph.param_target[linear]]),
        edge_slot=slot_of_place[condensation.edge_place],
        constant=graph.edge_weight[constant],
        coefficient=graph.param_coefficient[linear],
        start_vertex=np.concatenate([graph.start_target, graph.start_param_target]),
        start_constant=graph.start_weight,
        start_coefficient=graph.start_param_coefficient,
    )


class _Patterns(NamedTuple):
    """Patterns one after the other, as in :class:`EliminationTrace`.

    ``edge_slot[edge_ptr[i] : edge_ptr[i + 1]]`` are the entries of the edges of pattern ``i``,
    counted from the first entry of that pattern.
    """

    pattern_ptr: NDArray[np.int64]
    order: NDArray[np.int32]
    row_ptr: NDArray[np.int64]
    upper_ptr: NDArray[np.int64]
    col: NDArray[np.int32]
    edge_ptr: NDArray[np.int64]
    edge_slot: NDArray[np.int64]


def _concatenate(
    distinct: tuple[SccBlock, ...], traces: dict[str, BlockTrace], *, consume: bool
) -> _Patterns:
    pattern_ptr = _pointers([block.n_vertices for block in distinct])
    entry_ptr = _pointers([traces[block.key].n_entries for block in distinct])
    edge_ptr = _pointers([block.n_edges for block in distinct])
    n_rows = int(pattern_ptr[-1])
    patterns = _Patterns(
        pattern_ptr=pattern_ptr,
        order=np.empty(n_rows, dtype=np.int32),
        row_ptr=np.zeros(n_rows + 1, dtype=np.int64),
        upper_ptr=np.empty(n_rows, dtype=np.int64),
        col=np.empty(int(entry_ptr[-1]), dtype=np.int32),
        edge_ptr=edge_ptr,
        edge_slot=np.empty(int(edge_ptr[-1]), dtype=np.int64),
    )
    row_end = patterns.row_ptr[1:]
    # As Python's integers: graphs of many small blocks spend their time here.
    places = zip(pattern_ptr.tolist(), entry_ptr.tolist(), edge_ptr.tolist(), strict=True)
    for block, (row, entry, edge) in zip(distinct, places, strict=False):
        trace = traces.pop(block.key) if consume else traces[block.key]
        _require_fit(block, trace)
        rows = slice(row, row + trace.n_vertices)
        patterns.order[rows] = trace.order
        np.add(trace.row_ptr[1:], entry, out=row_end[rows])
        np.add(trace.upper_ptr, entry, out=patterns.upper_ptr[rows])
        patterns.col[entry : entry + trace.n_entries] = trace.col
        patterns.edge_slot[edge : edge + trace.n_edges] = trace.edge_slot
    return patterns


def _slots(condensation: Condensation, patterns: _Patterns) -> NDArray[np.int64]:
    """Slot of every place that an edge can have: within blocks, between blocks, to absorption."""
    # The zeros at the end are what -1, the pattern of a block of one vertex, finds.
    n_entries = np.append(np.diff(patterns.row_ptr[patterns.pattern_ptr]), 0)
    first_edge = np.append(patterns.edge_ptr[:-1], 0)[condensation.block_pattern]
    value_ptr = _pointers(n_entries[condensation.block_pattern])
    n_edges = np.diff(condensation.internal_ptr)
    edge = np.arange(condensation.n_internal)
    edge += np.repeat(first_edge - condensation.internal_ptr[:-1], n_edges)
    inner = patterns.edge_slot[edge]
    inner += np.repeat(value_ptr[:-1], n_edges)
    n_outer = condensation.n_off + condensation.vertex.size
    return np.concatenate([inner, value_ptr[-1] + np.arange(n_outer)])


def _pointers(counts: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
    """Running totals of counts, from 0."""
    out = np.zeros(len(counts) + 1, dtype=np.int64)
    np.cumsum(counts, out=out[1:])
    return out


def _require_all(distinct: tuple[SccBlock, ...], traces: Mapping[str, BlockTrace]) -> None:
    missing = [block for block in distinct if block.key not in traces]
    if missing:
        named = ", ".join(
            f"{block.key[:_KEY_DIGITS]} ({block.n_vertices} vertices, {block.n_edges} edges)"
            for block in missing[:_NAMED_BLOCKS]
        )
        more = len(missing) - _NAMED_BLOCKS
        raise PayloadError(
            "Traces cannot be put together",
            problem=f"expected a trace for each of {len(distinct)} distinct blocks, but "
            f"{len(missing)} are missing: {named}" + (f" and {more} more" if more > 0 else ""),
            context={"n_distinct": len(distinct), "n_missing": len(missing)},
            resolution="record the missing blocks of this condensation and pass their traces",
        )


def _require_fit(block: SccBlock, trace: BlockTrace) -> None:
    """The trace is of this block, its arrays are as long as they say, and its slots in range."""
    n, n_edges, n_entries = block.n_vertices, block.n_edges, trace.col.size
    sizes = (trace.order.size, trace.edge_slot.size, trace.row_ptr.size, trace.upper_ptr.size)
    if (trace.key, trace.check, sizes) == (block.key, block.check, (n, n_edges, n + 1, n)):
        # As unsigned numbers, negative slots are out of range at the other end.
        n_outside = int(np.count_nonzero(trace.edge_slot.view(np.uint64) >= n_entries))
        if n_outside == 0 and int(trace.row_ptr[-1]) == n_entries:
            return
        _require_equal(block, "last row_ptr", n_entries, int(trace.row_ptr[-1]))
        _require_equal(block, "number of edge_slot out of range", 0, n_outside)
    _require_equal(block, "key", block.key, trace.key)
    _require_equal(block, "check", block.check, trace.check)
    names = ("n_vertices", "n_edges", "size of row_ptr", "size of upper_ptr")
    for name, expected, actual in zip(names, (n, n_edges, n + 1, n), sizes, strict=True):
        _require_equal(block, name, expected, actual)


def _require_equal(block: SccBlock, name: str, expected: object, actual: object) -> None:
    """Raises unless what is expected of a trace is what it has."""
    if expected != actual:
        raise PayloadError(
            "Trace does not belong to its block",
            problem=f"{name}: expected {expected}, got {actual}",
            context={
                "block": block.key,
                "n_vertices": block.n_vertices,
                "n_edges": block.n_edges,
            },
            resolution="record the block again; if it came out of a cache, run 'python -m "
            "phasic_mpi cache verify' on that directory",
        )
