"""The Erlang distribution against the gamma distribution."""

from math import factorial

import numpy as np
import pytest
from scipy import stats

from phasic_mpi.evaluate import moments
from phasic_mpi.models import build_model
from tests.recording import record_alone
from tests.unit.models.plain import assert_same_edges, density


def test_phases_follow_each_other() -> None:
    graph = build_model("erlang", phases=3)
    assert_same_edges(graph, {((1,), (2,)): (1.0,), ((2,), (3,)): (1.0,), ((3,), (4,)): (1.0,)})
    assert graph.parameter_names == ("rate",)


@pytest.mark.parametrize("phases", [1, 2, 7, 300])
def test_moments_are_rising_factorials(phases: int) -> None:
    rate = 2.5
    (actual,) = moments(record_alone(build_model("erlang", phases=phases)), [rate], 4)
    expected = [factorial(phases + k - 1) // factorial(phases - 1) / rate**k for k in range(1, 5)]
    np.testing.assert_allclose(actual, expected, rtol=1e-12)


def test_density_is_that_of_a_gamma_distribution() -> None:
    times = np.array([0.01, 0.5, 2.0, 10.0])
    actual = density(build_model("erlang", phases=7), [2.5], times)
    np.testing.assert_allclose(actual, stats.gamma.pdf(times, 7, scale=1 / 2.5), rtol=1e-11)
