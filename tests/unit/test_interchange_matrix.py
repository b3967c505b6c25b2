"""Sparse matrices: against dense linear algebra, round trips, and what is no such matrix."""

import sys
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from phasic_mpi.errors import EvaluationError, GraphError, MissingDependencyError
from phasic_mpi.evaluate import moments
from phasic_mpi.graph import PhaseTypeGraph
from phasic_mpi.interchange import from_scipy, to_scipy
from phasic_mpi.models import build_model
from tests.graphs import chain_of_sccs
from tests.recording import record_alone

S = np.array([[-3.0, 2.0, 0.0], [1.0, -4.0, 0.5], [0.0, 0.25, -0.25]])
ALPHA = np.array([0.5, 0.0, 0.25])
EXITS = np.array([1.0, 2.5, 0.0])


def dense_moments(s: np.ndarray, alpha: np.ndarray, n: int) -> list[float]:
    """``k! alpha (-S)^-k 1``."""
    out, vector = [], np.ones(len(s))
    for k in range(1, n + 1):
        vector = k * np.linalg.solve(-s, vector)
        out.append(float(alpha @ vector))
    return out


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array, sparse.csc_array, sparse.lil_array])
def test_a_sub_intensity_matrix_has_its_moments(kind: Any) -> None:
    graph = from_scipy(kind(S), ALPHA)
    assert graph.n_vertices == 5
    found = moments(record_alone(graph), (), 3)[0]
    np.testing.assert_allclose(found, dense_moments(S, ALPHA, 3), rtol=1e-13)


def test_a_generator_matrix_has_its_absorbing_states_in_it() -> None:
    whole = np.zeros((5, 5))
    whole[:3, :3] = S
    whole[:3, 3] = [1.0, 0.0, 0.0]
    whole[:3, 4] = [0.0, 2.5, 0.0]
    graph = from_scipy(sparse.csr_array(whole), [*ALPHA, 0, 0])
    assert graph.n_vertices == 6
    found = moments(record_alone(graph), (), 3)[0]
    np.testing.assert_allclose(found, dense_moments(S, ALPHA, 3), rtol=1e-13)


def test_sums_that_are_zero_but_for_rounding_are_no_exit_rates() -> None:
    rng = np.random.default_rng(3)
    whole = 10.0 ** rng.uniform(-3, 3, size=(40, 40))
    np.fill_diagonal(whole, 0)
    whole[-1] = 0
    np.fill_diagonal(whole, -whole.sum(axis=1))
    graph = from_scipy(whole, np.eye(40)[0])
    assert graph.n_vertices == 41
    assert graph.edge_source.size == 39 * 39


def test_sums_that_rounding_does_not_explain_are_exit_rates() -> None:
    slow = 2.0**-40
    graph = from_scipy([[-1.0 - slow, 1.0], [1.0, -1.0]], [1.0, 0.0])
    assert graph.n_vertices == 4
    assert graph.edge_weight[graph.edge_target == 3].tolist() == [slow]


def test_a_graph_becomes_matrices_and_comes_back() -> None:
    graph = from_scipy(
        S, ALPHA, states=[[1], [2], [3]], state_names=["n"], rewards={"r": [1, 2, 3]}
    )
    assert graph.states.tolist() == [[0], [1], [2], [3], [0]]
    assert graph.reward("r").tolist() == [0, 1, 2, 3, 0]
    matrix, alpha, exit_rates = to_scipy(graph)
    assert matrix.format == "csr"
    np.testing.assert_array_equal(matrix.toarray(), S)
    np.testing.assert_array_equal(alpha, ALPHA)
    np.testing.assert_array_equal(exit_rates, EXITS)
    again = from_scipy(
        matrix,
        alpha,
        exit_rates=exit_rates,
        states=graph.states[1:-1],
        state_names=["n"],
        rewards={"r": [1, 2, 3]},
    )
    assert again.equals(graph)


