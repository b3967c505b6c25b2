"""Bundled models against formulas and plain constructions."""

from itertools import product
from math import comb
from pkgutil import iter_modules

import numpy as np
import pytest

from phasic_mpi import models
from phasic_mpi.errors import ConfigError
from phasic_mpi.graph import PhaseTypeGraph
from phasic_mpi.models import MODELS, build_model
from phasic_mpi.models.settings import Choice, Number

Rates = dict[tuple[object, object], tuple[float, ...]]


def rates_by_state(graph: PhaseTypeGraph) -> Rates:
    """Coefficients of each edge, by the states it joins; absorbing ones go by the name 'end'."""
    left = set(graph.param_source.tolist())
    names: list[object] = [
        tuple(state) if vertex in left else "end"
        for vertex, state in enumerate(graph.states.tolist())
    ]
    rates: Rates = {}
    for source, target, row in zip(
        graph.param_source, graph.param_target, graph.param_coefficient.tolist(), strict=True
    ):
        edge = (names[source], names[target])
        before = rates.get(edge, (0.0,) * len(row))
        rates[edge] = tuple(a + b for a, b in zip(before, row, strict=True))
    return rates


def exit_rates(graph: PhaseTypeGraph, theta: list[float]) -> np.ndarray:
    weight = graph.param_coefficient @ np.array(theta)
    return np.bincount(graph.param_source, weight, minlength=graph.n_vertices)


def test_kingman_lineages_coalesce_in_pairs() -> None:
    graph = build_model("kingman", n=6)
    assert graph.states[1:, 0].tolist() == [6, 5, 4, 3, 2, 1]
    assert graph.param_coefficient[:, 0].tolist() == [15, 10, 6, 3, 1]
    assert graph.param_source.tolist() == [1, 2, 3, 4, 5]
    assert graph.param_target.tolist() == [2, 3, 4, 5, 6]


def test_kingman_rates_of_a_large_sample_do_not_overflow() -> None:
    graph = build_model("kingman", n=70_000)
    assert graph.param_coefficient[0, 0] == 70_000 * 69_999 / 2


@pytest.mark.parametrize(("n", "islands"), [(2, 1), (9, 1), (2, 2), (6, 3), (5, 5), (2, 45)])
def test_structured_coalescent_has_the_states_that_the_formula_counts(n: int, islands: int) -> None:
    graph = build_model("structured-coalescent", n=n, islands=islands)
    n_states = sum(comb(total + islands - 1, islands - 1) for total in range(1, n + 1))
    assert graph.n_vertices == n_states + 1
    assert len(np.unique(graph.states[1:], axis=0)) == n_states
    totals = graph.states[1:].sum(axis=1)
    assert totals.max() == n
    assert totals.min() == 1


@pytest.mark.parametrize(("n", "islands"), [(2, 1), (9, 1), (7, 3), (4, 6)])
def test_structured_coalescent_exit_rates_follow_from_the_state(n: int, islands: int) -> None:
    coalescence, migration = 1.7, 0.3
    graph = build_model("structured-coalescent", n=n, islands=islands)
    k = graph.states.astype(float)
    expected = (k * (k - 1) / 2 * coalescence + k * (islands - 1) * migration).sum(axis=1)
    expected[k.sum(axis=1) == 1] = 0
    np.testing.assert_allclose(exit_rates(graph, [coalescence, migration]), expected, rtol=1e-14)


def test_structured_coalescent_equals_its_plain_construction() -> None:
    n, islands = 5, 3
    expected: Rates = {}
    for state in product(range(n + 1), repeat=islands):
        if not 2 <= sum(state) <= n:
            continue
        for i in range(islands):
            fewer = tuple(k - (j == i) for j, k in enumerate(state))
            if state[i] >= 2:
                target = "end" if sum(fewer) == 1 else fewer
                before = expected.get((state, target), (0.0, 0.0))[0]
                expected[state, target] = (before + state[i] * (state[i] - 1) / 2, 0.0)
            for j in range(islands):
                if j != i and state[i]:
                    moved = tuple(k + (m == j) for m, k in enumerate(fewer))
                    expected[state, moved] = (0.0, float(state[i]))
    graph = build_model("structured-coalescent", n=n, islands=islands)
    assert rates_by_state(graph) == expected
    assert graph.states[graph.start_target].tolist() == [[n, 0, 0]]


