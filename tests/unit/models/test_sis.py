"""SIS epidemics against a plain construction and the time to extinction of birth-death chains."""

from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import pytest

from phasic_mpi.errors import ConfigError
from phasic_mpi.models import build_model
from tests.unit.models.plain import assert_same_edges, mean, passages, plain_edges

EXACT = 1e-13
CONTACT = [[1.0, 0.5], [0.0, 2.0]]


@pytest.mark.parametrize("separate", [0, 1])
@pytest.mark.parametrize(
    ("sizes", "infected", "contact"),
    [
        ([7], [1], [[1.0]]),
        ([3, 4], [1, 1], [[1.0, 1.0], [1.0, 1.0]]),
        ([4, 3], [0, 2], CONTACT),
        ([5, 0], [2, 0], CONTACT),
        ([2, 2, 2], [1, 0, 1], np.arange(1.0, 10.0).reshape(3, 3).tolist()),
    ],
)
def test_edges_are_those_of_the_plain_construction(
    sizes: list[int], infected: list[int], contact: list[list[float]], separate: int
) -> None:
    types = range(len(sizes))
    pairs = [(i, j) for i in types for j in types if contact[i][j]]
    n_parameters = len(pairs) + len(sizes) if separate else 2

    def rule(state: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], list[float]]]:
        for i in types:
            infection, recovery = [0.0] * n_parameters, [0.0] * n_parameters
            for number, pair in enumerate(pairs):
                if pair[0] == i:
                    met = contact[i][pair[1]] * (sizes[i] - state[i]) * state[pair[1]]
                    infection[number if separate else 0] += met / sum(sizes)
            recovery[len(pairs) + i if separate else 1] = state[i]
            yield tuple(k + (j == i) for j, k in enumerate(state)), infection
            yield tuple(k - (j == i) for j, k in enumerate(state)), recovery

    graph = build_model("sis", sizes=sizes, infected=infected, contact=contact, separate=separate)
    assert_same_edges(graph, plain_edges([tuple(infected)], rule))
    assert graph.states[graph.start_target].tolist() == [infected]
    assert graph.n_parameters == n_parameters


@pytest.mark.parametrize(("size", "first"), [(1, 1), (6, 1), (6, 6), (20, 3)])
def test_time_to_extinction_and_rewards_are_those_of_the_logistic_process(
    size: int, first: int
) -> None:
    """Norden (1982): a birth-death chain, here counted by the susceptible, on its way to ``size``.

    The contact rate stands in the parameter in one graph and in the setting in the other.
    """
    infection, recovery = Fraction(3, 2), Fraction(1)
    susceptible = range(size)
    up = [recovery * (size - s) for s in susceptible]
    down = [infection * s * (size - s) / size for s in susceptible]
    for settings, theta in (({}, [1.5, 1.0]), ({"contact": "1.5"}, [1.0, 1.0])):
        graph = build_model("sis", sizes=size, infected=first, **settings)
        for name, reward in {
            None: [1] * size,
            "susceptible": list(susceptible),
            "infected": [size - s for s in susceptible],
        }.items():
            expected = float(sum(passages(up, down, reward)[size - first :]))
            assert mean(graph, theta, name) == pytest.approx(expected, rel=EXACT)


def test_types_that_do_not_differ_are_one() -> None:
    two = build_model("sis", sizes=[6, 4], infected=[1, 2])
    one = build_model("sis", sizes=10, infected=3)
    for name in (None, "infected", "susceptible"):
        assert mean(two, [1.5, 1.0], name) == pytest.approx(mean(one, [1.5, 1.0], name), rel=EXACT)


def test_separate_parameters_that_are_equal_are_one() -> None:
    settings = {"sizes": "5,4", "infected": "1,0", "contact": "1,2;0.5,1"}
    apart = build_model("sis", **settings, separate=1)
    assert apart.parameter_names == (
        "infection_1_1",
        "infection_1_2",
        "infection_2_1",
        "infection_2_2",
        "recovery_1",
        "recovery_2",
    )
    expected = mean(build_model("sis", **settings), [1.5, 1.0])
    assert mean(apart, [1.5] * 4 + [1.0] * 2) == pytest.approx(expected, rel=EXACT)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"sizes": "0"}, "expected sizes to be numbers of individuals, 1..2147483647 in all"),
        ({"sizes": "3,-1"}, "expected sizes to be numbers of individuals"),
        ({"sizes": "2.5"}, "expected sizes to be numbers of individuals"),
        ({"sizes": "3;3"}, "expected sizes to be numbers of individuals"),
        ({"sizes": ""}, "expected sizes to be numbers of individuals"),
        ({"sizes": "3,3", "infected": "1"}, "expected infected to be 2 numbers of individuals"),
        ({"sizes": "3,3", "infected": "0,0"}, "at least 1 in all"),
        ({"sizes": "3,3", "infected": "1,4"}, "expected no more infected of a type than there"),
        ({"sizes": "3,3", "contact": "1,2"}, "expected contact to be a matrix of 2 x 2 rates"),
        ({"sizes": "3", "contact": "-1"}, "expected contact to be a matrix of 1 x 1 rates"),
        ({"sizes": "9e9"}, "expected at most 2147483647 vertices, got 9e.09"),
        ({"sizes": ",".join(["9"] * 999)}, "expected at most 2147483647 vertices"),
    ],
)
@pytest.mark.parametrize("model", ["sis", "sir"])
def test_settings_that_do_not_fit_together_are_refused(
    model: str, settings: dict[str, str], expected: str
) -> None:
    with pytest.raises(ConfigError, match=expected.replace("9e.09", "[0-9.]+e.[0-9]+")):
        build_model(model, **settings)
