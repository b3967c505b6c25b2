"""Graphs go to phasic 0.32.1 and back: its moments are ours.

phasic runs in a process of its own, because importing it sets JAX up for itself.
"""

import json
from functools import cache
from typing import Any

import numpy as np
import pytest

from phasic_mpi.errors import GraphError
from phasic_mpi.evaluate import moments
from phasic_mpi.graph import PhaseTypeGraph
from phasic_mpi.interchange import phasic_fields
from phasic_mpi.models import build_model
from tests.launch import launch
from tests.recording import record_alone

# Reads graphs as JSON; prints the moments that phasic finds and what it serializes.
PEER = """
import json, sys
import numpy as np
import phasic

answers = []
for fields, theta in json.loads(sys.argv[1]):
    graph = phasic.Graph.from_serialized(fields)
    if theta:
        graph.update_weights(theta)
    moments = [float(moment) for moment in graph.moments(3)]
    answers.append({"moments": moments, "fields": graph.serialize()})
print(json.dumps(answers, default=np.ndarray.tolist))
"""

# Builds graphs in phasic, takes them over, gives them back; prints three moments of each.
THERE_AND_BACK = """
import json
import phasic
from phasic_mpi.evaluate import moments
from phasic_mpi.graph import PhaseTypeGraph
from phasic_mpi.interchange import phasic_fields
from tests.recording import record_alone

def islands(state):
    a, b = map(int, state)
    if a + b == 1:
        return []
    steps = [([a - 1, b + 1], [0.0, float(a)]), ([a + 1, b - 1], [0.0, float(b)])]
    merges = [([a - 1, b], [a * (a - 1) / 2, 0.0]), ([a, b - 1], [b * (b - 1) / 2, 0.0])]
    return [(target, rate) for target, rate in steps + merges if any(rate)]

def ring():
    graph = phasic.Graph(1)
    start = graph.starting_vertex()
    a, b, end = (graph.find_or_create_vertex([number]) for number in (1, 2, 3))
    start.add_edge(a, 0.25)
    start.add_edge(b, 0.75)
    a.add_edge(b, 2.0)
    b.add_edge(a, 1.5)
    b.add_edge(end, 0.5)
    return graph

def found(graph, theta):
    if theta:
        graph.update_weights(theta)
    return [float(moment) for moment in graph.moments(3)]

answers = []
for graph, theta in ((phasic.Graph(islands, ipv=[([3, 1], 1.0)]), [1.0, 0.4]), (ring(), [])):
    ours = PhaseTypeGraph.from_phasic(graph)
    again = phasic.Graph.from_serialized(phasic_fields(ours))
    rows = moments(record_alone(ours), theta or [1.0] * ours.n_parameters, 3)
    answers.append([found(graph, theta), rows[0].tolist(), found(again, theta)])
print(json.dumps(answers))
"""

CONSTANT: dict[str, Any] = {
    "n_vertices": 4,
    "edge_source": [1, 2, 2],
    "edge_target": [2, 1, 3],
    "edge_weight": [1.0, 2.0, 3.0],
    "start_target": [1, 2],
    "start_weight": [0.25, 0.75],
    "rewards": {"first": [0, 1, 0, 0]},
}
MIXED: dict[str, Any] = {
    **CONSTANT,
    "states": [[0, 0], [1, 0], [2, 1], [2, 1]],
    "state_names": ["a", "b"],
    "param_source": [2, 1],
    "param_target": [3, 3],
    "param_coefficient": [[1.0, 0.5], [0.0, 2.0]],
    "parameter_names": ["x", "y"],
}

# A graph, theta, and what phasic needs behind theta.
CASES: dict[str, tuple[PhaseTypeGraph, list[float], list[float]]] = {
    "kingman": (build_model("kingman", n=6), [1.3], []),
    "islands": (build_model("structured-coalescent", n=4, islands=2), [1.0, 0.4], []),
    "tandem": (build_model("tandem-queue", capacity=3), [0.9, 1.0, 1.1], []),
    "constant": (PhaseTypeGraph.from_arrays(**CONSTANT), [], []),
    "mixed": (PhaseTypeGraph.from_arrays(**MIXED), [0.5, 0.7], [1.0]),
}


def ask(*arguments: str) -> list[Any]:
    """What a program with phasic prints last."""
    done = launch(["-c", *arguments])
    assert done.returncode == 0, (
        f"phasic is installed by: pip install --no-deps phasic==0.32.1\n{done.stderr}"
    )
    answers: list[Any] = json.loads(done.stdout.splitlines()[-1])
    return answers


@cache
def answers() -> dict[str, Any]:
    """What phasic says about all cases, asked once."""
    asked = [(phasic_fields(graph), theta + more) for graph, theta, more in CASES.values()]
    told = ask(PEER, json.dumps(asked, default=np.ndarray.tolist))
    return dict(zip(CASES, told, strict=True))


@pytest.mark.parametrize("name", CASES)
def test_phasic_reads_what_we_write_and_finds_our_moments(name: str) -> None:
    graph, theta, _ = CASES[name]
    ours = moments(record_alone(graph), theta, 3)[0]
    np.testing.assert_allclose(answers()[name]["moments"], ours, rtol=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_what_phasic_writes_of_our_graph_is_that_graph(name: str) -> None:
    graph, theta, more = CASES[name]
    fields = answers()[name]["fields"]
    back = PhaseTypeGraph.from_serialized(fields)
    assert back.n_vertices == graph.n_vertices
    np.testing.assert_array_equal(back.states[1:, : graph.state_length], graph.states[1:])
    # phasic writes rates without parameters as coefficients of one, which is 1.
    parameters = theta + more if theta else [1.0]
    ours = moments(record_alone(graph), theta, 3)
    np.testing.assert_allclose(moments(record_alone(back), parameters, 3), ours, rtol=1e-14)


@pytest.mark.parametrize("name", CASES)
def test_what_phasic_reads_we_read_too(name: str) -> None:
    graph, theta, more = CASES[name]
    again = PhaseTypeGraph.from_serialized(phasic_fields(graph))
    found = moments(record_alone(again), theta + more, 3)
    np.testing.assert_allclose(found, moments(record_alone(graph), theta, 3), rtol=1e-14)


def test_graphs_of_phasic_come_over_and_go_back() -> None:
    for theirs, ours, again in ask(THERE_AND_BACK):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)
        np.testing.assert_allclose(again, theirs, rtol=1e-14)


def test_names_grow_with_what_they_are_names_of() -> None:
    fields = phasic_fields(CASES["mixed"][0])
    assert fields["parameter_names"] == ["x", "y", "constant"]
    assert fields["state_names"] == ["a", "b", "vertex"]


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"start_weight": [0.25, 0.5]}, "0 that depend on theta and a constant sum of 0.75"),
        (
            {"start_param_target": [1], "start_param_coefficient": [[0.0, 0.1]]},
            "1 that depend on theta and a constant sum of 1",
        ),
    ],
)
def test_initial_distributions_that_phasic_would_change_are_refused(
    changed: dict[str, Any], problem: str
) -> None:
    graph = PhaseTypeGraph.from_arrays(**{**MIXED, **changed})
    with pytest.raises(GraphError, match=f"with a sum of 1, got {problem}"):
        phasic_fields(graph)
