"""SIR epidemics against a plain construction and the recursions of their final size."""

from collections.abc import Iterator
from fractions import Fraction
from itertools import product
from math import comb, prod

import numpy as np
import pytest

from phasic_mpi.evaluate import expected_visits
from phasic_mpi.graph import PhaseTypeGraph
from phasic_mpi.models import build_model
from phasic_mpi.models.sir import n_vertices
from tests.recording import record_alone
from tests.unit.models.plain import assert_same_edges, mean, plain_edges

EXACT = 1e-13


@pytest.mark.parametrize("waning", [0, 1])
@pytest.mark.parametrize("separate", [0, 1])
@pytest.mark.parametrize(
    ("sizes", "infected", "contact"),
    [
        ([6], [1], [[1.0]]),
        ([1], [1], [[1.0]]),
        ([3, 3], [1, 0], [[1.0, 1.0], [1.0, 1.0]]),
        ([4, 3], [2, 1], [[0.25, 0.5], [1.5, 2.0]]),
        ([2, 2, 2], [1, 0, 1], np.arange(1.0, 10.0).reshape(3, 3).tolist()),
    ],
)
def test_edges_are_those_of_the_plain_construction(
    sizes: list[int], infected: list[int], contact: list[list[float]], separate: int, waning: int
) -> None:
    n_types = len(sizes)
    n_parameters = (n_types**2 + n_types if separate else 2) + waning

    def rule(state: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], list[float]]]:
        susceptible, ill = list(state[:n_types]), list(state[n_types:])
        if not any(ill):
            return
        for i in range(n_types):
            infection, recovery, loss = ([0.0] * n_parameters for _ in range(3))
            for j in range(n_types):
                rate = contact[i][j] * susceptible[i] * ill[j] / sum(sizes)
                infection[i * n_types + j if separate else 0] += rate
            recovery[n_types**2 + i if separate else 1] = ill[i]
            here = [int(k == i) for k in range(n_types)]
            fewer = [s - h for s, h in zip(susceptible, here, strict=True)]
            more = [k + h for k, h in zip(ill, here, strict=True)]
            yield (*fewer, *more), infection
            yield (*susceptible, *(k - h for k, h in zip(ill, here, strict=True))), recovery
            if waning:
                loss[-1] = sizes[i] - susceptible[i] - ill[i]
                yield (*(s + h for s, h in zip(susceptible, here, strict=True)), *ill), loss

    settings = {"sizes": sizes, "infected": infected, "contact": contact}
    graph = build_model("sir", **settings, separate=separate, waning=waning)
    first = tuple(n - k for n, k in zip(sizes, infected, strict=True))
    assert_same_edges(graph, plain_edges([(*first, *infected)], rule))
    assert graph.states[graph.start_target].tolist() == [[*first, *infected]]
    assert graph.n_parameters == n_parameters
    rows = {name: np.atleast_2d(value) for name, value in settings.items()}
    assert graph.n_vertices == n_vertices(**rows, waning=waning)


def final_sizes(
    susceptible: tuple[int, ...],
    infected: tuple[int, ...],
    infection: list[list[Fraction]],
    recovery: list[Fraction],
) -> dict[tuple[int, ...], Fraction]:
    """Probabilities of the numbers of each type that are infected in the end, the first left out.

    Ball (1986), A unified approach to the distribution of total size and total area under the
    trajectory of infectives in epidemic models, Advances in Applied Probability 18: for each j,
    ``sum over k <= j of binom(n - k, j - k) P_k / prod_i phi_i^(k_i + m_i) = binom(n, j)`` where
    ``phi_i = recovery_i / (recovery_i + sum_l (n_l - j_l) infection_li / N)``.
    """
    types = range(len(susceptible))
    total = sum(susceptible) + sum(infected)
    out: dict[tuple[int, ...], Fraction] = {}
    for j in product(*(range(n + 1) for n in susceptible)):
        pressure = [
            sum((susceptible[m] - j[m]) * infection[m][i] for m in types) / total for i in types
        ]
        phi = [r / (r + p) for r, p in zip(recovery, pressure, strict=True)]

        def term(k: tuple[int, ...], j: tuple[int, ...] = j, phi: list[Fraction] = phi) -> Fraction:
            ways = prod(comb(susceptible[i] - k[i], j[i] - k[i]) for i in types)
            return ways / prod(phi[i] ** (k[i] + infected[i]) for i in types)

        smaller = product(*(range(n + 1) for n in j))
        known = sum((term(k) * out[k] for k in smaller if k != j), Fraction(0))
        ways = prod(comb(n, m) for n, m in zip(susceptible, j, strict=True))
        out[j] = (ways - known) / term(j)
    return out


