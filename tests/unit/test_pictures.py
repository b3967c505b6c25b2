"""What pictures are made of, against the arrays of the graph; and where Graphviz puts it."""

from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from phasic_mpi.errors import EvaluationError
from phasic_mpi.graph import PhaseTypeGraph
from phasic_mpi.models import build_model
from phasic_mpi.pictures import components, diagrams, graphviz, spy, states
from phasic_mpi.pictures.structure import Structure
from phasic_mpi.scc import condense
from tests.graphs import chain_of_sccs
from tests.recording import record_alone

# A start with two targets, parallel edges, a self-loop, a negative coefficient, an absorbing vertex
# with the state of a transient one.
SMALL = PhaseTypeGraph.from_arrays(
    n_vertices=5,
    states=[[0, 0], [2, 0], [1, 1], [0, 2], [2, 0]],
    edge_source=[1, 1],
    edge_target=[2, 2],
    edge_weight=[0.5, 0.25],
    param_source=[1, 2, 2, 3, 3],
    param_target=[2, 1, 3, 3, 4],
    param_coefficient=[[3, 0], [1, 0], [1, -2], [1, 1], [0, 2.5]],
    start_target=[1, 2],
    start_weight=[0.25, 0.75],
    parameter_names=["migration", "coalescence"],
    state_names=["a", "b"],
)
RANDOM = chain_of_sccs(5, 9, seed=1)


def structure_of(graph: PhaseTypeGraph) -> Structure:
    return Structure.of_graph(graph, condense(graph))


def edge_pairs(graph: PhaseTypeGraph) -> list[tuple[int, int]]:
    """Source and target of every edge but self-loops."""
    source = np.concatenate([graph.edge_source, graph.param_source]).tolist()
    target = np.concatenate([graph.edge_target, graph.param_target]).tolist()
    return [(u, v) for u, v in zip(source, target, strict=True) if u != v]


def strong_components(graph: PhaseTypeGraph) -> np.ndarray:
    """Component of each vertex, by scipy."""
    source, target = np.array(edge_pairs(graph)).T
    matrix = coo_array((np.ones(source.size), (source, target)), shape=(graph.n_vertices,) * 2)
    _, label = connected_components(matrix, connection="strong")
    return np.asarray(label)


def test_a_state_diagram_has_every_state_and_rate() -> None:
    drawn = states.diagram(structure_of(SMALL), None)
    assert [node.label for node in drawn.nodes] == [
        "start",
        "(a=2, b=0)\nvertex 1",
        "(a=1, b=1)",
        "(a=0, b=2)",
        "(a=2, b=0)\nvertex 4",
    ]
    look = [node.style for node in drawn.nodes]
    state = diagrams.STATE
    assert look == [diagrams.START, state, state, state, diagrams.ABSORBING]
    assert {(e.source, e.target): (e.label, e.dashed) for e in drawn.edges} == {
        (0, 1): ("0.25", True),
        (0, 2): ("0.75", True),
        (1, 2): ("0.75 + 3 migration", False),
        (2, 1): ("migration", False),
        (2, 3): ("migration - 2\ncoalescence", False),
        (3, 4): ("2.5 coalescence", False),
    }
    assert drawn.clusters == [[1, 2]]


def test_a_state_diagram_has_rates_as_numbers_at_a_theta() -> None:
    drawn = states.diagram(structure_of(SMALL), np.array([2.0, 0.5]))
    labels = {(e.source, e.target): e.label for e in drawn.edges}
    assert labels[1, 2] == "6.75"
    assert labels[2, 3] == "1"
    assert labels[3, 4] == "1.25"


def test_a_rate_that_is_negative_at_a_theta_is_refused() -> None:
    message = r"at least 0 from vertex 2 \(a=1, b=1\) to vertex 3 \(a=0, b=2\), got -3"
    with pytest.raises(EvaluationError, match=message):
        states.diagram(structure_of(SMALL), np.array([1.0, 2.0]))


def test_rates_without_names_are_in_theta() -> None:
    assert states.rate_label(np.array([0, 1, 0, -1.5])) == "theta_1 - 1.5 theta_3"
    assert states.rate_label(np.array([0, -1.0])) == "-theta_1"
    assert states.rate_label(np.array([2.0, 0])) == "2"
    assert states.rate_label(np.array([0.0])) == "0"


