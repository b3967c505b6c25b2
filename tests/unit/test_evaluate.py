"""Replay against closed forms and exact arithmetic, and what it refuses."""

import math
from typing import Any

import numpy as np
import pytest

from phasic_mpi.errors import EvaluationError
from phasic_mpi.evaluate import Replay, expected_rewards, expected_visits, moments
from phasic_mpi.graph import PhaseTypeGraph
from phasic_mpi.models import build_model
from phasic_mpi.trace import EliminationTrace
from tests.graphs import chain_of_sccs, random_scc
from tests.recording import record_alone


def erlang(k: int) -> PhaseTypeGraph:
    """``k`` exponential stages of rate theta, one after another."""
    chain = np.arange(1, k + 1, dtype=np.int32)
    return PhaseTypeGraph.from_arrays(
        n_vertices=k + 2,
        param_source=chain,
        param_target=chain + 1,
        param_coefficient=np.ones((k, 1)),
        start_target=[1],
        start_weight=[1.0],
    )


def test_moments_of_an_erlang_distribution_match_the_closed_form() -> None:
    values = moments(record_alone(erlang(5)), [[2.0], [0.25]], 4)
    for row, rate in zip(values, (2.0, 0.25), strict=True):
        expected = [math.prod(5 + i for i in range(k)) / rate**k for k in range(1, 5)]
        np.testing.assert_allclose(row, expected, rtol=1e-14)


def test_a_missing_start_mass_is_an_atom_at_zero() -> None:
    whole = erlang(3)
    half = PhaseTypeGraph.from_arrays(
        n_vertices=5,
        param_source=whole.param_source,
        param_target=whole.param_target,
        param_coefficient=whole.param_coefficient,
        start_target=[1],
        start_weight=[0.5],
    )
    np.testing.assert_allclose(
        moments(record_alone(half), [1.0], 3), moments(record_alone(whole), [1.0], 3) / 2
    )


def test_visits_and_rewards_agree_on_every_mean() -> None:
    graph = chain_of_sccs(5, 9, seed=11)
    trace = record_alone(graph)
    theta = np.ones(graph.n_parameters)
    visits = expected_visits(trace, theta)
    rewards = np.random.default_rng(5).uniform(size=graph.n_vertices)
    rewards[0] = 0.0
    mean = moments(trace, theta, 1, rewards)[0, 0]
    assert math.isclose(visits @ rewards, mean, rel_tol=1e-12)
    assert math.isclose(expected_rewards(trace, theta, rewards)[0], mean, rel_tol=1e-12)


def test_expected_rewards_solve_the_linear_system() -> None:
    graph = random_scc(30, seed=2)
    trace = record_alone(graph)
    theta = np.ones(graph.n_parameters)
    weight = np.concatenate([graph.edge_weight, graph.param_coefficient @ theta])
    source = np.concatenate([graph.edge_source, graph.param_source])
    target = np.concatenate([graph.edge_target, graph.param_target])
    matrix = np.zeros((graph.n_vertices, graph.n_vertices))
    np.add.at(matrix, (source, source), weight)
    np.add.at(matrix, (source, target), -weight)
    transient = trace.vertex
    times = np.linalg.solve(matrix[np.ix_(transient, transient)], np.ones(transient.size))
    np.testing.assert_allclose(expected_rewards(trace, theta)[transient], times, rtol=1e-11)


def test_parallel_edges_add_up_and_self_loops_do_not_matter() -> None:
    graph = PhaseTypeGraph.from_arrays(
        n_vertices=3,
        edge_source=[1, 1, 1],
        edge_target=[2, 2, 1],
        edge_weight=[1.0, 3.0, 100.0],
        start_target=[1],
        start_weight=[1.0],
    )
    assert moments(record_alone(graph), np.zeros((1, 0)), 1)[0, 0] == 0.25


def test_a_negative_rate_names_the_edge_and_the_theta() -> None:
    trace = record_alone(build_model("structured-coalescent", n=3, islands=2))
    with pytest.raises(EvaluationError, match=r"edge \d+ -> \d+, got -1\.5") as info:
        moments(trace, [1.0, -0.5], 1)
    assert "theta=[coalescence=1.0, migration=-0.5]" in str(info.value)


