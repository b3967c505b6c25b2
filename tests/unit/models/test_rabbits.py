"""Rabbits on flooded islands against closed forms and a plain construction."""

from collections.abc import Iterator

import pytest

from phasic_mpi.models import build_model
from tests.unit.models.plain import (
    Rule,
    State,
    assert_same_edges,
    covariances,
    dense_moments,
    means,
    plain_edges,
)

THETA = [1.0, 2.0, 4.0]


def hopping(*, independent: bool) -> Rule:
    def rule(state: State) -> Iterator[tuple[State, list[float]]]:
        first, second = state
        if first:
            yield (first - 1, second + 1), [first if independent else 1, 0, 0]
            yield (0, second), [0, 1, 0]
        if second:
            yield (first + 1, second - 1), [second if independent else 1, 0, 0]
            yield (first, 0), [0, 0, 1]

    return rule


def life_of_one(jump: float, flood_1: float, flood_2: float) -> float:
    """Of a rabbit on the first island: L1 = (1 + jump L2) / (jump + flood_1), L2 likewise."""
    out_1, out_2 = jump + flood_1, jump + flood_2
    return (out_2 + jump) / (out_1 * out_2 - jump**2)


@pytest.mark.parametrize("independent", [0, 1])
@pytest.mark.parametrize("n", [1, 2, 5])
def test_it_equals_its_plain_construction(n: int, independent: int) -> None:
    rates = plain_edges([(n, 0)], hopping(independent=bool(independent)))
    graph = build_model("rabbits", n=n, independent=independent)
    assert_same_edges(graph, rates)
    first, second = dense_moments(rates, THETA, (n, 0), lambda state: 1.0)  # noqa: ARG005
    assert means(graph, THETA)[""] == pytest.approx(first, rel=1e-13)
    assert covariances(graph, THETA, "")[0, 0] == pytest.approx(second - first**2, rel=1e-12)


@pytest.mark.parametrize("theta", [THETA, [0.2, 5.0, 0.01]])
def test_one_rabbit_lives_as_long_as_the_formula_says(theta: list[float]) -> None:
    found = means(build_model("rabbits", n=1), theta)
    assert found[""] == pytest.approx(life_of_one(*theta), rel=1e-13)


def test_lives_of_independent_rabbits_add_up_to_as_many_times_that_of_one() -> None:
    graph = build_model("rabbits", n=60, independent=1)
    assert means(graph, THETA)["rabbits"] == pytest.approx(60 * life_of_one(*THETA), rel=1e-12)


def test_rabbits_that_never_jump_drown_in_the_first_flood() -> None:
    graph = build_model("rabbits", n=30)
    found = means(graph, [0.0, 2.0, 4.0])
    assert found[""] == pytest.approx(0.5, rel=1e-13)
    assert found["rabbits"] == pytest.approx(15.0, rel=1e-13)


@pytest.mark.parametrize("n", [1, 7, 40])
def test_all_ways_to_have_at_most_n_rabbits_are_states(n: int) -> None:
    graph = build_model("rabbits", n=n)
    expected = {(i, j) for i in range(n + 1) for j in range(n + 1 - i)}
    assert set(map(tuple, graph.states[1:].tolist())) == expected
