"""The Beta coalescent against exact fractions, mpmath, known rates and labelled blocks."""

from collections.abc import Iterator
from fractions import Fraction
from itertools import combinations
from math import comb

import mpmath
import numpy as np
import pytest

from phasic_mpi.models import build_model, find_model
from phasic_mpi.models.beta_coalescent import merger_rates
from tests.unit.models.plain import State, assert_same_edges, covariances, means, plain_edges


def rate_of_set(b: int, k: int, alpha: Fraction) -> Fraction:
    """B(k - alpha, b - k + alpha) / B(2 - alpha, alpha) by Gamma(x + 1) = x Gamma(x)."""
    rate = Fraction(1)
    for j in range(k - 2):
        rate *= 2 - alpha + j
    for j in range(b - k):
        rate *= alpha + j
    for j in range(2, b):
        rate /= j
    return rate


def exact_moments(n: int, alpha: Fraction) -> tuple[Fraction, Fraction, Fraction]:
    """Mean time, mean length of all branches and second moment of the time, by recursion."""
    zero = Fraction(0)
    time, length, square = {1: zero}, {1: zero}, {1: zero}
    for b in range(2, n + 1):
        rates = {k: comb(b, k) * rate_of_set(b, k, alpha) for k in range(2, b + 1)}
        total = sum(rates.values())
        then = {k: b - k + 1 for k in rates}
        time[b] = (1 + sum(rates[k] * time[then[k]] for k in rates)) / total
        length[b] = (b + sum(rates[k] * length[then[k]] for k in rates)) / total
        square[b] = (2 * time[b] + sum(rates[k] * square[then[k]] for k in rates)) / total
    return time[n], length[n], square[n]


@pytest.mark.parametrize("alpha", [0.05, 0.5, 1.0, 1.5, 1.99])
@pytest.mark.parametrize("b", [2, 3, 40, 1500])
def test_rates_of_mergers_have_all_their_digits(b: int, alpha: float) -> None:
    found = {k: rate[0] for k, _, rate in merger_rates(np.array([b]), alpha)}
    assert list(found) == list(range(2, b + 1))
    with mpmath.workdps(40):
        for k in {2, 3, b // 2, b - 1, b} & found.keys():
            exact = mpmath.binomial(b, k) * mpmath.beta(k - mpmath.mpf(alpha), b - k + alpha)
            exact /= mpmath.beta(2 - mpmath.mpf(alpha), alpha)
            assert abs(found[k] / exact - 1) < 1e-13


def test_lineages_of_bolthausen_and_sznitman_merge_at_rate_b_over_k_times_k_less_1() -> None:
    graph = build_model("beta-coalescent", n=50, alpha=1)
    b = graph.states[graph.param_source, 0]
    k = b - graph.states[graph.param_target, 0] + 1
    assert graph.n_edges == 50 * 49 // 2
    np.testing.assert_allclose(graph.param_coefficient[:, 0], b / (k * (k - 1)), rtol=1e-13)


@pytest.mark.parametrize("spectrum", [0, 1])
@pytest.mark.parametrize("alpha", [Fraction(1, 2), Fraction(1), Fraction(3, 2)])
@pytest.mark.parametrize("n", [2, 3, 9])
def test_times_and_lengths_are_those_of_exact_recursions(
    n: int, alpha: Fraction, spectrum: int
) -> None:
    graph = build_model("beta-coalescent", n=n, alpha=float(alpha), spectrum=spectrum)
    time, length, square = exact_moments(n, alpha)
    found = means(graph, [1.0])
    assert found[""] == pytest.approx(float(time), rel=1e-13)
    assert found["branch_length"] == pytest.approx(float(length), rel=1e-13)
    variance = covariances(graph, [1.0], "")[0, 0]
    assert variance == pytest.approx(float(square - time**2), rel=1e-12)


@pytest.mark.parametrize("alpha", [0.7, 1.0, 1.6])
def test_the_spectrum_equals_that_of_blocks_of_labelled_samples(alpha: float) -> None:
    n = 6
    rate_of = {
        (n_blocks, k): float(rate_of_set(n_blocks, k, Fraction(alpha)))
        for n_blocks in range(2, n + 1)
        for k in range(2, n_blocks + 1)
    }

    def rule(state: State) -> Iterator[tuple[State, list[float]]]:
        blocks = [i + 1 for i, count in enumerate(state) for _ in range(count)]
        for k in range(2, len(blocks) + 1):
            for chosen in combinations(range(len(blocks)), k):
                left = [size for i, size in enumerate(blocks) if i not in chosen]
                left.append(n - sum(left))
                target = tuple(left.count(size) for size in range(1, n + 1))
                yield target, [rate_of[len(blocks), k]]

    graph = build_model("beta-coalescent", n=n, alpha=alpha, spectrum=1)
    assert_same_edges(graph, plain_edges([(n,) + (0,) * (n - 1)], rule), rtol=1e-13)


def test_it_goes_to_kingmans_coalescent_as_alpha_goes_to_2() -> None:
    n = 12
    found = means(build_model("beta-coalescent", n=n, alpha=2 - 1e-9, spectrum=1), [1.0])
    kingman = means(build_model("kingman-spectrum", n=n), [1.0])
    assert found == pytest.approx(kingman, rel=1e-7)


@pytest.mark.parametrize(("n", "spectrum"), [(2, 0), (31, 0), (2, 1), (14, 1)])
def test_it_has_the_states_that_the_formula_counts(n: int, spectrum: int) -> None:
    counted = find_model("beta-coalescent").n_vertices(n=n, alpha=1.5, spectrum=spectrum)
    assert build_model("beta-coalescent", n=n, spectrum=spectrum).n_vertices == counted
