"""The hyperexponential distribution against mixtures of exponential ones."""

from math import factorial

import numpy as np
import pytest

from phasic_mpi.errors import ConfigError
from phasic_mpi.evaluate import moments
from phasic_mpi.models import build_model
from tests.recording import record_alone
from tests.unit.models.plain import assert_same_edges, density

PROBABILITIES = np.array([0.5, 0.2, 0.3])
RATES = np.array([0.25, 1.0, 30.0])


def test_a_branch_is_drawn_and_left_at_its_rate() -> None:
    graph = build_model("hyperexponential", probabilities=PROBABILITIES)
    assert_same_edges(
        graph, {((1,), (4,)): (1, 0, 0), ((2,), (4,)): (0, 1, 0), ((3,), (4,)): (0, 0, 1)}
    )
    assert graph.states[graph.start_target, 0].tolist() == [1, 2, 3]
    np.testing.assert_array_equal(graph.start_weight, PROBABILITIES)


def test_moments_are_mixed() -> None:
    graph = build_model("hyperexponential", probabilities="0.5,0.2,0.3")
    (actual,) = moments(record_alone(graph), RATES, 4)
    expected = [factorial(k) * (PROBABILITIES / RATES**k).sum() for k in range(1, 5)]
    np.testing.assert_allclose(actual, expected, rtol=1e-14)


def test_density_is_mixed() -> None:
    times = np.array([0.01, 0.5, 2.0, 10.0])
    graph = build_model("hyperexponential", probabilities=PROBABILITIES)
    expected = (PROBABILITIES * RATES * np.exp(-np.outer(times, RATES))).sum(axis=1)
    np.testing.assert_allclose(density(graph, RATES.tolist(), times), expected, rtol=1e-11)


@pytest.mark.parametrize(
    ("probabilities", "expected"),
    [
        ("0.5,0.4", "expected probabilities to sum to 1, not 0.9"),
        ("1.5,-0.5", "expected probabilities to be positive numbers"),
        ("1,0", "expected probabilities to be positive numbers"),
        ("0.5;0.5", "expected probabilities to be positive numbers"),
        ("", "expected probabilities to be positive numbers"),
    ],
)
def test_what_is_no_distribution_is_refused(probabilities: str, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        build_model("hyperexponential", probabilities=probabilities)
