"""What rules answer is checked, and wrong answers show states."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from phasic_mpi.errors import GraphError
from phasic_mpi.rule import RuleReader, by_state

STATES = np.array([[2, 5], [3, 7]], dtype=np.int32)
TARGETS = np.array([[1, 5], [2, 7]])
ROWS = np.arange(2)


def read(answer: Any, n_parameters: int = 1) -> list[Any]:
    reader = RuleReader(lambda _: answer, n_parameters, ("left", "right"))
    return list(reader.transitions(STATES))


def test_a_tuple_is_one_batch_and_a_list_or_a_generator_are_several() -> None:
    batch = (ROWS, TARGETS, np.ones((2, 1)))
    assert len(read(batch)) == 1
    assert len(read([batch, batch])) == 2
    assert len(read(batch for _ in range(3))) == 3
    assert read([]) == []


def test_numbers_are_constant_rates_and_rows_are_coefficients() -> None:
    (constant,) = read((ROWS, TARGETS, [1.5, 2.5]))
    assert constant.is_constant
    assert constant.coefficient.tolist() == [[1.5], [2.5]]
    (linear,) = read((ROWS, TARGETS, [[1.5, 0], [0, 2.5]]), n_parameters=2)
    assert not linear.is_constant
    assert linear.coefficient.tolist() == [[1.5, 0], [0, 2.5]]


def test_one_target_may_serve_all_transitions_of_a_batch() -> None:
    (found,) = read((ROWS, [0, 0], [1.0, 2.0]))
    assert found.target.tolist() == [[0, 0]]
    assert found.target.dtype == np.int32


def test_several_transitions_may_leave_one_state_and_none_another() -> None:
    (found,) = read(([1, 1, 1], [[0, 1], [0, 2], [0, 3]], [1.0, 2.0, 3.0]))
    assert found.row.tolist() == [1, 1, 1]
    (none,) = read(([], [], []))
    assert none.target.shape == (0, 2)


def test_targets_that_do_not_fit_are_refused_only_where_the_rate_is_not_zero() -> None:
    (found,) = read((ROWS, np.array([[2**40, 0], [2, 7]]), [[0.0], [1.0]]))
    assert found.target[1].tolist() == [2, 7]
    with pytest.raises(GraphError, match=r"integers of 32 bits, got .* from state \(left=3"):
        read((ROWS, np.array([2**40, 0]), [[0.0], [1.0]]))


@pytest.mark.parametrize(
    ("index", "problem"),
    [
        (0, "row: expected rows of the 2 states that the rule was given, got 2"),
        (
            1,
            "expected finite rates of at least 0, got [-2.0] from state (left=3, right=7) to "
            "(left=2, right=7)",
        ),
    ],
)
def test_what_the_core_has_refused_is_told_with_its_states(index: int, problem: str) -> None:
    reader = RuleReader(lambda _: ([2, 1], TARGETS, [1.0, -2.0]), 0, ("left", "right"))
    (found,) = reader.transitions(STATES)
    with pytest.raises(GraphError) as caught:
        reader.refuse(STATES, found, index)
    assert caught.value.problem == problem


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (7, "expected a tuple (row, target, coefficient) or several, got 7"),
        ([7], "expected a tuple (row, target, coefficient), got 7"),
        ((ROWS, TARGETS), "expected a tuple (row, target, coefficient)"),
        (([0.0, 1.0], TARGETS, [1.0, 1.0]), "row: expected integers of one dimension, got float64"),
        ((ROWS, TARGETS[:, :1], [1.0, 1.0]), "expected 2 states of 2 integers"),
        ((ROWS, TARGETS[:, :1], [1.0, 1.0]), "such as [2, 5]; got an array of shape (2, 1)"),
        ((ROWS, TARGETS / 2, [1.0, 1.0]), "expected states of integers, got an array of float64"),
        ((ROWS, [[1], [1, 2]], [1.0, 1.0]), "target: expected an array"),
        ((ROWS, TARGETS, [1.0]), "coefficient: expected 2 numbers or rows of numbers"),
        ((ROWS, TARGETS, np.ones((2, 3))), "expected 1 columns, one per parameter, got 3"),
        ((ROWS, TARGETS, ["a", "b"]), "got an array of <U1"),
        (
            (ROWS, np.array([[1, 2], [2**31, 0]]), [1.0, 1.0]),
            "integers of 32 bits, got [2147483648, 0] from state (left=3, right=7)",
        ),
    ],
)
def test_what_a_rule_may_not_answer_is_refused(answer: Any, problem: str) -> None:
    with pytest.raises(GraphError) as caught:
        read(answer)
    assert problem in caught.value.problem
    assert caught.value.what == "The rule gives transitions that cannot be followed"


def test_a_rule_for_one_state_serves_many() -> None:
    def transitions(state: tuple[int, ...]) -> Iterator[tuple[Any, Any]]:
        left, right = state
        yield (left - 1, right), [float(left)]
        if left > 2:
            yield [left, right - 1], 0.5

    linear, constant = RuleReader(by_state(transitions), 1).transitions(STATES)
    assert linear.row.tolist() == [0, 1]
    assert linear.target.tolist() == [[1, 5], [2, 7]]
    assert linear.coefficient.tolist() == [[2.0], [3.0]]
    assert constant.is_constant
    assert constant.row.tolist() == [1]
    assert constant.target.tolist() == [[3, 6]]


@pytest.mark.parametrize(
    ("found", "problem"),
    [
        ([((1, 2), 1.0, 3)], "state (2, 5): expected pairs (next state, rate), got ((1, 2), 1.0"),
        ([5], "state (2, 5): expected pairs (next state, rate), got 5"),
        (None, "state (2, 5): expected pairs (next state, rate), got None"),
        ([(1, 1.0)], "state (2, 5): expected next states of 2 integers, got 1"),
        (
            [((1, 2), 1.0), ((1, 2, 3), 1.0)],
            "state (2, 5): expected next states of 2 integers, got (1, 2, 3)",
        ),
        ([((1.5, 2), 1.0)], "expected states of integers"),
        ([((1, 2), [1.0, 2.0])], "expected 1 columns, one per parameter, got 2"),
    ],
)
def test_what_a_rule_for_one_state_may_not_answer_is_refused(found: Any, problem: str) -> None:
    with pytest.raises(GraphError) as caught:
        list(RuleReader(by_state(lambda _: found), 1).transitions(STATES))
    assert problem in caught.value.problem


def test_an_error_in_a_rule_for_one_state_names_the_state() -> None:
    def transitions(state: tuple[int, ...]) -> list[Any]:
        return [((1 // (state[0] - 3), 0), 1.0)]

    with pytest.raises(ZeroDivisionError) as caught:
        list(RuleReader(by_state(transitions), 0).transitions(STATES))
    assert caught.value.__notes__ == ["raised by the rule for the state (3, 7)"]
