"""Condensation against networkx-free brute force, content keys, and what is refused."""

import numpy as np
import pytest

from phasic_mpi.errors import GraphError
from phasic_mpi.graph import PhaseTypeGraph
from phasic_mpi.models import build_model
from phasic_mpi.scc import Condensation, SccBlock, condense
from tests.graphs import chain_of_sccs


def constant_graph(n_vertices: int, edges: list[tuple[int, int]]) -> PhaseTypeGraph:
    source, target = np.array(edges).T
    return PhaseTypeGraph.from_arrays(
        n_vertices=n_vertices,
        edge_source=source,
        edge_target=target,
        edge_weight=np.ones(len(edges)),
        start_target=[1],
        start_weight=[1.0],
    )


def reachable(n_vertices: int, edges: list[tuple[int, int]]) -> np.ndarray:
    """Transitive closure by repeated squaring."""
    reach = np.eye(n_vertices, dtype=bool)
    for source, target in edges:
        reach[source, target] = True
    for _ in range(n_vertices.bit_length()):
        reach = reach @ reach
    return reach


def blocks_of(condensation: Condensation) -> list[list[int]]:
    return [
        condensation.vertex[first:last].tolist()
        for first, last in zip(condensation.block_ptr[:-1], condensation.block_ptr[1:], strict=True)
    ]


