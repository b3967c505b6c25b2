"""Stitching against the dense matrix of the graph, and what it refuses."""

import dataclasses

import numpy as np
import pytest

from phasic_mpi.errors import PayloadError
from phasic_mpi.graph import PhaseTypeGraph
from phasic_mpi.scc import Condensation, condense
from phasic_mpi.stitch import stitch
from phasic_mpi.trace import BlockTrace, EliminationTrace
from phasic_mpi.trace_check import check_trace
from tests.block_traces import plain_trace, random_block


def mixed_graph(seed: int, *, n: int = 40, n_random: int = 90) -> PhaseTypeGraph:
    """Constant and parameterised random edges, parallel edges and self-loops among them."""
    rng = np.random.default_rng(seed)
    source, target = rng.integers(1, n - 1, n_random), rng.integers(1, n, n_random)
    n_constant = n_random // 3
    all_states = np.arange(1, n - 1)
    return PhaseTypeGraph.from_arrays(
        n_vertices=n,
        edge_source=np.concatenate([source[:n_constant], all_states]),
        edge_target=np.concatenate([target[:n_constant], np.full(n - 2, n - 1)]),
        edge_weight=rng.uniform(0.5, 1.0, n_constant + n - 2),
        param_source=source[n_constant:],
        param_target=target[n_constant:],
        param_coefficient=rng.uniform(0.5, 1.0, (n_random - n_constant, 2)),
        start_target=[3, 5],
        start_weight=[0.25, 0.75],
    )


def traces_of(condensation: Condensation) -> dict[str, BlockTrace]:
    return {block.key: plain_trace(block, seed=7) for block in condensation.distinct}


def dense_rates(graph: PhaseTypeGraph, theta: np.ndarray) -> np.ndarray:
    """Rates between vertices, without self-loops."""
    rates = np.zeros((graph.n_vertices, graph.n_vertices))
    np.add.at(rates, (graph.edge_source, graph.edge_target), graph.edge_weight)
    weight = graph.param_coefficient @ theta
    np.add.at(rates, (graph.param_source, graph.param_target), weight)
    np.fill_diagonal(rates, 0.0)
    return rates