@pytest.mark.parametrize(
    ("name", "settings", "theta"),
    [
        ("kingman", {"n": 6}, [1.3]),
        ("structured-coalescent", {"n": 4, "islands": 2}, [1.0, 0.4]),
        ("tandem-queue", {"capacity": 3}, [0.9, 1.0, 1.1]),
    ],
)
def test_a_bundled_model_has_the_moments_of_its_matrix(
    name: str, settings: dict[str, int], theta: list[float]
) -> None:
    graph = build_model(name, **settings)
    ours = moments(record_alone(graph), theta, 3)[0]
    matrix, alpha, exit_rates = to_scipy(graph, theta)
    np.testing.assert_allclose(dense_moments(matrix.toarray(), alpha, 3), ours, rtol=1e-12)
    back = from_scipy(matrix, alpha, exit_rates=exit_rates)
    np.testing.assert_allclose(moments(record_alone(back), (), 3)[0], ours, rtol=1e-12)


def test_exit_rates_keep_digits_that_sums_of_rows_lose() -> None:
    graph = chain_of_sccs(4, 20, seed=5, rates=(-6.0, 6.0))
    ours = moments(record_alone(graph), (), 1)[0, 0]
    matrix, alpha, exit_rates = to_scipy(graph)
    back = from_scipy(matrix, alpha, exit_rates=exit_rates)
    assert moments(record_alone(back), (), 1)[0, 0] == pytest.approx(ours, rel=1e-13)


@pytest.mark.parametrize(
    ("matrix", "options", "problem"),
    [
        (S[:2], {}, r"expected a square matrix .*, got shapes \(2, 3\) and \(3,\)"),
        (S, {"alpha": [1.0]}, r"got shapes \(3, 3\) and \(1,\)"),
        (-S, {}, r"entry \(0, 1\): expected a finite rate of at least 0, got -2"),
        (np.where(S == 2, np.inf, S), {}, "expected a finite rate"),
        (S * np.nan, {}, "expected a finite rate"),
        (S.astype(complex), {}, "expected a matrix of real numbers, got complex128"),
        (S + np.diag([0, 3, 0]), {}, "row 1: expected a sum of at most 0, got 0.5"),
        (S, {"exit_rates": [1.0, 2.5]}, r"complete each row to a sum of 0, got shape \(2,\)"),
        (S, {"exit_rates": [1.0, 2.6, 0]}, "complete each row to a sum of 0, got other ones"),
        (S, {"exit_rates": [1.0, np.nan, 0]}, "complete each row to a sum of 0, got other ones"),
        (S, {"exit_rates": [1.0, 2.5, -1e-12]}, "complete each row to a sum of 0, got other ones"),
        (S, {"states": [1, 2, 3]}, r"expected 3 states of integers, got shape \(3,\)"),
        (S, {"alpha": [0.5, 0.5, 0.5]}, "initial probabilities with a sum of at most 1"),
    ],
)
def test_what_is_no_sub_intensity_matrix_is_refused(
    matrix: np.ndarray, options: dict[str, Any], problem: str
) -> None:
    with pytest.raises(GraphError, match=problem):
        from_scipy(matrix, **{"alpha": ALPHA, **options})


def test_rates_and_starts_that_are_none_at_theta_are_refused() -> None:
    graph = PhaseTypeGraph.from_arrays(
        n_vertices=3,
        states=[[0], [7], [8]],
        state_names=["n"],
        param_source=[1],
        param_target=[2],
        param_coefficient=[[1.0, 0.0]],
        start_param_target=[1],
        start_param_coefficient=[[0.0, 1.0]],
        parameter_names=["x", "y"],
    )
    matrix, alpha, exit_rates = to_scipy(graph, {"x": 2.0, "y": 0.5})
    assert (matrix.toarray().tolist(), alpha.tolist(), exit_rates.tolist()) == ([[-2]], [0.5], [2])
    with pytest.raises(EvaluationError, match=r"edge from vertex 1 \(n=7\) to vertex 2 \(n=8\)"):
        to_scipy(graph, [-2.0, 0.5])
    with pytest.raises(EvaluationError, match=r"probabilities of at least 0, got -0\.5"):
        to_scipy(graph, [2.0, -0.5])


def test_a_missing_scipy_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy", None)
    for use in (lambda: from_scipy(S, ALPHA), lambda: to_scipy(build_model("kingman", n=3), [1.0])):
        with pytest.raises(MissingDependencyError, match=r"phasic_mpi\[interchange\]"):
            use()
