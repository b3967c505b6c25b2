"""The Coxian distribution against products of its probabilities and sums of exponentials."""

from math import prod

import numpy as np
import pytest

from phasic_mpi.models import build_model
from tests.unit.models.plain import assert_same_edges, density, mean

ONWARD = [1.5, 0.25, 3.0]
LEAVING = [0.5, 1.0, 0.125, 2.0]


def test_each_phase_goes_on_or_ends() -> None:
    graph = build_model("coxian", phases=2)
    assert graph.parameter_names == ("onward_1", "exit_1", "exit_2")
    assert_same_edges(
        graph, {((1,), (2,)): (1, 0, 0), ((1,), (3,)): (0, 1, 0), ((2,), (3,)): (0, 0, 1)}
    )


def test_mean_is_the_sum_over_the_phases_that_are_reached() -> None:
    totals = [a + b for a, b in zip([*ONWARD, 0.0], LEAVING, strict=True)]
    reached = [prod(a / t for a, t in zip(ONWARD[:i], totals, strict=False)) for i in range(4)]
    expected = sum(p / t for p, t in zip(reached, totals, strict=True))
    graph = build_model("coxian", phases=4)
    assert mean(graph, ONWARD + LEAVING) == pytest.approx(expected, rel=1e-14)


def test_one_phase_is_an_exponential_time() -> None:
    graph = build_model("coxian", phases=1)
    assert graph.parameter_names == ("exit_1",)
    assert mean(graph, [4.0]) == 0.25


def test_without_exits_it_is_a_sum_of_exponential_times() -> None:
    graph = build_model("coxian", phases=4)
    expected = sum(1 / rate for rate in (*ONWARD, 2.0))
    assert mean(graph, [*ONWARD, 0.0, 0.0, 0.0, 2.0]) == pytest.approx(expected, rel=1e-14)


def test_two_phases_have_a_density_of_two_exponentials() -> None:
    """With totals ``t_1`` and ``t_2``: exit in phase 1, or both phases one after the other."""
    onward, first, second = 1.5, 0.5, 3.0
    total = onward + first
    times = np.array([0.01, 0.5, 2.0, 10.0])
    both = (np.exp(-total * times) - np.exp(-second * times)) / (second - total)
    expected = first * np.exp(-total * times) + onward * second * both
    actual = density(build_model("coxian", phases=2), [onward, first, second], times)
    np.testing.assert_allclose(actual, expected, rtol=1e-12)
