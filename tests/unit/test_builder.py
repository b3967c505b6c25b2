"""Graphs built from rules, against explorations by plain dictionaries."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from phasic_mpi import _core, build_graph
from phasic_mpi.errors import ConfigError, GraphError
from phasic_mpi.graph import PhaseTypeGraph

State = tuple[int, ...]
Moves = Callable[[State], list[tuple[State, list[float]]]]


def explore(initial: State, moves: Moves) -> dict[State, dict[State, list[float]]]:
    """Breadth first, one state at a time: rates by source and target."""
    rates: dict[State, dict[State, list[float]]] = {}
    waiting = [initial]
    while waiting:
        state = waiting.pop(0)
        if state in rates:
            continue
        found: dict[State, list[float]] = defaultdict(lambda: [0.0, 0.0])
        for target, rate in moves(state):
            found[target] = [a + b for a, b in zip(found[target], rate, strict=True)]
        rates[state] = dict(found)
        waiting += found
    return rates


def rates_of(graph: PhaseTypeGraph) -> dict[State, dict[State, list[float]]]:
    states = [tuple(state) for state in graph.states.tolist()]
    rates: dict[State, dict[State, list[float]]] = {state: {} for state in states[1:]}
    for source, target, row in zip(
        graph.param_source, graph.param_target, graph.param_coefficient.tolist(), strict=True
    ):
        assert states[target] not in rates[states[source]], "a parallel edge"
        rates[states[source]][states[target]] = row
    return rates


def walk(state: State) -> list[tuple[State, list[float]]]:
    """On a torus of 7 x 5 with a drop from one column, by two ways of which one is parallel."""
    x, y = state
    if y < 0:
        return []
    moves = [(((x + 1) % 7, y), [1.0, 0.0]), ((x, (y + 1) % 5), [0.0, 2.0])]
    if x == 3:
        moves += [((x, -1), [0.5, 0.0]), ((x, -1), [0.25, 1.0])]
    return moves


def walk_many(states: NDArray[np.int32]) -> Iterator[tuple[Any, Any, Any]]:
    x, y = states.T
    rows, inside, drops = np.arange(len(states)), y >= 0, (x == 3) & (y >= 0)
    yield rows, np.stack([x, (y + 1) % 5], axis=1), np.outer(inside, [0.0, 2.0])
    yield rows, np.stack([(x + 1) % 7, y], axis=1), np.outer(inside, [1.0, 0.0])
    for rate in ([0.5, 0.0], [0.25, 1.0]):
        yield rows, np.stack([x, np.full_like(y, -1)], axis=1), np.outer(drops, rate)


def test_a_rule_for_many_states_gives_the_graph_of_a_plain_exploration() -> None:
    graph = build_graph([0, 0], walk_many, parameters=("a", "b"), state_names=("x", "y"))
    assert rates_of(graph) == explore((0, 0), walk)
    assert graph.parameter_names == ("a", "b")
    assert graph.state_names == ("x", "y")
    assert graph.states[graph.start_target].tolist() == [[0, 0]]
    assert graph.start_weight.tolist() == [1.0]


def test_a_rule_for_one_state_gives_the_same_graph() -> None:
    graph = build_graph([0, 0], walk, parameters=("a", "b"), per_state=True)
    assert rates_of(graph) == explore((0, 0), walk)


def test_states_are_numbered_breadth_first_and_edges_sorted() -> None:
    graph = build_graph([0, 0], walk_many, parameters=2)
    distance = np.full(graph.n_vertices, -1)
    distance[1] = 0
    for source, target in zip(graph.param_source, graph.param_target, strict=True):
        if distance[target] < 0:
            distance[target] = distance[source] + 1
    assert (np.diff(distance[1:]) >= 0).all()
    key = graph.param_source.astype(np.int64) * graph.n_vertices + graph.param_target
    assert (np.diff(key) > 0).all()


def test_the_same_rule_gives_the_same_graph_twice() -> None:
    first, second = (build_graph([0, 0], walk_many, parameters=2) for _ in range(2))
    assert first.equals(second)


def grid(states: NDArray[np.int32]) -> Iterator[tuple[Any, Any, Any]]:
    rows, unit = np.arange(len(states)), np.eye(3, dtype=np.int32)
    for axis in range(3):
        yield rows, states - unit[axis], states[:, axis].astype(float)


def test_a_layer_of_more_states_than_a_step_is_explored_whole() -> None:
    graph = build_graph([80, 80, 80], grid)
    assert graph.n_vertices == 81**3 + 1
    assert graph.n_edges == 3 * 80 * 81**2
    place = graph.states[graph.edge_source] - graph.states[graph.edge_target]
    assert (place.sum(axis=1) == 1).all()
    assert (place.max(axis=1) == 1).all()
    assert (graph.edge_weight == graph.states[graph.edge_source][place == 1]).all()


def test_absorbing_states_are_not_left_and_the_rule_is_not_asked_about_them() -> None:
    seen = []

    def birth(states: NDArray[np.int32]) -> tuple[Any, Any, Any]:
        seen.extend(states[:, 0].tolist())
        return np.arange(len(states)), states + 1, np.ones((len(states), 1))

    graph = build_graph([0], birth, parameters=1, absorbing=lambda states: states[:, 0] == 5)
    assert seen == [0, 1, 2, 3, 4]
    assert graph.states[:, 0].tolist() == [0, 0, 1, 2, 3, 4, 5]
    assert graph.param_source.tolist() == [1, 2, 3, 4, 5]


def test_absorbing_states_among_others_leave_these_their_transitions() -> None:
    def within(x: NDArray[np.int32], y: NDArray[np.int32]) -> NDArray[np.bool_]:
        return (x < 5) & (y < 4) & ((x + y) % 3 < 2)

    def step(states: NDArray[np.int32]) -> Iterator[tuple[Any, Any, Any]]:
        rows = np.arange(len(states))
        for k in range(2):
            yield rows, states + np.eye(2, dtype=np.int32)[k], np.outer(1 + states[:, k], [1, 0])

    def moves(state: State) -> list[tuple[State, list[float]]]:
        x, y = state
        if not within(*np.array([[x], [y]]))[0]:
            return []
        return [((x + 1, y), [1.0 + x, 0.0]), ((x, y + 1), [1.0 + y, 0.0])]

    starts = [(0, 0), (2, 0), (1, 3), (0, 3)]
    graph = build_graph(
        starts,
        step,
        parameters=2,
        initial_probabilities=[0.25] * 4,
        absorbing=lambda states: ~within(*states.T),
    )
    plain: dict[State, dict[State, list[float]]] = {}
    for start in starts:
        plain |= explore(start, moves)
    assert not plain[2, 0]
    assert rates_of(graph) == plain


def test_a_state_that_is_not_left_must_be_among_the_absorbing_ones() -> None:
    def drift(states: NDArray[np.int32]) -> tuple[Any, Any, Any]:
        return np.arange(len(states)), states - 1, (states > 0).astype(float)

    with pytest.raises(GraphError) as caught:
        build_graph(
            [[7], [1]],
            drift,
            initial_probabilities=[0.5, 0.5],
            parameters=1,
            state_names=("x",),
            absorbing=lambda states: states[:, 0] == 5,
        )
    assert caught.value.what == "The process can come to rest where it is not absorbed"
    assert "got none out of vertex 4 (x=0)" in caught.value.problem
    assert caught.value.context["without a transition"] == 1


def death(states: NDArray[np.int32]) -> tuple[Any, Any, Any]:
    return np.arange(len(states)), states - 1, states.astype(float)


def test_rewards_are_functions_of_states_and_0_at_the_start() -> None:
    rewards = {"size": lambda states: states[:, 0], "is_odd": lambda states: states[:, 0] % 2 == 1}
    graph = build_graph([3], death, parameters=1, rewards=rewards)
    assert graph.reward("size").tolist() == [0, 3, 2, 1, 0]
    assert graph.reward("is_odd").tolist() == [0, 1, 0, 1, 0]


def test_several_initial_states_have_probabilities_or_coefficients() -> None:
    graph = build_graph([[3], [1]], death, parameters=1, initial_probabilities=[0.25, 0.75])
    assert graph.states[graph.start_target, 0].tolist() == [3, 1]
    assert graph.start_weight.tolist() == [0.25, 0.75]
    graph = build_graph([[3], [1]], death, parameters=1, initial_probabilities=[[0.5], [0.0]])
    assert graph.start_param_coefficient.tolist() == [[0.5], [0.0]]
    assert graph.start_target.size == 0


def test_the_number_of_parameters_may_be_an_integer_of_numpy() -> None:
    graph = build_graph([3], death, parameters=np.int64(1))  # type: ignore[arg-type]
    assert (graph.n_parameters, graph.parameter_names) == (1, ())


def test_constant_rates_and_coefficients_may_stand_in_one_graph() -> None:
    def transitions(states: NDArray[np.int32]) -> Iterator[tuple[Any, Any, Any]]:
        rows = np.arange(len(states))
        yield rows, states - 1, states.astype(float)
        yield rows, [0], 0.5 * (states[:, 0] > 1)

    graph = build_graph([3], transitions, parameters=("rate",))
    assert graph.edge_source.tolist() == [1, 2]
    assert graph.states[graph.edge_target, 0].tolist() == [0, 0]
    assert graph.edge_weight.tolist() == [0.5, 0.5]
    assert graph.param_coefficient[:, 0].tolist() == [3, 2, 1]


def test_progress_counts_states_explored_and_found() -> None:
    calls: list[tuple[int, int]] = []
    build_graph([3], death, parameters=1, progress=lambda *counts: calls.append(counts))
    assert calls == [(1, 2), (2, 3), (3, 4), (4, 4)]


def runs_away(states: NDArray[np.int32]) -> Iterator[tuple[Any, Any, Any]]:
    rows, rates = np.arange(len(states)), np.ones((len(states), 1))
    yield rows, states + np.array([0, 1], dtype=np.int32), rates
    yield rows, states - np.array([1, 0], dtype=np.int32), states[:, :1] > 0


@pytest.mark.parametrize(
    ("limit", "problem"),
    [
        ({"max_vertices": 1000}, "expected at most 1000 vertices, got 10"),
        ({"memory": 1 << 20}, "expected at most 1048576 bytes, got 1"),
    ],
)
def test_states_that_run_away_are_shown(limit: dict[str, int], problem: str) -> None:
    with pytest.raises(GraphError) as caught:
        build_graph([9, 1], runs_away, parameters=1, state_names=("left", "right"), **limit)
    assert problem in caught.value.problem
    found = re.search(r"right 1 -> (\d+)\.\.(\d+), left 9 -> 0\.\.9;", caught.value.problem)
    assert found
    assert int(found[1]) < int(found[2])
    assert "the last ones found are (left=" in caught.value.problem
    assert "max_vertices or memory" in caught.value.resolution


def test_a_graph_without_absorption_is_refused_with_a_state() -> None:
    def ring(states: NDArray[np.int32]) -> tuple[Any, Any, Any]:
        return np.arange(len(states)), (states + 1) % 3, np.ones(len(states))

    with pytest.raises(GraphError, match=r"absorption .* vertex 1 \(place=0\)"):
        build_graph([0], ring, state_names=("place",))


def test_a_parameter_that_no_rate_depends_on_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    build_graph([2], lambda states: (*death(states)[:2], states[:, 0]), parameters=("rate",))
    assert caplog.messages == ["No rate depends on rate"]


@pytest.mark.parametrize(
    ("arguments", "error", "problem"),
    [
        ({"initial": [1.5]}, ConfigError, "expected a state of at least one integer"),
        ({"initial": []}, ConfigError, "expected a state of at least one integer"),
        ({"initial": [[1], [2, 3]]}, ConfigError, "got rows of different lengths"),
        ({"initial": [2**31]}, ConfigError, "got [2147483648], which does not fit into 32 bits"),
        ({"initial": [[1], [2]]}, ConfigError, "expected one for each of 2 initial states"),
        ({"parameters": -1}, ConfigError, "expected names, or a number of at least 0, got -1"),
        ({"max_vertices": 0}, ConfigError, "max_vertices: expected a positive number, got 0"),
        ({"memory": -1}, ConfigError, "memory: expected a positive number, got -1"),
        ({"absorbing": lambda s: s}, GraphError, "expected 1 booleans, got an array of int32"),
        ({"absorbing": lambda s: s[:, 0]}, GraphError, "got an array of int32 of shape (1,)"),
        ({"rewards": {"a": lambda _: 1.0}}, GraphError, "expected 4 numbers, got an array of"),
        ({"rewards": {"a": lambda s: s[:, 0] / 0}}, GraphError, "finite numbers"),
        ({"rewards": {"a b": lambda s: s[:, 0]}}, GraphError, "expected a letter or _"),
        ({"state_names": ("x", "y")}, GraphError, "expected 1 names or none, got 2"),
        ({"initial_probabilities": [2.0]}, GraphError, "sum of at most 1"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
def test_arguments_that_cannot_be_followed_are_refused(
    arguments: dict[str, Any], error: type[Exception], problem: str
) -> None:
    with pytest.raises(error) as caught:
        build_graph(**({"initial": [3], "transitions": death, "parameters": 1} | arguments))
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("batch", "problem"),
    [
        (([0, 7], [[1], [1]], [1.0, 1.0]), "rows of the 1 states that the rule was given, got 7"),
        (([-1], [[1]], [1.0]), "rows of the 1 states that the rule was given, got -1"),
        (([0, 0], [[2], [1]], [1.0, -1.0]), "got [-1.0] from state (size=3) to (size=1)"),
        (([0], [1], [[1.0, np.nan]]), "got [1.0, nan] from state (size=3) to (size=1)"),
        (([0], [[1]], [[np.inf, 0.0]]), "got [inf, 0.0] from state (size=3) to (size=1)"),
    ],
)
def test_illegal_transitions_are_refused_with_their_states(batch: Any, problem: str) -> None:
    with pytest.raises(GraphError) as caught:
        build_graph([3], lambda _: batch, parameters=2, state_names=("size",))
    assert problem in caught.value.problem


def test_transitions_of_rate_zero_find_no_states() -> None:
    def transitions(states: NDArray[np.int32]) -> Iterator[tuple[Any, Any, Any]]:
        rows = np.arange(len(states))
        yield rows, states - 1, np.outer(states[:, 0], [1.0, 0.0])
        yield rows, [99], np.zeros((len(states), 2))
        yield rows, [1], np.outer(states[:, 0] == 3, [0.0, 2.0])

    graph = build_graph([3], transitions, parameters=2)
    assert graph.states[:, 0].tolist() == [0, 3, 2, 1, 0]
    assert graph.param_coefficient.tolist() == [[3, 0], [0, 2], [2, 0], [1, 0]]


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_states_are_numbered_as_in_a_dictionary(data: st.DataObject) -> None:
    length = data.draw(st.integers(1, 5))
    # Few distinct values, of one, two and four bytes: states repeat and the packing widens.
    value = st.sampled_from([0, 1, -1, 127, -128, 128, 40_000, -40_000, 2**31 - 1, -(2**31)])
    batch = st.lists(st.tuples(*[value] * length), max_size=40)
    exploration, numbers = _core.Exploration(length, 0), {}
    for states in data.draw(st.lists(batch, max_size=6)):
        table = np.array(states, dtype=np.int32).reshape(-1, length)
        expected = [numbers.setdefault(state, len(numbers) + 1) for state in states]
        assert exploration.insert(table).tolist() == expected
    assert exploration.n_states == len(numbers)
    assert exploration.read(0, len(numbers)).tolist() == [list(state) for state in numbers]


def test_the_table_of_states_grows_over_many_pages_and_keeps_its_numbers() -> None:
    states = np.random.default_rng(1).integers(-100, 100, (50_000, 4)).astype(np.int32)
    states[30_000:, 0] *= 300
    exploration = _core.Exploration(4, 0)
    vertex = exploration.insert(states)
    unique, first = np.unique(states, axis=0, return_index=True)
    n_states = exploration.n_states
    assert n_states == len(unique)
    assert (exploration.read(0, n_states)[vertex - 1] == states).all()
    assert (exploration.read(0, n_states) == states[np.sort(first)]).all()
    assert (exploration.insert(states) == vertex).all()
    # 24 bytes of slots at most, two bytes an integer, and one page that is not full; four bytes an
    # integer when they are read.
    assert exploration.nbytes <= n_states * (24 + 8 + 16) + 4096 * 8


def test_edges_are_sorted_and_parallel_ones_added_up_in_the_order_they_came_in() -> None:
    exploration = _core.Exploration(1, 2)
    row_of = np.array([0, 2], dtype=np.int32)
    target = np.array([[7], [9], [3], [7]], dtype=np.int32)
    # In this order each 1 is lost beside 2^53; in another they would be 2 together.
    coefficient = np.array([[2.0**53, 1], [2, 2], [3, 3], [1.0, 4]])
    assert exploration.add(row_of, np.array([1, 0, 1, 1]), target, coefficient, False) == -1
    more = np.array([[1.0, 0.5]])
    assert exploration.add(row_of, np.array([1]), target[:1], more, False) == -1
    exploration.close(10, 3)
    source, found, summed = exploration.take(False)
    assert source.tolist() == [10, 12, 12]
    assert exploration.read(0, 3)[found - 1, 0].tolist() == [9, 7, 3]
    assert summed.tolist() == [[2, 2], [2.0**53, 5.5], [3, 3]]


def test_the_core_adds_nothing_of_a_batch_that_it_refuses() -> None:
    exploration = _core.Exploration(1, 1)
    target = np.array([[5], [6]], dtype=np.int32)
    coefficient = np.array([[1.0], [-1.0]])
    assert exploration.add(np.zeros(1, np.int32), np.zeros(2, int), target, coefficient, False) == 1
    assert exploration.n_states == 0


def test_the_core_checks_what_python_gives_it() -> None:
    exploration = _core.Exploration(2, 1)
    row_of, row, target = np.zeros(1, np.int32), np.zeros(2, int), np.zeros((2, 2), np.int32)
    with pytest.raises(ValueError, match="at least one integer"):
        _core.Exploration(0, 1)
    with pytest.raises(ValueError, match="rows of 2 columns"):
        exploration.insert(np.zeros((3, 3), dtype=np.int32))
    with pytest.raises(ValueError, match="out of range"):
        exploration.read(0, 1)
    with pytest.raises(ValueError, match="a target and coefficients for every transition"):
        exploration.add(row_of, row, target, np.zeros((1, 1)), False)
    with pytest.raises(ValueError, match="rows of 1 columns"):
        exploration.add(row_of, row, target, np.zeros((2, 2)), False)
    exploration.add(np.array([3], np.int32), row, target, np.ones((2, 1)), False)
    with pytest.raises(ValueError, match="row out of range"):
        exploration.close(1, 3)