def rates_in_slots(trace: EliminationTrace, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Reads the rates between transient vertices, and those to absorption, out of the slots."""
    weight = np.concatenate([trace.constant, trace.coefficient @ theta])
    slots = np.zeros(trace.n_slots)
    np.add.at(slots, trace.edge_slot, weight)
    remaining = iter(slots)
    rates = np.zeros((trace.n_vertices, trace.n_vertices))
    for block in range(trace.n_blocks):
        members = trace.vertex[trace.block_ptr[block] : trace.block_ptr[block + 1]]
        pattern = trace.block_pattern[block]
        if pattern < 0:
            continue
        rows = range(trace.pattern_ptr[pattern], trace.pattern_ptr[pattern + 1])
        for row in rows:
            for entry in range(trace.row_ptr[row], trace.row_ptr[row + 1]):
                column = rows.start + trace.col[entry]
                rates[members[trace.order[row]], members[trace.order[column]]] = next(remaining)
    for position, source in enumerate(trace.vertex):
        for edge in range(trace.off_ptr[position], trace.off_ptr[position + 1]):
            rates[source, trace.vertex[trace.off_col[edge]]] = next(remaining)
    return rates, np.array(list(remaining))


@pytest.mark.parametrize("seed", range(8))
def test_the_slots_hold_the_rates_of_the_graph(seed: int) -> None:
    graph = mixed_graph(seed, n_random=30 + 20 * seed)
    condensation = condense(graph)
    trace = stitch(graph, condensation, traces_of(condensation))
    theta = np.array([0.75, 1.5])
    rates, to_absorption = rates_in_slots(trace, theta)
    expected = dense_rates(graph, theta)
    transient = trace.vertex
    np.testing.assert_allclose(
        rates[np.ix_(transient, transient)], expected[np.ix_(transient, transient)], rtol=1e-15
    )
    np.testing.assert_allclose(to_absorption, expected[transient, -1], rtol=1e-15)


def test_the_random_graphs_have_blocks_of_both_kinds() -> None:
    patterns = [condense(mixed_graph(s, n_random=30 + 20 * s)).block_pattern for s in range(8)]
    assert any((pattern < 0).any() and (pattern >= 0).sum() > 1 for pattern in patterns)


@pytest.mark.parametrize("seed", range(8))
def test_a_stitched_trace_passes_its_own_check_and_that_of_the_core(seed: int) -> None:
    graph = mixed_graph(seed)
    condensation = condense(graph)
    trace = stitch(graph, condensation, traces_of(condensation))
    check_trace(trace)
    trace.core()


def test_live_edges_keep_their_order_and_their_numbers() -> None:
    graph = mixed_graph(3)
    condensation = condense(graph)
    trace = stitch(graph, condensation, traces_of(condensation))
    loop = graph.edge_source == graph.edge_target
    param_loop = graph.param_source == graph.param_target
    assert condensation.n_self_loops == loop.sum() + param_loop.sum() > 0
    np.testing.assert_array_equal(trace.constant, graph.edge_weight[~loop])
    np.testing.assert_array_equal(trace.coefficient, graph.param_coefficient[~param_loop])
    ends = np.stack([trace.edge_source, trace.edge_target])
    expected = np.concatenate(
        [
            np.stack([graph.edge_source, graph.edge_target])[:, ~loop],
            np.stack([graph.param_source, graph.param_target])[:, ~param_loop],
        ],
        axis=1,
    )
    np.testing.assert_array_equal(ends, expected)
    np.testing.assert_array_equal(trace.start_vertex, [3, 5])
    np.testing.assert_array_equal(trace.start_constant, [0.25, 0.75])
    assert trace.start_coefficient.shape == (0, 2)


def two_equal_blocks() -> PhaseTypeGraph:
    """1 <-> 2 -> 3 <-> 4 -> 5, and 6 a block of its own before them."""
    return PhaseTypeGraph.from_arrays(
        n_vertices=7,
        edge_source=[1, 2, 2, 3, 4, 4, 6],
        edge_target=[2, 1, 3, 4, 3, 5, 1],
        edge_weight=[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0],
        start_target=[6],
        start_weight=[1.0],
    )


def test_equal_blocks_share_a_pattern_but_no_slot() -> None:
    graph = two_equal_blocks()
    condensation = condense(graph)
    trace = stitch(graph, condensation, traces_of(condensation))
    assert trace.n_patterns == 1
    assert trace.block_pattern.tolist() == [-1, 0, 0]
    assert trace.col.size == 2
    assert np.unique(trace.edge_slot).size == 7
    slots = np.zeros(trace.n_slots)
    slots[trace.edge_slot] = trace.constant
    by_kind = np.split(slots, [trace.first_off_slot, trace.first_exit_slot])
    assert [sorted(values) for values in by_kind] == [
        [1.0, 2.0, 4.0, 5.0],
        [3.0, 7.0],
        [0.0, 0.0, 0.0, 0.0, 6.0],
    ]


def test_an_acyclic_graph_needs_no_traces() -> None:
    graph = PhaseTypeGraph.from_arrays(
        n_vertices=4,
        edge_source=[1, 1, 2],
        edge_target=[2, 3, 3],
        edge_weight=[1.0, 2.0, 3.0],
        start_target=[1],
        start_weight=[1.0],
    )
    trace = stitch(graph, condense(graph), {})
    assert (trace.n_patterns, trace.col.size, trace.n_slots) == (0, 0, 3)
    assert trace.edge_slot.tolist() == [0, 1, 2]
    check_trace(trace)


def test_missing_traces_are_named_with_their_sizes() -> None:
    graph = two_equal_blocks()
    condensation = condense(graph)
    key = condensation.distinct[0].key
    with pytest.raises(PayloadError, match=rf"1 are missing: {key[:12]} \(2 vertices, 2 edges\)"):
        stitch(graph, condensation, {})


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"check": "0" * 32}, "check: expected .*, got 0000"),
        ({"order": np.zeros(3, np.int32)}, "n_vertices: expected 2, got 3"),
        ({"edge_slot": np.zeros(1, np.int64)}, "n_edges: expected 2, got 1"),
        ({"row_ptr": np.zeros(2, np.int64)}, "size of row_ptr: expected 3, got 2"),
        ({"row_ptr": np.zeros(3, np.int64)}, "last row_ptr: expected 2, got 0"),
        ({"upper_ptr": np.zeros(1, np.int64)}, "size of upper_ptr: expected 2, got 1"),
        ({"edge_slot": np.array([0, 2])}, "edge_slot out of range: expected 0, got 1"),
    ],
)
def test_a_trace_that_is_not_of_its_block_is_refused(
    change: dict[str, object], problem: str
) -> None:
    graph = two_equal_blocks()
    condensation = condense(graph)
    (block,) = condensation.distinct
    trace = dataclasses.replace(plain_trace(block), **change)
    with pytest.raises(PayloadError, match=problem) as info:
        stitch(graph, condensation, {block.key: trace})
    assert block.key in str(info.value)


def test_a_trace_under_the_key_of_another_block_is_refused() -> None:
    graph = two_equal_blocks()
    condensation = condense(graph)
    (block,) = condensation.distinct
    other = plain_trace(random_block(2 + 1, seed=0))
    with pytest.raises(PayloadError, match=f"key: expected {block.key}, got {other.key}"):
        stitch(graph, condensation, {block.key: other})
