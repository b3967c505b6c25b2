"""Distributions given by alpha and S against formulas of 50 digits and a matrix exponential."""

from typing import Any

import mpmath as mp
import numpy as np
import pytest
from scipy.linalg import expm

from phasic_mpi import replay
from phasic_mpi.errors import ConfigError, GraphError
from phasic_mpi.evaluate import moments
from phasic_mpi.graph import PhaseTypeGraph
from phasic_mpi.models import build_model
from tests.recording import record_alone
from tests.unit.models.plain import edges_of, mean

RNG = np.random.default_rng(5)
RATES = RNG.exponential(size=(5, 5)) * (RNG.random((5, 5)) < 0.7)
np.fill_diagonal(RATES, 0.0)
EXITS = np.array([0.5, 0.0, 1.0, 0.0, 0.25])
S = RATES - np.diag(RATES.sum(axis=1) + EXITS)
ALPHA = np.array([0.3, 0.0, 0.1, 0.35, 0.25])


def graph_of(**settings: Any) -> PhaseTypeGraph:
    return build_model("phase-type", **settings)


def test_rates_are_those_of_the_matrix() -> None:
    graph = graph_of(S="-3,1,0.5;0,-2,2;4,0,-4")
    assert edges_of(graph) == {
        ((1,), (2,)): (1.0,),
        ((1,), (3,)): (0.5,),
        ((1,), (4,)): (1.5,),
        ((2,), (3,)): (2.0,),
        ((3,), (1,)): (4.0,),
    }
    assert graph.n_parameters == 0
    assert graph.states[graph.start_target].tolist() == [[1]]


def test_moments_are_those_of_the_formula() -> None:
    """``k! alpha (-S)^-k 1``."""
    with mp.workdps(50):
        inverse = mp.matrix((-S).tolist()) ** -1
        expected = [
            float(mp.factorial(k) * mp.fsum(mp.matrix([ALPHA.tolist()]) * inverse**k))
            for k in range(1, 5)
        ]
    (actual,) = moments(record_alone(graph_of(alpha=ALPHA, S=S)), [], 4)
    # The exits are differences of the numbers of S, with their rounding.
    np.testing.assert_allclose(actual, expected, rtol=1e-13)


@pytest.mark.usefixtures("float64")
def test_density_is_that_of_the_matrix_exponential() -> None:
    program = replay.load_program(record_alone(graph_of(alpha=ALPHA, S=S)))
    times = [0.01, 0.5, 2.0, 10.0]
    expected = [ALPHA @ expm(S * t) @ EXITS for t in times]
    np.testing.assert_allclose(replay.pdf(program, np.zeros(0), times), expected, rtol=1e-11)


def test_a_scale_divides_the_time() -> None:
    plain, scaled = graph_of(alpha=ALPHA, S=S), graph_of(alpha=ALPHA, S=S, scaled=1)
    assert scaled.parameter_names == ("rate",)
    assert mean(scaled, [4.0]) == pytest.approx(mean(plain, []) / 4, rel=1e-14)


def test_what_alpha_lacks_to_one_is_the_probability_of_no_time() -> None:
    graph = graph_of(alpha="0.5,0.2")
    assert mean(graph, []) == pytest.approx(0.5 * (1 + 1 / 2) + 0.2 / 2, rel=1e-14)
    weight = dict(zip(graph.states[graph.start_target, 0], graph.start_weight, strict=True))
    assert weight == {1: 0.5, 2: 0.2, 3: pytest.approx(0.3)}


def test_a_row_that_sums_to_zero_but_for_rounding_has_no_exit() -> None:
    graph = graph_of(S="-0.3,0.1,0.2;0.1,-0.1,0;0,0,-1")
    assert ((1,), (4,)) not in edges_of(graph)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"S": "-1,1"}, "expected S to be a square matrix"),
        ({"S": ""}, "expected S to be a square matrix"),
        ({"S": "-1,-1;0,-2"}, "expected S to be negative on its diagonal and at least 0 beside"),
        ({"S": "-1,1;0,0"}, "expected S to be negative on its diagonal and at least 0 beside it"),
        ({"S": "-1,2;0,-2"}, "expected the rows of S to have sums of at most 0, one of them below"),
        ({"S": "-1,1;2,-2"}, "expected the rows of S to have sums of at most 0, one of them below"),
        ({"alpha": "0.5"}, "expected alpha to be 2 probabilities with a sum of at most 1"),
        ({"alpha": "0.5,0.6"}, "expected alpha to be 2 probabilities with a sum of at most 1"),
        ({"alpha": "-0.5,1"}, "expected alpha to be 2 probabilities with a sum of at most 1"),
    ],
)
def test_what_is_no_distribution_is_refused(settings: dict[str, str], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        graph_of(**settings)


def test_phases_that_never_end_are_refused() -> None:
    with pytest.raises(GraphError, match="absor"):
        graph_of(S="-2,1,0;0,-1,1;0,1,-1")
