"""Networks of networkx: round trips, graphs drawn by hand, and attributes that are none."""

import sys
from typing import Any

import networkx as nx
import numpy as np
import pytest

from phasic_mpi.errors import GraphError, MissingDependencyError
from phasic_mpi.evaluate import moments
from phasic_mpi.graph import PhaseTypeGraph
from phasic_mpi.interchange import from_networkx, to_networkx
from phasic_mpi.models import build_model
from tests.recording import record_alone


def mean(graph: PhaseTypeGraph, theta: Any = ()) -> float:
    return float(moments(record_alone(graph), theta, 1)[0, 0])


def machine() -> nx.DiGraph:
    """Works, or is slow, until it is broken: the mean is 4 from both."""
    network = nx.DiGraph()
    network.add_edge("works", "slow", rate=0.5)
    network.add_edge("works", "broken", rate=0.25)
    network.add_edge("slow", "works", rate=3)
    network.add_edge("slow", "broken", rate=np.float64(0.25))
    return network


@pytest.mark.parametrize("initial", ["works", {"works": 0.25, "slow": 0.75}])
def test_a_network_of_rates_has_its_mean(initial: Any) -> None:
    assert mean(from_networkx(machine(), initial=initial)) == pytest.approx(4, rel=1e-14)


def test_initial_probabilities_may_be_attributes() -> None:
    network = machine()
    network.nodes["works"]["initial"] = 1.0
    assert mean(from_networkx(network)) == pytest.approx(4, rel=1e-14)


def full_graph() -> PhaseTypeGraph:
    return PhaseTypeGraph.from_arrays(
        n_vertices=4,
        states=[[0, 0], [1, 5], [2, -4], [3, 3]],
        state_names=["a", "b"],
        edge_source=[1, 1, 2],
        edge_target=[2, 2, 3],
        edge_weight=[0.5, 0.25, 3],
        param_source=[1, 2],
        param_target=[2, 1],
        param_coefficient=[[1, 0.5], [0, 2]],
        parameter_names=["x", "y"],
        start_target=[2],
        start_weight=[0.5],
        start_param_target=[1],
        start_param_coefficient=[[0.25, 0]],
        rewards={"cost": [0, 1, -2, 0], "work": [0, 0.5, 0, 0]},
    )


def test_a_graph_with_everything_comes_back() -> None:
    graph = full_graph()
    network = to_networkx(graph)
    assert isinstance(network, nx.MultiDiGraph)
    assert network.nodes[1] == {
        "state": (1, 5),
        "rewards": {"cost": 1, "work": 0.5},
        "initial_coefficient": (0.25, 0),
    }
    assert network.nodes[2]["initial"] == 0.5
    assert [data for _, _, data in network.edges(1, data=True)] == [
        {"rate": 0.5},
        {"rate": 0.25},
        {"coefficient": (1, 0.5)},
    ]
    assert from_networkx(network).equals(graph)


@pytest.mark.parametrize("name", ["kingman", "tandem-queue"])
def test_a_bundled_model_comes_back(name: str) -> None:
    graph = build_model(name)
    back = from_networkx(to_networkx(graph))
    theta = np.linspace(0.5, 1, graph.n_parameters)
    assert mean(back, theta) == pytest.approx(mean(graph, theta), rel=1e-12)
    np.testing.assert_array_equal(back.states[1:], graph.states[1:])
    assert back.parameter_names == graph.parameter_names
    assert back.reward_names == graph.reward_names


def spoilt(change: Any) -> nx.DiGraph:
    network = machine()
    change(network)
    return network


@pytest.mark.parametrize(
    ("network", "initial", "problem"),
    [
        (nx.Graph(), "a", "expected a DiGraph or MultiDiGraph, got Graph"),
        (machine(), None, "expected nodes of the network to start in, got none"),
        (machine(), "gone", "to start in, got 'gone', which is none"),
        (machine(), {"gone": 1.0}, "to start in, got 'gone', which is none"),
        (machine(), {"works": "1"}, "node 'works': expected a number, got '1'"),
        (machine(), {"works": 1.5}, "initial probabilities with a sum of at most 1"),
        (
            spoilt(lambda n: n.add_edge("works", "slow", coefficient=[1.0])),
            "works",
            r"edge 'works' -> 'slow': expected an attribute 'rate' or 'coefficient', got",
        ),
        (
            spoilt(lambda n: n.add_edge("works", "works")),
            "works",
            r"edge 'works' -> 'works': expected an attribute 'rate' or 'coefficient', got \[\]",
        ),
        (
            spoilt(lambda n: n.add_edge("works", "slow", rate="fast")),
            "works",
            "edge 'works' -> 'slow': expected a number, got 'fast'",
        ),
        (
            spoilt(lambda n: n.add_edge("works", "slow", rate=-1)),
            "works",
            "expected a finite number of at least 0, got -1",
        ),
        (
            spoilt(lambda n: n.add_edge("works", "slow", rate=float("nan"))),
            "works",
            "expected a finite number of at least 0, got nan",
        ),
        (
            spoilt(lambda n: n.add_edge("broken", "slow", coefficient=1.0)),
            "works",
            "edge 'broken' -> 'slow': expected a list of numbers, got 1.0",
        ),
        (
            spoilt(
                lambda n: (
                    n.add_edge("broken", "slow", coefficient=[1.0]),
                    n.add_edge("broken", "works", coefficient=[1.0, 2.0]),
                )
            ),
            "works",
            "expected as many coefficients on every edge, got different numbers",
        ),
        (
            spoilt(lambda n: n.add_node("works", state=(1,))),
            "works",
            "expected a state of the same length at every node or at none",
        ),
        (
            spoilt(lambda n: n.add_node("works", state=1)),
            "works",
            "states of the nodes: expected a list of numbers, got 1",
        ),
        (
            spoilt(lambda n: n.add_node("works", state=[1, [2]])),
            "works",
            r"states of the nodes: expected a list of numbers, got \[1, \[2\]\]",
        ),
        (
            spoilt(lambda n: n.add_node("works", rewards=1)),
            "works",
            "expected rewards by name at each node, got 1",
        ),
        (
            spoilt(lambda n: n.add_node("works", rewards={"r": 1})),
            "works",
            "expected rewards of the same names at every node or at none",
        ),
    ],
)
def test_what_is_no_phase_type_network_is_refused(network: Any, initial: Any, problem: str) -> None:
    with pytest.raises(GraphError, match=problem):
        from_networkx(network, initial=initial)


def test_a_missing_networkx_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "networkx", None)
    with pytest.raises(MissingDependencyError, match=r"phasic_mpi\[interchange\]"):
        to_networkx(full_graph())
