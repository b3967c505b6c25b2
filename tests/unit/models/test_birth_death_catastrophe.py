"""Populations with catastrophes against a plain construction and exact fractions."""

from collections.abc import Iterator
from fractions import Fraction
from math import comb

import pytest

from phasic_mpi.errors import ConfigError
from phasic_mpi.models import build_model
from tests.unit.models.plain import assert_same_edges, mean, plain_edges

EXACT = 1e-13
THETA = [1.5, 0.75, 0.125]


def survivors(n: int, catastrophe: str, survival: Fraction) -> list[Fraction]:
    """Probabilities of 0 to ``n`` survivors."""
    if catastrophe == "total":
        return [Fraction(j == 0) for j in range(n + 1)]
    return [comb(n, j) * survival**j * (1 - survival) ** (n - j) for j in range(n + 1)]


@pytest.mark.parametrize("catastrophe", ["total", "binomial"])
@pytest.mark.parametrize("rates", ["linear", "constant"])
@pytest.mark.parametrize(("capacity", "initial"), [(1, 1), (5, 2), (12, 12)])
def test_edges_are_those_of_the_plain_construction(
    capacity: int, initial: int, rates: str, catastrophe: str
) -> None:
    def rule(state: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], tuple[float, ...]]]:
        (n,) = state
        if n == 0:
            return
        size = n if rates == "linear" else 1
        if n < capacity:
            yield (n + 1,), (size, 0, 0)
        yield (n - 1,), (0, size, 0)
        for j, probability in enumerate(survivors(n, catastrophe, Fraction(1, 4))[:-1]):
            yield (j,), (0, 0, float(probability))

    graph = build_model(
        "birth-death-catastrophe",
        capacity=capacity,
        initial=initial,
        rates=rates,
        catastrophe=catastrophe,
        survival=0.25,
    )
    # Binomial probabilities are exponentials of logarithms.
    assert_same_edges(graph, plain_edges([(initial,)], rule), rtol=1e-14)
    assert graph.states[graph.start_target].tolist() == [[initial]]
    assert graph.n_vertices == capacity + 2


@pytest.mark.parametrize("rates", ["linear", "constant"])
def test_a_total_catastrophe_cuts_short_the_time_that_birth_and_death_take(rates: str) -> None:
    """``E[min(T, C)] = (1 - E[exp(-c T)]) / c`` for a time C of rate c.

    T is a sum of passages from n to n - 1, whose Laplace transforms are the continued fraction
    ``f_n = death_n / (birth_n + death_n + c - birth_n f_(n+1))``.
    """
    birth, death, c = map(Fraction, THETA)
    capacity, initial = 15, 4
    transform, f = Fraction(1), Fraction(0)
    for n in range(capacity, 0, -1):
        size = n if rates == "linear" else 1
        up = size * birth if n < capacity else Fraction(0)
        f = size * death / (up + size * death + c - up * f)
        if n <= initial:
            transform *= f
    expected = float((1 - transform) / c)
    graph = build_model("birth-death-catastrophe", capacity=capacity, initial=initial, rates=rates)
    assert mean(graph, THETA) == pytest.approx(expected, rel=EXACT)


def test_expected_rewards_under_binomial_catastrophes_solve_their_equations_exactly() -> None:
    birth, death, c = map(Fraction, THETA)
    capacity, initial, survival = 9, 3, Fraction(1, 4)
    rates: list[dict[int, Fraction]] = [{}]
    for n in range(1, capacity + 1):
        row = {j: c * p for j, p in enumerate(survivors(n, "binomial", survival)[:-1])}
        row[n - 1] += n * death
        rates.append(row | ({n + 1: n * birth} if n < capacity else {}))
    graph = build_model(
        "birth-death-catastrophe",
        capacity=capacity,
        initial=initial,
        catastrophe="binomial",
        survival=0.25,
    )
    for name, reward in (None, [1] * (capacity + 1)), ("population", list(range(capacity + 1))):
        expected = float(solve(rates, reward)[initial])
        assert mean(graph, THETA, name) == pytest.approx(expected, rel=EXACT)


def solve(rates: list[dict[int, Fraction]], reward: list[int]) -> list[Fraction]:
    """Expected rewards until state 0 where nothing leads further up than to the next state.

    The equation of each state gives the solution at the next one as ``a + b h_1``; that of the last
    then gives ``h_1``.
    """
    a, b = [Fraction(0), Fraction(0)], [Fraction(0), Fraction(1)]
    for n in range(1, len(rates)):
        total, up = sum(rates[n].values()), rates[n].get(n + 1, Fraction(1))
        lower = [(j, rate) for j, rate in rates[n].items() if j < n]
        a.append((total * a[n] - reward[n] - sum(rate * a[j] for j, rate in lower)) / up)
        b.append((total * b[n] - sum(rate * b[j] for j, rate in lower)) / up)
    first = -a.pop() / b.pop()
    return [x + y * first for x, y in zip(a, b, strict=True)]


def test_more_individuals_than_the_capacity_are_refused() -> None:
    with pytest.raises(ConfigError, match="expected initial of at most the capacity"):
        build_model("birth-death-catastrophe", capacity=3, initial=4)


def test_a_word_that_is_no_choice_is_refused() -> None:
    with pytest.raises(ConfigError, match="setting 'rates': expected one of linear, constant, got"):
        build_model("birth-death-catastrophe", rates="quadratic")