@pytest.mark.parametrize("name", MODELS)
def test_a_model_states_its_size_and_names_what_it_has(name: str) -> None:
    model = MODELS[name]
    settings = {setting.name: setting.default for setting in model.settings}
    process, graph = model.choose({}), model.graph({})
    if model.n_vertices is not None:
        read = {setting.name: setting.read(setting.default) for setting in model.settings}
        assert graph.n_vertices == model.n_vertices(**read)
    assert graph.parameter_names == tuple(parameter.name for parameter in process.parameters)
    assert graph.reward_names == tuple(reward.name for reward in process.rewards)
    assert graph.state_names == process.state_names
    assert len(process.theta()) == graph.n_parameters
    assert graph.equals(model.graph({key: str(value) for key, value in settings.items()}))


def test_models_are_those_of_the_modules_of_the_package() -> None:
    modules = {module.name for module in iter_modules(models.__path__)}
    shared = {"epidemic", "lineages", "model", "settings"}
    assert {model.name.replace("-", "_") for model in MODELS.values()} == modules - shared


@pytest.mark.parametrize(
    "value", [1, 0, -3, "1", "x", "", "3.0", "1_0", "٣", 3.0, True, None, 2**31, "9" * 30]
)
def test_a_setting_that_is_not_an_integer_in_its_range_is_refused(value: object) -> None:
    with pytest.raises(ConfigError) as caught:
        build_model("kingman", n=value)  # type: ignore[arg-type]
    assert f"setting 'n': expected an integer in 2..2147483647, got {value!r}" in str(caught.value)
    assert "python -m phasic_mpi model kingman --help" in caught.value.resolution


def test_integers_of_numpy_are_settings() -> None:
    assert build_model("kingman", n=np.int64(4)).n_vertices == 5  # type: ignore[arg-type]


def test_an_unknown_model_is_refused_with_the_names_of_all() -> None:
    with pytest.raises(ConfigError, match=r"expected one of .*kingman.*, got 'kingsman'"):
        build_model("kingsman")


def test_an_unknown_setting_is_refused_with_the_known_ones() -> None:
    with pytest.raises(
        ConfigError, match="settings among n, islands, sample, migration, separate, spectrum, got"
    ):
        build_model("structured-coalescent", m=3)


@pytest.mark.parametrize(
    ("name", "settings", "size"),
    [
        ("tandem-queue", {"capacity": 46_341}, "2.148e+09"),
        ("structured-coalescent", {"n": 2_000_000_000, "islands": 2_000_000_000}, "e+"),
        ("structured-coalescent", {"n": 1000, "islands": 5}, "8.459e+12"),
    ],
)
def test_a_graph_too_large_to_number_is_refused_before_it_is_built(
    name: str, settings: dict[str, int], size: str
) -> None:
    with pytest.raises(ConfigError, match="at most 2147483647 vertices") as caught:
        build_model(name, **settings)
    assert size in caught.value.problem


@pytest.mark.parametrize("given", [0, 1.0, "1", -0.1, np.inf, "nan", "half", None, True, [0.5]])
def test_a_number_is_between_its_bounds(given: object) -> None:
    number = Number("chance", 0.5, 0, 1, "probability")
    assert number.read("1e-300") == 1e-300
    assert number.read(np.float32(0.5)) == 0.5
    with pytest.raises(ValueError, match=r"^a number above 0 and below 1$"):
        number.read(given)


def test_a_choice_is_one_of_its_words() -> None:
    choice = Choice("kind", "old", ("old", "new"), "age")
    assert choice.read("new") == "new"
    for given in ("newer", "", 1, None, ["new"]):
        with pytest.raises(ValueError, match=r"^one of old, new$"):
            choice.read(given)
