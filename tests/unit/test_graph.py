"""Graphs: what they hold, what they refuse, and the fields of phasic's ``Graph.serialize()``."""

import json
import logging
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from phasic_mpi.errors import EvaluationError, GraphError, GraphIndexError
from phasic_mpi.graph import PhaseTypeGraph
from phasic_mpi.log import get_logger
from phasic_mpi.models import MODELS, build_model
from tests.graphs import random_scc

# Two parameters, a constant and three parameterised edges, one start edge of each kind.
FIELDS: dict[str, Any] = {
    "states": [[0, 0], [2, 0], [1, 1], [0, 0]],
    "edges": [[1, 3, 0.25]],
    "param_edges": [[1, 2, 1.0, 0.0], [2, 1, 0.0, 0.5], [2, 3, 2.0, -1.0]],
    "start_edges": [[1, 0.5]],
    "start_param_edges": [[2, 0.125, 0.25]],
    "param_length": 2,
    "state_length": 2,
    "n_vertices": 4,
}
NAMES: dict[str, Any] = {
    "parameter_names": ["coalescence", "migration"],
    "state_names": ["island_1", "island_2"],
    "rewards": {"length": [0, 2, 1, 0], "loss": [0.0, -0.5, 0.0, 0.0]},
}

# What phasic 0.32.1 returns for start -> a, a -> b at [3, 1] . theta, a.add_aux_vertex_constant(2):
# the vertex it adds has the state of the start, and its edges are in constant_edges alone.
PHASIC_AUX = {
    "states": np.array([[0], [2], [1], [0]], dtype=np.int32),
    "vertex_indices": np.array([0, 1, 2, 3], dtype=np.int32),
    "edges": np.empty((0, 3)),
    "constant_edges": np.array([[1.0, 3.0, 2.0], [3.0, 1.0, 2.0]]),
    "start_edges": np.array([[1.0, 1.0]]),
    "param_edges": np.array([[1.0, 2.0, 3.0, 1.0]]),
    "start_param_edges": np.empty((0, 3)),
    "param_length": 2,
    "state_length": 1,
    "n_vertices": 4,
    "weight_mode": "linear",
    "dyn_ordering": False,
}

# The same for a graph with constant edges only, serialize() and serialize(theta_dim=0).
PHASIC_CONSTANT = {
    **PHASIC_AUX,
    "states": np.array([[0], [2], [1]], dtype=np.int32),
    "vertex_indices": np.array([0, 1, 2], dtype=np.int32),
    "constant_edges": np.empty((0, 3)),
    "param_edges": np.array([[1.0, 2.0, 3.0]]),
    "start_param_edges": np.empty((0, 2)),
    "param_length": 1,
    "n_vertices": 3,
}
PHASIC_NO_THETA = {
    **PHASIC_CONSTANT,
    "edges": np.array([[1.0, 2.0, 3.0]]),
    "param_edges": np.empty((0, 0)),
    "start_param_edges": np.empty((0, 0)),
    "param_length": 0,
}


def with_fields(**changed: Any) -> dict[str, Any]:
    return {**FIELDS, **changed}


def as_lists(graph: PhaseTypeGraph) -> dict[str, Any]:
    """What is left of ``serialize()`` after JSON."""
    return json.loads(json.dumps(graph.serialize(), default=np.ndarray.tolist))


def names(fewest: int, most: int) -> st.SearchStrategy[list[str]]:
    name = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,63}", fullmatch=True)
    return st.lists(name, min_size=fewest, max_size=most, unique=True)