def test_names_of_long_states_are_in_the_legend() -> None:
    graph = PhaseTypeGraph.from_arrays(
        n_vertices=3,
        states=[[0] * 4, [1, 2, 3, 4], [0] * 4],
        edge_source=[1],
        edge_target=[2],
        edge_weight=[1.0],
        start_target=[1],
        start_weight=[1.0],
        state_names=["a", "b", "c", "d"],
    )
    drawn = states.diagram(structure_of(graph), None)
    assert drawn.nodes[1].label == "(1, 2, 3, 4)"
    assert drawn.legend[0] == ("state (a, b, c, d)", diagrams.STATE)
    assert drawn.edges[0] == diagrams.Edge(0, 1, "", dashed=True)


@pytest.mark.parametrize("model", ["structured-coalescent", "tandem-queue", "kingman"])
def test_a_state_diagram_has_the_edges_and_components_of_its_graph(model: str) -> None:
    graph = build_model(model, **{"tandem-queue": {"capacity": 3}}.get(model, {"n": 4}))
    drawn = states.diagram(structure_of(graph), None)
    inner = [(e.source, e.target) for e in drawn.edges if e.source]
    assert sorted(inner) == sorted(set(edge_pairs(graph)))
    label = strong_components(graph)
    found = {label[members[0]]: sorted(members) for members in drawn.clusters}
    expected = {c: np.flatnonzero(label == c).tolist() for c in set(label.tolist())}
    assert found == {c: members for c, members in expected.items() if len(members) > 1}


def test_a_trace_is_drawn_like_its_graph() -> None:
    trace = Structure.of_trace(record_alone(SMALL))
    assert states.diagram(trace, None) == states.diagram(structure_of(SMALL), None)


def test_links_count_the_edges_between_components() -> None:
    links = components.find_links(structure_of(RANDOM))
    label = strong_components(RANDOM)
    pairs = [(label[u], label[v]) for u, v in edge_pairs(RANDOM) if label[u] != label[v]]
    assert sorted(links.n_edges.tolist()) == sorted(Counter(pairs).values())
    assert links.n_vertices.tolist() == [9, 9, 9, 9, 9, 1]
    assert links.level.tolist() == [0, 1, 2, 3, 4, 5]
    assert links.start.tolist() == [0]


def test_levels_are_longest_paths() -> None:
    """A square with a diagonal, 2 -> 3 -> 4 -> 5, 2 -> 4, 2 -> 5, and apart 1 -> 5 and 6 -> 5."""
    graph = PhaseTypeGraph.from_arrays(
        n_vertices=7,
        edge_source=[2, 3, 4, 2, 2, 1, 6],
        edge_target=[3, 4, 5, 4, 5, 5, 5],
        edge_weight=[1.0] * 7,
        start_target=[1, 2, 6],
        start_weight=[0.25, 0.5, 0.25],
    )
    structure = structure_of(graph)
    links = components.find_links(structure)
    level = dict(zip(structure.vertex.tolist(), links.level.tolist(), strict=False))
    assert level == {1: 0, 2: 0, 3: 1, 4: 2, 6: 0}
    assert links.level[-1] == 3


def test_boxes_of_components_are_as_wide_as_they_have_vertices() -> None:
    graph = build_model("structured-coalescent", n=9, islands=3)
    drawn = components.diagram(components.find_links(structure_of(graph)))
    sizes = [55, 45, 36, 28, 21, 15, 10, 6]
    n_absorbing = graph.n_vertices - 1 - sum(sizes)
    assert [node.label for node in drawn.nodes] == ["start", *map(str, sizes), str(n_absorbing)]
    widths = np.array([node.width for node in drawn.nodes[1:-1]])
    np.testing.assert_allclose(widths / widths[0], np.array(sizes) / 55)
    assert [(e.source, e.target) for e in drawn.edges] == [(i, i + 1) for i in range(9)]


def box(layout: graphviz.Layout, sizes: list[tuple[float, float]], node: int) -> np.ndarray:
    """Left, lower, right and upper end."""
    half = np.array(sizes[node]) / 2
    return np.concatenate([layout.centres[node] - half, layout.centres[node] + half])


