"""Puts the traces of a graph's blocks together into one trace of the whole graph."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from phasic_mpi.errors import PayloadError
from phasic_mpi.graph import PhaseTypeGraph
from phasic_mpi.patterns import JoinedPatterns, join_patterns
from phasic_mpi.scc import Condensation, SccBlock, live_edges
from phasic_mpi.trace import BlockTrace, EliminationTrace, pointers

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
    distinct = condensation.distinct
    _require_all(distinct, traces)
    patterns = join_patterns([_fitting(block, traces[block.key]) for block in distinct])
    col = _columns(distinct, traces, patterns.entry_ptr, consume=consume)
    slot_of_place = _slots(condensation, patterns)
    edges = live_edges(graph, condensation)
    return EliminationTrace(
        n_vertices=graph.n_vertices,
        n_parameters=graph.n_parameters,
        states=graph.states,
        vertex=condensation.vertex,
        block_ptr=condensation.block_ptr,
        block_pattern=condensation.block_pattern,
        pattern_key=tuple(block.key for block in distinct),
        pattern_ptr=patterns.pattern_ptr,
        order=patterns.order,
        row_ptr=patterns.row_ptr,
        upper_ptr=patterns.upper_ptr,
        col=col,
        off_ptr=condensation.off_ptr,
        off_col=condensation.off_col,
        edge_source=edges.source,
        edge_target=edges.target,
        edge_slot=slot_of_place[condensation.edge_place],
        constant=edges.constant,
        coefficient=edges.coefficient,
        start_vertex=np.concatenate([graph.start_target, graph.start_param_target]),
        start_constant=graph.start_weight,
        start_coefficient=graph.start_param_coefficient,
        parameter_names=graph.parameter_names,
        state_names=graph.state_names,
        reward_names=graph.reward_names,
        rewards=graph.rewards,
    )


def _columns(
    distinct: tuple[SccBlock, ...],
    traces: dict[str, BlockTrace],
    entry_ptr: NDArray[np.int64],
    *,
    consume: bool,
) -> NDArray[np.int32]:
    """Columns of all patterns; a trace that is consumed gives its own back at once."""
    col = np.empty(int(entry_ptr[-1]), dtype=np.int32)
    for block, (begin, end) in zip(distinct, pairwise(entry_ptr.tolist()), strict=True):
        col[begin:end] = (traces.pop(block.key) if consume else traces[block.key]).col
    return col


def _slots(condensation: Condensation, patterns: JoinedPatterns) -> NDArray[np.int64]:
    """Slot of every place that an edge can have: within blocks, between blocks, to absorption."""
    # The zeros at the end are what -1, the pattern of a block of one vertex, finds.
    n_entries = np.append(np.diff(patterns.entry_ptr), 0)
    first_edge = np.append(patterns.edge_ptr[:-1], 0)[condensation.block_pattern]
    value_ptr = pointers(n_entries[condensation.block_pattern])
    n_edges = np.diff(condensation.internal_ptr)
    edge = np.arange(condensation.n_internal)
    edge += np.repeat(first_edge - condensation.internal_ptr[:-1], n_edges)
    inner = patterns.edge_slot[edge]
    inner += np.repeat(value_ptr[:-1], n_edges)
    n_outer = condensation.n_off + condensation.vertex.size
    return np.concatenate([inner, value_ptr[-1] + np.arange(n_outer)])


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


def _fitting(block: SccBlock, trace: BlockTrace) -> BlockTrace:
    """Returns the trace if it is one of this block."""
    for name, expected, actual in _misfits(block, trace):
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
    return trace


def _misfits(block: SccBlock, trace: BlockTrace) -> list[tuple[str, object, object]]:
    """Name, expected and actual value of what differs; none if sizes and slots are right too."""
    n, n_edges, n_entries = block.n_vertices, block.n_edges, trace.col.size
    names: tuple[str, ...] = ("key", "check", "n_vertices", "n_edges")
    names += ("size of row_ptr", "size of upper_ptr")
    expected: tuple[object, ...] = (block.key, block.check, n, n_edges, n + 1, n)
    actual: tuple[object, ...] = (trace.key, trace.check, trace.order.size, trace.edge_slot.size)
    actual += (trace.row_ptr.size, trace.upper_ptr.size)
    if expected == actual:
        # As unsigned numbers, negative slots are out of range at the other end.
        n_outside = int(np.count_nonzero(trace.edge_slot.view(np.uint64) >= n_entries))
        names = ("last row_ptr", "number of edge_slot out of range")
        expected, actual = (n_entries, 0), (int(trace.row_ptr[-1]), n_outside)
    facts = zip(names, expected, actual, strict=True)
    return [] if expected == actual else [fact for fact in facts if fact[1] != fact[2]]