@st.composite
def graphs(draw: st.DrawFn) -> PhaseTypeGraph:
    """Any legal graph, whether or not it describes a law: what a file must carry exactly."""
    n, p, d = draw(st.integers(2, 9)), draw(st.integers(0, 3)), draw(st.integers(0, 3))
    sizes = [draw(st.integers(0, 12)) for _ in range(2)] + [draw(st.integers(1, 3))]
    n_edges, n_param, n_start = sizes
    vertex = st.integers(1, n - 1)
    rate = st.floats(0, allow_infinity=False)
    number = st.floats(allow_nan=False, allow_infinity=False)
    states = npst.arrays(np.int32, (n, d), elements=st.integers(-(2**31), 2**31 - 1))
    return PhaseTypeGraph.from_arrays(
        n_vertices=n,
        states=draw(states),
        edge_source=draw(npst.arrays(np.int32, n_edges, elements=vertex)),
        edge_target=draw(npst.arrays(np.int32, n_edges, elements=vertex)),
        edge_weight=draw(npst.arrays(np.float64, n_edges, elements=rate)),
        param_source=draw(npst.arrays(np.int32, n_param, elements=vertex)),
        param_target=draw(npst.arrays(np.int32, n_param, elements=vertex)),
        param_coefficient=draw(npst.arrays(np.float64, (n_param, p), elements=number)),
        start_target=draw(npst.arrays(np.int32, n_start, elements=vertex)),
        start_weight=draw(npst.arrays(np.float64, n_start, elements=st.floats(0, 0.25))),
        start_param_target=draw(npst.arrays(np.int32, 1, elements=vertex)),
        start_param_coefficient=draw(npst.arrays(np.float64, (1, p), elements=number)),
        parameter_names=draw(st.just([]) | names(p, p)),
        state_names=draw(st.just([]) | names(d, d)),
        rewards={
            name: draw(npst.arrays(np.float64, n, elements=number)) for name in draw(names(0, 3))
        },
    )


# --- round trips ---------------------------------------------------------------------------------


@given(graphs())
def test_from_serialized_round_trip(graph: PhaseTypeGraph) -> None:
    assert PhaseTypeGraph.from_serialized(graph.serialize()).equals(graph)
    assert PhaseTypeGraph.from_serialized(as_lists(graph)).equals(graph)


@pytest.mark.parametrize("name", MODELS)
def test_bundled_models_survive_serialization(name: str) -> None:
    graph = build_model(name)
    assert PhaseTypeGraph.from_serialized(graph.serialize()).equals(graph)


def test_serialize_parameterized_edges() -> None:
    graph = PhaseTypeGraph.from_serialized(FIELDS)
    fields = graph.serialize()
    assert fields["param_edges"].tolist() == FIELDS["param_edges"]
    assert fields["start_param_edges"].tolist() == FIELDS["start_param_edges"]
    assert fields["edges"].tolist() == FIELDS["edges"]
    assert fields["start_edges"].tolist() == FIELDS["start_edges"]
    assert graph.n_parameters == fields["param_length"] == 2
    assert graph.param_coefficient.tolist() == [[1.0, 0.0], [0.0, 0.5], [2.0, -1.0]]
    assert graph.n_edges == 4


def test_serialize_empty_graph() -> None:
    graph = PhaseTypeGraph.from_arrays(n_vertices=2, start_target=[1], start_weight=[1.0])
    fields = graph.serialize()
    assert fields["states"].shape == (2, 0)
    assert fields["edges"].shape == (0, 3)
    assert fields["param_edges"].shape == (0, 2)
    assert fields["start_param_edges"].shape == (0, 0)  # as phasic writes it and demands it
    assert PhaseTypeGraph.from_serialized(fields).equals(graph)
    assert PhaseTypeGraph.from_serialized(as_lists(graph)).equals(graph)


@pytest.mark.parametrize("n_vertices", [0, 1])
def test_a_graph_that_starts_nowhere_is_refused(n_vertices: int) -> None:
    nothing = {name: [] for name, value in FIELDS.items() if isinstance(value, list)}
    counts = {"param_length": 0, "state_length": 0, "n_vertices": n_vertices}
    with pytest.raises(GraphError, match=r"field 'start_edges': .* got 0 with a sum of 0"):
        PhaseTypeGraph.from_serialized({**nothing, **counts})