def test_graphviz_lays_out_boxes_apart_and_edges_from_source_to_target() -> None:
    drawn = states.diagram(structure_of(build_model("tandem-queue", capacity=3)), None)
    sizes = [(40.0, 26.0)] * len(drawn.nodes)
    links = [graphviz.Link(edge.source, edge.target, (30.0, 20.0)) for edge in drawn.edges]
    layout = graphviz.lay_out(sizes, links, drawn.clusters, drawn.depths)
    boxes = np.array([box(layout, sizes, node) for node in range(len(sizes))])
    for a, b in combinations(boxes, 2):
        assert (a[2:] <= b[:2]).any() or (b[2:] <= a[:2]).any()
    for members, area in zip(drawn.clusters, layout.clusters, strict=True):
        assert (boxes[members, :2] >= area[:2]).all()
        assert (boxes[members, 2:] <= area[2:]).all()
        for apart in boxes[sorted(set(range(len(sizes))) - set(members))]:
            assert (apart[:2] >= area[2:]).any() or (apart[2:] <= area[:2]).any()
    for link, curve in zip(links, layout.curves, strict=True):
        end = boxes[link.target]
        assert (np.abs(curve.points[0] - layout.centres[link.source]) <= (21.0, 14.0)).all()
        assert (curve.tip >= end[:2] - 1).all()
        assert (curve.tip <= end[2:] + 1).all()
        assert curve.label is not None
        assert len(curve.points) % 3 == 1


def test_the_start_is_on_top_and_absorbing_vertices_are_below_what_leads_to_them() -> None:
    drawn = states.diagram(structure_of(build_model("structured-coalescent", n=4, islands=2)), None)
    links = [graphviz.Link(edge.source, edge.target) for edge in drawn.edges]
    layout = graphviz.lay_out([(40.0, 26.0)] * len(drawn.nodes), links, [], drawn.depths)
    height = layout.centres[:, 1]
    assert height.argmax() == 0
    absorbed = [link for link in links if drawn.nodes[link.target].style is diagrams.ABSORBING]
    assert absorbed
    for link in absorbed:
        assert height[link.target] < height[link.source]


@pytest.mark.parametrize(
    "graph",
    [RANDOM, build_model("tandem-queue", capacity=6), SMALL],
    ids=["chain", "queue", "small"],
)
def test_a_raster_has_the_fill_of_plain_elimination(graph: PhaseTypeGraph) -> None:
    trace = record_alone(graph)
    raster = spy.rasterise(trace)
    position = trace.position()
    pairs = {(u, v) for u, v in edge_pairs(graph) if position[v] >= 0}
    edges = raster.inner + raster.outer
    assert edges.max() == 1
    assert edges.sum() == len(pairs)
    assert np.tril(raster.outer).sum() == 0
    assert sorted(edges.sum(axis=1)) == sorted(
        Counter(u for u, _ in pairs).get(v, 0) for v in trace.vertex.tolist()
    )
    filled = raster.inner > 0
    for pivot in range(len(filled)):
        below = pivot + 1 + np.flatnonzero(filled[pivot + 1 :, pivot])
        filled[np.ix_(below, np.arange(pivot + 1, len(filled)))] |= filled[pivot, pivot + 1 :]
    np.fill_diagonal(filled, False)
    np.testing.assert_array_equal(raster.factor, filled)


def test_a_coarse_raster_counts_what_a_sharp_one_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    trace = record_alone(chain_of_sccs(4, 30, seed=2))
    sharp = spy.rasterise(trace)
    monkeypatch.setattr(spy, "_CHUNK", 50)  # several for each pattern
    coarse = spy.rasterise(trace, 7)
    first = np.searchsorted(np.arange(120) * 7 // 120, np.arange(7))
    for name in ("inner", "outer", "factor"):
        counts = np.add.reduceat(getattr(sharp, name), first, axis=0)
        counts = np.add.reduceat(counts, first, axis=1)
        np.testing.assert_array_equal(getattr(coarse, name), counts)
    assert coarse.frames == [[0, 30], [30, 30], [60, 30], [90, 30]]