@pytest.mark.parametrize("seed", range(30))
def test_blocks_are_the_mutually_reachable_sets_in_topological_order(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = 25
    edges = [(v, int(rng.integers(1, n))) for v in range(1, n - 1) for _ in range(2)]
    edges = [(u, v) for u, v in edges if u != v] + [(v, n - 1) for v in range(1, n - 1)]
    condensation = condense(constant_graph(n, edges))
    reach = reachable(n, edges)
    blocks = blocks_of(condensation)
    assert sorted(v for block in blocks for v in block) == list(range(1, n - 1))
    for index, block in enumerate(blocks):
        assert block == sorted(block)
        together = [v for v in range(1, n - 1) if reach[block[0], v] and reach[v, block[0]]]
        assert block == together
        for earlier in blocks[:index]:
            assert not reach[block[0], earlier[0]]


def test_every_live_edge_has_the_place_of_its_kind() -> None:
    # 1 <-> 2 is a block, 3 a block of one vertex, 4 absorbing; 1 -> 2 comes twice.
    graph = constant_graph(5, [(1, 2), (2, 1), (1, 2), (2, 3), (3, 4), (1, 4)])
    condensation = condense(graph)
    assert blocks_of(condensation) == [[1, 2], [3]]
    assert condensation.n_internal == 2
    assert condensation.n_off == 1
    assert condensation.edge_place.tolist() == [0, 1, 0, 2, 3 + 2, 3 + 0]


def test_equal_blocks_are_kept_once() -> None:
    graph = chain_of_sccs(6, 5, seed=1)
    one = condense(graph)
    assert one.n_blocks == 6
    repeated = constant_graph(8, [(1, 2), (2, 1), (2, 3), (3, 4), (4, 3), (4, 5), (5, 6), (6, 7)])
    condensation = condense(repeated)
    assert len(condensation.distinct) == 1
    assert condensation.block_pattern.tolist() == [0, 0, -1, -1]


def test_the_key_depends_on_the_pattern_and_on_nothing_else() -> None:
    small = condense(build_model("structured-coalescent", n=4, islands=2))
    large = condense(build_model("structured-coalescent", n=6, islands=2))
    assert {block.key for block in small.distinct} < {block.key for block in large.distinct}


def test_a_changed_edge_changes_key_and_check() -> None:
    ring = SccBlock.build(np.array([0, 1, 2, 3]), np.array([1, 2, 0]))
    other = SccBlock.build(np.array([0, 1, 2, 3]), np.array([2, 0, 1]))
    assert ring.key != other.key
    assert ring.check != other.check
    assert (len(ring.key), len(ring.check)) == (64, 32)


def test_self_loops_and_zero_edges_are_left_out_and_counted() -> None:
    graph = PhaseTypeGraph.from_arrays(
        n_vertices=4,
        param_source=[1, 1, 2, 2],
        param_target=[1, 2, 1, 3],
        param_coefficient=[[1.0], [1.0], [0.0], [2.0]],
        start_target=[1],
        start_weight=[1.0],
    )
    condensation = condense(graph)
    assert (condensation.n_self_loops, condensation.n_zero_edges) == (1, 1)
    assert condensation.edge_index.tolist() == [1, 3]
    assert blocks_of(condensation) == [[1], [2]]


def test_a_vertex_whose_weights_are_all_zero_is_named() -> None:
    graph = PhaseTypeGraph.from_arrays(
        n_vertices=4,
        param_source=[1, 2],
        param_target=[2, 3],
        param_coefficient=[[1.0], [0.0]],
        start_target=[1],
        start_weight=[1.0],
    )
    with pytest.raises(GraphError, match="at vertex 2 all edges are self-loops or have weight"):
        condense(graph)


def test_vertices_that_cannot_reach_absorption_are_named() -> None:
    graph = constant_graph(6, [(1, 2), (2, 3), (3, 2), (1, 4), (4, 5)])
    with pytest.raises(
        GraphError, match="from every vertex, but it is not from vertex 2, vertex 3"
    ):
        condense(graph)


def test_vertices_are_named_with_their_states() -> None:
    graph = PhaseTypeGraph.from_arrays(
        n_vertices=4,
        states=[[0, 0], [2, 0], [1, 1], [0, 2]],
        edge_source=[1, 2, 3],
        edge_target=[2, 3, 2],
        edge_weight=[1.0, 1.0, 1.0],
        start_target=[1],
        start_weight=[1.0],
        state_names=["west", "east"],
    )
    named = r"not from vertex 1 \(west=2, east=0\), vertex 2 \(west=1, east=1\), vertex 3"
    with pytest.raises(GraphError, match=named):
        condense(graph)


def test_a_start_that_can_only_be_absorbed_at_once_is_refused() -> None:
    graph = PhaseTypeGraph.from_arrays(
        n_vertices=3,
        edge_source=[1],
        edge_target=[2],
        edge_weight=[1.0],
        start_target=[2],
        start_weight=[1.0],
    )
    with pytest.raises(GraphError, match="start"):
        condense(graph)


@pytest.mark.parametrize(
    ("row_ptr", "col", "problem"),
    [
        ([0, 1], [0], "other than its row 0, got 0"),
        ([0, 1, 2], [1, 2], "edge 1: expected a column in 0..1"),
        ([0, 2, 2, 2], [2, 1], "row 0: column 1 does not ascend after 2"),
        ([0, 2, 1, 2], [1, 0], "row_ptr descends at row 1"),
        ([0, 1, 3], [1, 0], "expected row_ptr from 0 to 2"),
    ],
)
def test_a_malformed_pattern_is_refused(row_ptr: list[int], col: list[int], problem: str) -> None:
    with pytest.raises(GraphError, match=problem):
        SccBlock.build(np.array(row_ptr), np.array(col))


def test_a_chain_of_a_million_vertices_needs_no_recursion() -> None:
    n = 1_000_000
    chain = np.arange(1, n + 1, dtype=np.int32)
    graph = PhaseTypeGraph.from_arrays(
        n_vertices=n + 2,
        edge_source=np.concatenate([chain, chain[1:]]),
        edge_target=np.concatenate([chain + 1, chain[1:] - 1]),
        edge_weight=np.ones(2 * n - 1),
        start_target=[1],
        start_weight=[1.0],
    )
    condensation = condense(graph)
    assert condensation.n_blocks == 1
    assert condensation.distinct[0].n_vertices == n