def test_equals_sees_every_column() -> None:
    graph = PhaseTypeGraph.from_serialized(FIELDS)
    for name, change in (
        ("states", [[0, 0], [2, 0], [1, 1], [0, 1]]),
        ("edges", [[1, 3, 0.5]]),
        ("param_edges", [[1, 2, 1.0, 0.0], [2, 1, 0.0, 0.5], [2, 3, 2.0, -1.5]]),
        ("start_edges", [[2, 0.5]]),
        ("start_param_edges", [[2, 0.125, 0.5]]),
        *NAMES.items(),
    ):
        assert not graph.equals(PhaseTypeGraph.from_serialized(with_fields(**{name: change})))


# --- names ---------------------------------------------------------------------------------------


def test_names_and_rewards_are_kept_in_their_order() -> None:
    graph = PhaseTypeGraph.from_serialized(with_fields(**NAMES))
    assert graph.parameter_names == ("coalescence", "migration")
    assert graph.state_names == ("island_1", "island_2")
    assert graph.reward_names == ("length", "loss")
    assert graph.rewards.dtype == np.float64
    assert graph.rewards.tolist() == [[0, 2, 1, 0], [0, -0.5, 0, 0]]
    assert graph.reward("loss").tolist() == [0, -0.5, 0, 0]
    assert {name: graph.serialize()[name] for name in ("parameter_names", "state_names")} == {
        name: NAMES[name] for name in ("parameter_names", "state_names")
    }


def test_a_graph_without_names_serializes_as_phasic_does() -> None:
    assert not set(NAMES) & set(PhaseTypeGraph.from_serialized(FIELDS).serialize())


def test_a_reward_that_is_not_there_is_refused_with_those_that_are() -> None:
    graph = PhaseTypeGraph.from_serialized(with_fields(**NAMES))
    with pytest.raises(EvaluationError, match="expected one of length, loss, got 'width'"):
        graph.reward("width")
    with pytest.raises(EvaluationError, match="there are none"):
        PhaseTypeGraph.from_serialized(FIELDS).reward("width")


# --- what phasic writes --------------------------------------------------------------------------


def test_constant_edges_of_phasic_are_edges() -> None:
    graph = PhaseTypeGraph.from_serialized(PHASIC_AUX)
    assert graph.edge_source.tolist() == [1, 3]
    assert graph.edge_target.tolist() == [3, 1]
    assert graph.edge_weight.tolist() == [2.0, 2.0]


def test_constant_edges_come_after_edges() -> None:
    graph = PhaseTypeGraph.from_serialized(with_fields(constant_edges=[[2, 1, 4.0], [2, 1, 1.0]]))
    assert graph.edge_source.tolist() == [1, 2, 2]
    assert graph.edge_target.tolist() == [3, 1, 1]
    assert graph.edge_weight.tolist() == [0.25, 4.0, 1.0]
    assert PhaseTypeGraph.from_serialized(graph.serialize()).equals(graph)


def test_an_edge_in_both_tables_of_constants_is_refused() -> None:
    with pytest.raises(GraphError) as caught:
        PhaseTypeGraph.from_serialized(with_fields(constant_edges=[[2, 1, 1.0], [1, 3, 0.25]]))
    assert (
        "field 'constant_edges', row 1: expected an edge that is not in 'edges', got 1 -> 3"
        in caught.value.problem
    )


def test_a_constant_graph_of_phasic_has_one_parameter_or_none() -> None:
    graph = PhaseTypeGraph.from_serialized(PHASIC_CONSTANT)
    assert (graph.n_parameters, graph.param_coefficient.tolist()) == (1, [[3.0]])
    graph = PhaseTypeGraph.from_serialized(PHASIC_NO_THETA)
    assert (graph.n_parameters, graph.edge_weight.tolist()) == (0, [3.0])


def test_from_phasic_asks_the_graph_to_serialize_itself() -> None:
    class Graph:
        def serialize(self) -> dict[str, Any]:
            return PHASIC_AUX

    assert PhaseTypeGraph.from_phasic(Graph()).equals(PhaseTypeGraph.from_serialized(PHASIC_AUX))


def test_equal_states_stay_different_vertices() -> None:
    graph = PhaseTypeGraph.from_serialized(with_fields(states=[[0, 0]] * 4))
    assert graph.n_vertices == 4
    assert graph.param_target.tolist() == [2, 1, 3]