def test_a_theta_that_closes_the_way_out_names_the_vertex() -> None:
    trace = record_alone(build_model("structured-coalescent", n=3, islands=2))
    with pytest.raises(EvaluationError, match=r"positive finite rate out of vertex \d+"):
        moments(trace, [0.0, 1.0], 1)


@pytest.mark.parametrize("theta", [[1.0], [1.0, 1.0, 1.0], [[[1.0, 1.0]]]])
def test_theta_of_a_wrong_shape_is_refused(theta: object) -> None:
    trace = record_alone(build_model("structured-coalescent", n=3, islands=2))
    with pytest.raises(EvaluationError, match=r"expected theta of shape \(n_theta, 2\), got"):
        moments(trace, theta, 1)


def test_theta_that_is_not_finite_is_refused_with_its_row() -> None:
    trace = record_alone(erlang(2))
    with pytest.raises(EvaluationError, match="row of theta=1"):
        moments(trace, [[1.0], [math.nan]], 1)


@pytest.mark.parametrize("rewards", [np.ones(3), np.full(4, np.inf), ["a"], [[1.0], [1.0, 2.0]]])
def test_rewards_that_do_not_fit_are_refused(rewards: Any) -> None:
    with pytest.raises(EvaluationError, match="Rewards do not fit the graph"):
        moments(record_alone(erlang(2)), [1.0], 1, rewards)


def test_moments_below_the_first_are_refused() -> None:
    with pytest.raises(EvaluationError, match="n_moments of at least 1, got 0"):
        moments(record_alone(erlang(2)), [1.0], 0)


def named() -> EliminationTrace:
    """Three lineages on two islands, with names of everything and a reward."""
    graph = build_model("structured-coalescent", n=3, islands=2)
    names = {"parameter_names": ["coalescence", "migration"], "state_names": ["west", "east"]}
    rewards = {"lineages": graph.states.sum(axis=1)}
    return record_alone(
        PhaseTypeGraph.from_serialized({**graph.serialize(), **names, "rewards": rewards})
    )


def test_theta_and_rewards_may_be_given_by_name() -> None:
    trace = named()
    rows = [{"migration": 0.5, "coalescence": 1.0}, {"coalescence": 2.0, "migration": 0.25}]
    reward = trace.states.sum(axis=1)
    np.testing.assert_array_equal(
        moments(trace, rows, 3, "lineages"), moments(trace, [[1.0, 0.5], [2.0, 0.25]], 3, reward)
    )
    np.testing.assert_array_equal(
        expected_rewards(trace, rows[0], "lineages"), expected_rewards(trace, [1.0, 0.5], reward)
    )
    np.testing.assert_array_equal(
        expected_visits(trace, rows[0]), expected_visits(trace, [1.0, 0.5])
    )


def test_names_that_there_are_not_are_refused() -> None:
    trace = named()
    with pytest.raises(EvaluationError, match="expected one of lineages, got 'length'"):
        moments(trace, [1.0, 0.5], 1, "length")
    with pytest.raises(EvaluationError, match="unknown: 'growth'; missing: migration"):
        moments(trace, {"coalescence": 1.0, "growth": 0.5}, 1)


def test_errors_show_states_and_theta_with_their_names() -> None:
    trace = named()
    with pytest.raises(EvaluationError, match=r"edge 1 -> 3, got -1\.5") as info:
        moments(trace, {"coalescence": 1.0, "migration": -0.5}, 1)
    assert "theta=[coalescence=1.0, migration=-0.5]" in str(info.value)
    assert "from=vertex 1 (west=3, east=0), to=vertex 3 (west=2, east=1)" in str(info.value)
    with pytest.raises(EvaluationError, match=r"rate out of vertex \d \(west=\d, east=\d\), dir"):
        moments(trace, [0.0, 1.0], 1)


def test_one_replay_serves_many_theta() -> None:
    trace = record_alone(build_model("tandem-queue", capacity=4))
    thetas = np.random.default_rng(1).uniform(0.5, 2.0, size=(7, 3))
    replay = Replay(trace)
    rows = [replay.moments(theta, 3)[0] for theta in thetas]
    np.testing.assert_array_equal(replay.moments(thetas, 3), rows)
