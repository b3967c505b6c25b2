"""Recording and replay, from graph to numbers, against answers that owe nothing to this package."""

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from phasic_mpi.evaluate import expected_rewards, expected_visits, moments
from phasic_mpi.graph import PhaseTypeGraph
from phasic_mpi.models import build_model
from tests import reference
from tests.graphs import chain_of_sccs, random_scc
from tests.recording import record_alone

PHASIC = Path(__file__).parent / "data" / "phasic"

# Every component is promised to a few n * eps; these graphs have up to 6,600 vertices, and what
# was measured is 6e-15 at most.
STIFF = 1e-13

# What was measured is 2e-15 at most, with up to 123 vertices and four solves.
SMALL = 1e-14


def assert_exact(graph: PhaseTypeGraph, theta: list[float]) -> None:
    exact = reference.exact_moments(graph, theta, 4)
    actual = moments(record_alone(graph), theta, 4)[0].tolist()
    errors = [abs(Fraction(a) / e - 1) for a, e in zip(actual, exact, strict=True)]
    assert max(errors) < SMALL


@pytest.mark.parametrize("n", range(2, 41))
def test_the_mean_of_kingmans_coalescent_is_the_closed_form(n: int) -> None:
    ((mean,),) = moments(record_alone(build_model("kingman", n=n)), [1.0], 1)
    assert mean == pytest.approx(2 * (1 - 1 / n), rel=1e-14)


@pytest.mark.parametrize(("islands", "n"), [(2, 2), (2, 9), (3, 6), (4, 5)])
def test_moments_of_structured_coalescents_are_exact(islands: int, n: int) -> None:
    graph = build_model("structured-coalescent", n=n, islands=islands)
    assert_exact(graph, [1.0, 0.5])
    assert_exact(graph, [0.3, 7.1])


@pytest.mark.parametrize("capacity", [1, 2, 5, 9])
def test_moments_of_tandem_queues_are_exact(capacity: int) -> None:
    graph = build_model("tandem-queue", capacity=capacity)
    assert_exact(graph, [0.9, 1.0, 1.1])


@pytest.mark.parametrize("seed", range(100))
def test_moments_of_random_strongly_connected_graphs_are_exact(seed: int) -> None:
    assert_exact(random_scc(3 + seed % 18, seed), [])


@pytest.mark.parametrize(
    ("name", "settings", "theta"),
    [
        ("structured-coalescent", {"n": 40, "islands": 2}, [1.0, 0.5]),
        ("structured-coalescent", {"n": 30, "islands": 3}, [1.0, 0.5]),
        ("structured-coalescent", {"n": 16, "islands": 4}, [1.0, 0.5]),
        ("tandem-queue", {"capacity": 50}, [1.2, 1.0, 1.1]),
    ],
)
def test_moments_of_large_graphs_agree_with_sparse_lu(
    name: str, settings: dict[str, int], theta: list[float]
) -> None:
    graph = build_model(name, **settings)
    actual = moments(record_alone(graph), theta, 4)[0]
    # The error is LU's. Its bound of eps times the condition number, 4e6 at most, is 1e-9, which is
    # never reached: what was measured is 2e-13.
    np.testing.assert_allclose(actual, reference.lu_moments(graph, theta, 4), rtol=1e-11)


@pytest.mark.parametrize(
    ("graph", "theta"),
    [
        pytest.param(chain_of_sccs(50, 40, 1, rates=(-6, 6)), [], id="chain_50x40"),
        pytest.param(random_scc(300, 2, rates=(-6, 6)), [], id="random_300"),
        *(
            pytest.param(
                build_model("structured-coalescent", n=12, islands=3),
                theta,
                id=f"coalescent {theta}",
            )
            for theta in ([1e6, 1e-6], [1e-6, 1e6])
        ),
        pytest.param(build_model("tandem-queue", capacity=80), [0.5, 1.0, 1.0], id="tandem_80"),
    ],
)
def test_every_component_of_stiff_graphs_has_thirteen_digits(
    graph: PhaseTypeGraph, theta: list[float]
) -> None:
    times, visits, mean = reference.expected_times(graph, theta)
    trace = record_alone(graph)
    rewards = expected_rewards(trace, theta)
    assert abs(float(rewards[0] / mean - 1)) < STIFF
    # The reference has no start: its edges are probabilities, and it is left at once.
    rewards[0] = 0.0
    assert reference.largest_relative_error(rewards, times) < STIFF
    assert reference.largest_relative_error(expected_visits(trace, theta), visits) < STIFF


def test_the_stable_tandem_queue_overflows_after_a_septillion() -> None:
    """KLU, SuperLU, UMFPACK and PARDISO return 100 % error here; see benchmarks/accuracy.py."""
    trace = record_alone(build_model("tandem-queue", capacity=80))
    ((mean,),) = moments(trace, [0.5, 1.0, 1.0], 1)
    assert 1e24 < mean < 1e25


CASES = json.loads((PHASIC / "expected.json").read_text())


@pytest.mark.parametrize("name", sorted(CASES))
def test_graphs_written_by_phasic_have_the_moments_phasic_gives(name: str) -> None:
    case = CASES[name]
    graph = PhaseTypeGraph.from_serialized(json.loads((PHASIC / f"{name}.json").read_text()))
    actual = moments(record_alone(graph), case["theta"], len(case["moments"]))[0]
    np.testing.assert_allclose(actual, case["moments"], rtol=1e-9)