@pytest.mark.parametrize("ordering", [False, True])
def test_the_ordering_that_phasic_eliminates_in_changes_nothing(ordering: bool) -> None:
    graph = PhaseTypeGraph.from_serialized(with_fields(dyn_ordering=ordering))
    assert graph.equals(PhaseTypeGraph.from_serialized(FIELDS))


def test_coefficients_beyond_the_parameters_are_refused_by_name() -> None:
    rows = [[1, 2, 1.0, 0.0, 7.0], [2, 3, 2.0, 1.0, 7.0]]
    for table in (rows, np.array(rows)):
        with pytest.raises(GraphError) as caught:
            PhaseTypeGraph.from_serialized(with_fields(param_edges=table))
        assert caught.value.problem == (
            "field 'param_edges', row 0: expected 2 + 2 columns, of which 2 are coefficients "
            "because param_length is 2, got 2 + 3"
        )
        assert "write param_length 3" in caught.value.resolution
        assert "weight callbacks" in caught.value.resolution


@pytest.mark.parametrize("mode", ["log", "callback", "Linear", None, 1, ["linear"]])
def test_weights_that_are_not_linear_are_refused_by_name(mode: object) -> None:
    with pytest.raises(GraphError) as caught:
        PhaseTypeGraph.from_serialized(with_fields(weight_mode=mode))
    assert caught.value.problem == f"field 'weight_mode': expected 'linear', got {mode!r}"


@pytest.mark.parametrize(
    ("indices", "problem"),
    [
        ([0, 2, 1, 3], "row 1: expected 1, got 2"),
        ([1, 2, 3, 4], "row 0: expected 0, got 1"),
        ([0, 1, 2], "expected shape (4, 1), got (3, 1)"),
        ([0, 1, 2, 2.5], "row 3: expected 3, got 2.5"),
        ([0, True, 2, 3], "row 1, column 0: expected a number, got True"),
        ("0123", "expected a list of rows, got str"),
        (3, "expected a list of rows, got int"),
        (np.array([0, 1, 3, 2]), "row 2: expected 2, got 3"),
        (np.zeros((4, 2)), "row 0: expected 1 numbers, got 2"),
    ],
)
def test_vertex_indices_must_number_the_rows(indices: Any, problem: str) -> None:
    with pytest.raises(GraphError) as caught:
        PhaseTypeGraph.from_serialized(with_fields(vertex_indices=indices))
    assert problem in caught.value.problem
    assert caught.value.problem.startswith("field 'vertex_indices'")


@pytest.mark.parametrize("indices", [[0, 1, 2, 3], [0.0, 1.0, 2.0, 3.0], np.arange(4)])
def test_vertex_indices_that_number_the_rows_are_accepted(indices: Any) -> None:
    graph = PhaseTypeGraph.from_serialized(with_fields(vertex_indices=indices))
    assert graph.equals(PhaseTypeGraph.from_serialized(FIELDS))


# --- what is refused -----------------------------------------------------------------------------