def absorbed(graph: PhaseTypeGraph, theta: list[float]) -> dict[tuple[int, ...], float]:
    """Probability of ending with each number of susceptible, from expected times in all states."""
    visits = expected_visits(record_alone(graph), theta)
    rates = graph.param_coefficient @ np.array(theta) * visits[graph.param_source]
    inflow = np.bincount(graph.param_target, rates, minlength=graph.n_vertices)
    left = np.bincount(graph.param_source, minlength=graph.n_vertices) > 0
    return {
        tuple(graph.states[vertex, : graph.state_length // 2].tolist()): float(inflow[vertex])
        for vertex in np.flatnonzero(~left)[1:]
    }


@pytest.mark.parametrize(("size", "first"), [(1, 1), (2, 1), (9, 1), (9, 4), (20, 2)])
def test_final_size_of_one_type_is_that_of_the_recursion(size: int, first: int) -> None:
    theta = [1.5, 0.75]
    infection, recovery = map(Fraction, theta)
    expected = final_sizes((size - first,), (first,), [[infection]], [recovery])
    graph = build_model("sir", sizes=size, infected=first)
    actual = absorbed(graph, theta)
    assert len(actual) == len(expected)
    for (ill,), probability in expected.items():
        assert actual[(size - first - ill,)] == pytest.approx(float(probability), rel=EXACT)
    ever = float(sum((first + ill) * p for (ill,), p in expected.items()))
    assert 0.75 * mean(graph, theta, "infected") == pytest.approx(ever, rel=EXACT)


def test_final_sizes_of_two_types_are_those_of_the_recursion() -> None:
    theta = [1.5, 0.25, 0.75, 2.0, 0.75, 1.25]
    infection = [[Fraction(theta[2 * i + j]) for j in range(2)] for i in range(2)]
    recovery = [Fraction(rate) for rate in theta[4:]]
    expected = final_sizes((4, 3), (1, 2), infection, recovery)
    graph = build_model("sir", sizes="5,5", infected="1,2", separate=1)
    actual = absorbed(graph, theta)
    assert len(actual) == len(expected)
    for (first, second), probability in expected.items():
        assert actual[4 - first, 3 - second] == pytest.approx(float(probability), rel=EXACT)
    for i, name in enumerate(("infected_1", "infected_2")):
        ever = float(sum(((1, 2)[i] + ill[i]) * p for ill, p in expected.items()))
        assert theta[4 + i] * mean(graph, theta, name) == pytest.approx(ever, rel=EXACT)
    assert mean(graph, theta, "infected") == pytest.approx(
        mean(graph, theta, "infected_1") + mean(graph, theta, "infected_2"), rel=EXACT
    )


def test_immunity_that_wanes_at_once_leaves_an_sis_epidemic() -> None:
    """To first order in ``1 / waning``: each immune individual comes back after that time."""
    sis = mean(build_model("sis", sizes="4,3"), [1.5, 1.0])
    sirs = build_model("sir", sizes="4,3", waning=1)
    far, near = (abs(mean(sirs, [1.5, 1.0, waning]) / sis - 1) for waning in (1e4, 1e6))
    assert near == pytest.approx(far / 100, rel=0.01)
    assert near < 1e-5


def test_susceptible_are_counted() -> None:
    """Of two, one infected: one is susceptible until the first event, at rate 1/2 + 2."""
    graph = build_model("sir", sizes=2)
    assert mean(graph, [1.0, 2.0], "susceptible") == pytest.approx(1 / 2.5, rel=EXACT)
    assert graph.reward_names == ("susceptible", "infected")
