"""Puts the traces of a graph's blocks together into one trace of the whole graph."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from phasic_mpi.graph import PhaseTypeGraph
from phasic_mpi.matching import fitting, require_all
from phasic_mpi.patterns import JoinedPatterns, join_patterns
from phasic_mpi.scc import Condensation, live_edges
from phasic_mpi.trace import BlockTrace, EliminationTrace, pointers


def stitch(
    graph: PhaseTypeGraph,
    condensation: Condensation,
    traces: Mapping[str, BlockTrace],
) -> EliminationTrace:
    """Places the patterns of all distinct blocks and gives every live edge its slot.

    Args:
        graph: The graph.
        condensation: Its blocks and the places of its edges.
        traces: A trace for each of ``condensation.distinct``, by key; others are not read.

    Raises:
        PayloadError: Traces are missing, or one does not belong to its block.
    """
    distinct = condensation.distinct
    require_all(distinct, traces)
    own = [fitting(block, traces[block.key]) for block in distinct]
    columns = [np.empty(0, dtype=np.int32), *(trace.col for trace in own)]
    return stitch_patterns(graph, condensation, join_patterns(own), np.concatenate(columns))


def stitch_patterns(
    graph: PhaseTypeGraph,
    condensation: Condensation,
    patterns: JoinedPatterns,
    col: NDArray[np.int32],
) -> EliminationTrace:
    """Gives every live edge its slot among the patterns of all distinct blocks.

    Args:
        graph: The graph.
        condensation: Its blocks and the places of its edges.
        patterns: Those of ``condensation.distinct``, in their order.
        col: ``int32[n_entries]``, their columns.
    """
    slot_of_place = _slots(condensation, patterns)
    edges = live_edges(graph, condensation)
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