MALFORMED: list[tuple[dict[str, Any], str]] = [
    ({"n_vertices": True}, "field 'n_vertices': expected an integer in 0..2147483647, got True"),
    ({"n_vertices": 4.0}, "field 'n_vertices': expected an integer in 0..2147483647, got 4.0"),
    ({"param_length": "2"}, "field 'param_length': expected an integer in 0..2147483647, got '2'"),
    ({"state_length": -1}, "field 'state_length': expected an integer in 0..2147483647, got -1"),
    ({"n_vertices": 2**31}, "expected an integer in 0..2147483647, got 2147483648"),
    ({"param_length": None}, "field 'param_length': expected an integer"),
    ({"states": [[0, 0]] * 3}, "field 'states': expected shape (4, 2), got (3, 2)"),
    ({"states": [[0]] * 4}, "field 'states', row 0: expected 2 numbers, got 1"),
    ({"states": [[0, 0], [1, 0], [2], [3, 0]]}, "field 'states', row 2: expected 2 numbers, got 1"),
    ({"states": []}, "field 'states': expected shape (4, 2), got (0, 2)"),
    ({"states": [[0, 0.5]] * 4}, "field 'states', row 0: expected 32-bit integers, got [0.0, 0.5]"),
    ({"states": [[0, 2**31]] * 4}, "field 'states', row 0: expected 32-bit integers"),
    ({"states": 7}, "field 'states': expected a list of rows, got int"),
    ({"edges": {"a": 1}}, "field 'edges': expected a list of rows, got dict"),
    ({"edges": [1, 2, 3.0]}, "field 'edges', row 0: expected a list of 3 numbers, got 1"),
    ({"edges": [[1, 2]]}, "field 'edges', row 0: expected 3 numbers, got 2"),
    ({"edges": [[1, 2, 1.0], []]}, "field 'edges', row 1: expected 3 numbers, got 0"),
    ({"edges": np.zeros((2, 0))}, "field 'edges', row 0: expected 3 numbers, got 0"),
    ({"edges": np.zeros((1, 3, 1))}, "field 'edges': expected shape ('any', 3), got (1, 3, 1)"),
    ({"edges": [[1, True, 1.0]]}, "field 'edges', row 0, column 1: expected a number, got True"),
    ({"edges": [[1, 2, "3"]]}, "field 'edges', row 0, column 2: expected a number, got '3'"),
    ({"edges": [[1, 2, None]]}, "field 'edges', row 0, column 2: expected a number, got None"),
    ({"edges": [[1, 2, [3]]]}, "field 'edges', row 0, column 2: expected a number, got [3]"),
    ({"edges": [[1, 2, 10**400]]}, "field 'edges', row 0, column 2: expected a number, got 1000"),
    ({"edges": [[1, 2, 1j]]}, "field 'edges', row 0, column 2: expected a number, got 1j"),
    ({"edges": np.array([["1", "2", "3"]])}, "field 'edges': expected integers or floats, got an"),
    ({"edges": np.ones((1, 3), bool)}, "expected integers or floats, got an array of bool"),
    ({"edges": [[1, 2.5, 1.0]]}, "field 'edges[:, 1]', row 0: expected 32-bit integers, got 2.5"),
    ({"edges": [[1, float("nan"), 1.0]]}, "field 'edges[:, 1]', row 0: expected 32-bit integers"),
    ({"edges": [[2**40, 1, 1.0]]}, "field 'edges[:, 0]', row 0: expected 32-bit integers"),
    (
        {"edges": [[1, 2, 1.0], [1, 2, -0.5]]},
        "field 'edges[:, 2]', row 1: expected a finite number of at least 0, got -0.5",
    ),
    ({"edges": [[1, 2, float("inf")]]}, "field 'edges[:, 2]', row 0: expected a finite number"),
    ({"constant_edges": [[1, 2, -1]]}, "field 'constant_edges[:, 2]', row 0: expected a finite"),
    ({"edges": [[1, 0, 1.0]]}, "field 'edges[:, 1]', row 0: expected a vertex other than 0"),
    ({"param_edges": [[0, 1, 1.0, 1.0]]}, "field 'param_edges[:, 0]', row 0: expected a vertex ot"),
    ({"param_edges": [[1, 2, 1.0]]}, "expected 2 + 2 columns, of which 2 are coefficients"),
    (
        {"param_edges": [[1, 2, 1.0, float("nan")]]},
        "field 'param_coefficient', row 0: expected finite numbers, got [1.0, nan]",
    ),
    ({"param_edges": [[1]]}, "field 'param_edges', row 0: expected 4 numbers, got 1"),
    ({"start_param_edges": [[1, 1.0]]}, "row 0: expected 1 + 2 columns, of which 2 are coeffici"),
    ({"start_edges": [[1, -0.5]]}, "field 'start_edges[:, 1]', row 0: expected a finite number of"),
    ({"start_edges": [[0, 1.0]]}, "field 'start_edges[:, 0]', row 0: expected a vertex other"),
    (
        {"start_edges": [[1, 0.75], [2, 0.5]]},
        "field 'start_edges': expected initial probabilities with a sum of at most 1, got 3 with a "
        "sum of 1.25",
    ),
    ({"dyn_ordering": 1}, "field 'dyn_ordering': expected False or True, got 1"),
    ({"parameter_names": ["a"]}, "field 'parameter_names': expected 2 names or none, got 1: a"),
    ({"parameter_names": "ab"}, "field 'parameter_names': expected a list of names, got 'ab'"),
    ({"parameter_names": 2}, "field 'parameter_names': expected a list of names, got 2"),
    ({"parameter_names": ["a", "b-c"]}, "entry 1: expected a letter or _, then letters, digits an"),
    ({"parameter_names": ["a", "b" * 65]}, "_, at most 64 in all, got 'bbb"),
    ({"state_names": ["a", "a"]}, "field 'state_names': expected each name once, got a more than"),
    ({"state_names": ["a", 3]}, "field 'state_names': entry 1: expected a letter or _, then lette"),
    ({"rewards": [[1, 2, 3, 4]]}, "field 'rewards': expected an array for each name, got list"),
    ({"rewards": {"2": [0, 0, 0, 0]}}, "field 'rewards': entry 0: expected a letter or _, then"),
    ({"rewards": {"r": [0, 0, 0]}}, "field 'rewards.r': expected shape (4, 1), got (3, 1)"),
    ({"rewards": {"r": 3}}, "field 'rewards.r': expected a list of rows, got int"),
    ({"rewards": {"r": [0, 0, 0, True]}}, "field 'rewards.r', row 3, column 0: expected a number"),
    (
        {"rewards": {"q": [0, 0, 0, 0], "r": [0, 0, float("nan"), 0]}},
        "field 'rewards.r': expected finite numbers, got nan at vertex 2",
    ),
]


@pytest.mark.parametrize(("changed", "problem"), MALFORMED)
def test_deserialization_error_messages(changed: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match="Problem: ") as caught:
        PhaseTypeGraph.from_serialized(with_fields(**changed))
    assert type(caught.value) is GraphError
    assert problem in str(caught.value)
    assert "\n  Resolution: " in str(caught.value)


@pytest.mark.parametrize("as_array", [False, True])
@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("edges", [4, 1, 1.0]),
        ("edges", [1, -1, 1.0]),
        ("constant_edges", [1, 9, 1.0]),
        ("param_edges", [1, 4, 1.0, 1.0]),
        ("start_edges", [4, 0.5]),
        ("start_param_edges", [7, 0.5, 0.5]),
    ],
)
def test_an_edge_to_no_vertex_is_a_runtime_error_with_its_row(
    name: str, row: list[float], as_array: bool
) -> None:
    column, vertex = next((i, v) for i, v in enumerate(row) if not 1 <= v <= 3)
    rows: Any = [*FIELDS.get(name, []), row]
    number = len(rows) - 1
    with pytest.raises(RuntimeError) as caught:
        PhaseTypeGraph.from_serialized(with_fields(**{name: np.array(rows) if as_array else rows}))
    assert type(caught.value) is GraphIndexError
    assert caught.value.problem == (
        f"field '{name}[:, {column}]', row {number}: expected a vertex in 0..3, got {vertex}"
    )
    assert caught.value.context == {"n_vertices": 4}


@pytest.mark.parametrize("name", list(FIELDS))
def test_a_missing_field_is_named(name: str) -> None:
    fields = with_fields(weigth_mode="linear")
    del fields[name]
    with pytest.raises(GraphError) as caught:
        PhaseTypeGraph.from_serialized(fields)
    assert f"missing: ['{name}']; unknown: ['weigth_mode']; available: [" in caught.value.problem


def test_fields_must_have_names() -> None:
    with pytest.raises(GraphError, match="expected an object with named fields, got list"):
        PhaseTypeGraph.from_serialized([FIELDS])  # type: ignore[arg-type]


def test_messages_stay_short_whatever_the_input() -> None:
    for changed in ({"weight_mode": "x" * 10**6}, {str(i): 0 for i in range(10**5)}):
        with pytest.raises(GraphError) as caught:
            PhaseTypeGraph.from_serialized(with_fields(**changed))
        assert len(str(caught.value)) < 3000


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"edge_weight": [1.0]}, "field 'edge_weight': expected float64 of 1 dimensions and shape"),
        ({"edge_target": [[1, 2]]}, "field 'edge_target': expected int32 of 1 dimensions and shap"),
        ({"edge_source": 1}, "field 'edge_source': expected int32 of 1 dimensions"),
        ({"param_coefficient": 3.0}, "field 'param_coefficient': expected float64 of 2 dimensions"),
        ({"param_coefficient": [3.0]}, "field 'param_coefficient': expected float64 of 2 dimensio"),
        ({"param_coefficient": [[3.0], [1.0]]}, "shape (1, 1), got float64 of shape (2, 1)"),
        ({"start_param_coefficient": [[1.0, 2.0]]}, "expected float64 of 2 dimensions and shape"),
        ({"states": [[0]] * 5}, "field 'states': expected 4 rows, one per vertex, got an array of"),
        ({"states": [0] * 4}, "field 'states': expected int32 of 2 dimensions"),
        ({"states": [[0], [0, 1], [0], [0]]}, "field 'states': expected numbers: "),
        ({"n_vertices": -1}, "field 'n_vertices': expected an integer in 0..2147483647, got -1"),
        ({"n_vertices": "4"}, "field 'n_vertices': expected an integer"),
        ({"edge_weight": ["1", "2"]}, "field 'edge_weight': expected integers or floats, got an"),
        ({"edge_weight": [1.0, 1j]}, "field 'edge_weight': expected integers or floats, got an"),
        ({"edge_source": [True, True]}, "expected integers or floats, got an array of bool"),
        ({"edge_weight": [1.0, np.nan]}, "field 'edge_weight', row 1: expected a finite number of"),
        ({"start_weight": [-1.0]}, "field 'start_weight', row 0: expected a finite number of"),
        ({"param_coefficient": [[np.inf]]}, "field 'param_coefficient', row 0: expected finite"),
    ],
)
def test_array_shape_mismatch_raises(changed: dict[str, Any], problem: str) -> None:
    columns: dict[str, Any] = {
        "n_vertices": 4,
        "edge_source": [1, 2],
        "edge_target": [2, 3],
        "edge_weight": [1.0, 2.0],
        "param_source": [1],
        "param_target": [3],
        "param_coefficient": [[1.0]],
        "start_target": [1],
        "start_weight": [1.0],
    }
    PhaseTypeGraph.from_arrays(**columns)
    with pytest.raises(ValueError, match="Graph is malformed") as caught:
        PhaseTypeGraph.from_arrays(**{**columns, **changed})
    assert type(caught.value) is GraphError
    assert problem in caught.value.problem


def test_columns_given_directly_must_have_their_types() -> None:
    columns = vars(random_scc(5, 1))
    with pytest.raises(GraphError, match="field 'edge_weight': expected float64"):
        PhaseTypeGraph(**{**columns, "edge_weight": columns["edge_weight"].astype(np.float32)})


def test_an_atom_at_time_zero_is_logged_and_kept(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(get_logger(), "propagate", True)
    with caplog.at_level(logging.WARNING, logger=get_logger().name):
        graph = PhaseTypeGraph.from_arrays(n_vertices=2, start_target=[1], start_weight=[0.75])
    assert "Initial probabilities sum to 0.75" in caplog.text
    assert graph.start_weight.tolist() == [0.75]


def test_rounding_in_initial_probabilities_is_legal(caplog: pytest.LogCaptureFixture) -> None:
    PhaseTypeGraph.from_arrays(n_vertices=2, start_target=[1], start_weight=[1 + 5e-10])
    PhaseTypeGraph.from_arrays(n_vertices=2, start_target=[1], start_weight=[1 - 5e-10])
    assert not caplog.records


def test_parallel_edges_and_self_loops_are_kept_as_given() -> None:
    edges = [[1, 2, 1.0], [1, 2, 2.0], [1, 1, 3.0], [1, 3, 0.0]]
    graph = PhaseTypeGraph.from_serialized(with_fields(edges=edges))
    assert graph.serialize()["edges"].tolist() == edges
