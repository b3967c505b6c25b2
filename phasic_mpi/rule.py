"""What a rule says about the transitions out of some states, checked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
from numpy.typing import ArrayLike, NDArray

from phasic_mpi.errors import GraphError
from phasic_mpi.names import describe_state

Batch = tuple[ArrayLike, ArrayLike, ArrayLike]
Rule = Callable[[NDArray[np.int32]], Batch | Iterable[Batch]]
ScalarRule = Callable[
    [tuple[int, ...]], Iterable[tuple[Sequence[int], float | Sequence[float] | NDArray[np.float64]]]
]

_WHAT = "The rule gives transitions that cannot be followed"

_SMALLEST, _LARGEST = np.iinfo(np.int32).min, np.iinfo(np.int32).max


@dataclass(frozen=True, eq=False)
class Transitions:
    """A batch of transitions, of the shapes and types that the compiled core takes.

    Attributes:
        row: ``int64[k]``, row of the state that each leaves, among those the rule was given.
        target: ``int32[k, state_length]``, the state that each leads to; one row if it is the same
            for all.
        coefficient: ``float64[k, n_parameters]``; constant rates are ``float64[k, 1]``.
        is_constant: Whether the rates are constant.
    """

    row: NDArray[np.int64]
    target: NDArray[np.int32]
    coefficient: NDArray[np.float64]
    is_constant: bool


@dataclass(frozen=True, eq=False)
class RuleReader:
    """Asks a rule for transitions and checks the shapes and types of what it answers.

    Attributes:
        rule: Takes ``int32[m, state_length]``; returns a batch ``(row, target, coefficient)``, or a
            list or a generator of batches.
        n_parameters: Length of theta.
        state_names: Names of the integers of a state, for messages; or none.
    """

    rule: Rule
    n_parameters: int
    state_names: tuple[str, ...] = ()

    def transitions(self, states: NDArray[np.int32]) -> Iterator[Transitions]:
        """Yields the transitions out of ``states``, ``int32[m, state_length]``, batch by batch.

        Raises:
            GraphError: The rule gives something else than documented.
        """
        answer = self.rule(states)
        if not isinstance(answer, Iterable):
            _refuse(f"expected a tuple (row, target, coefficient) or several, got {answer!r:.80}")
        for batch in (answer,) if isinstance(answer, tuple) else answer:
            if not isinstance(batch, tuple) or len(batch) != 3:
                _refuse(f"expected a tuple (row, target, coefficient), got {batch!r:.80}")
            row = _row(batch[0])
            coefficient = self._coefficient(batch[2], row.size)
            target = _target(batch[1], row.size, states)
            if target.dtype != np.int32:
                target = self._narrowed(states, row, target, coefficient)
            yield Transitions(
                row=row,
                target=np.ascontiguousarray(target),
                coefficient=np.ascontiguousarray(coefficient),
                is_constant=np.ndim(batch[2]) == 1,
            )

    def refuse(self, states: NDArray[np.int32], found: Transitions, index: int) -> NoReturn:
        """Says what is wrong with a transition that the compiled core has refused.

        Raises:
            GraphError: Always; names the states and the rate.
        """
        row = int(found.row[index])
        if not 0 <= row < len(states):
            _refuse(
                f"row: expected rows of the {len(states)} states that the rule was given, got {row}"
            )
        target = found.target[index if len(found.target) == found.row.size else 0]
        _refuse(
            f"expected finite rates of at least 0, got {found.coefficient[index].tolist()} from "
            f"state {self._described(states[row])} to {self._described(target)}"
        )

    def _coefficient(self, given: Any, n_rows: int) -> NDArray[np.float64]:
        array = _array("coefficient", given)
        if array.dtype.kind not in "iufb" or array.ndim not in (1, 2) or len(array) != n_rows:
            _refuse(
                f"coefficient: expected {n_rows} numbers or rows of numbers, one for each "
                f"transition, got an array of {array.dtype} of shape {array.shape}"
            )
        if array.ndim == 2 and array.shape[1] != self.n_parameters:
            _refuse(
                f"coefficient: expected {self.n_parameters} columns, one per parameter, got "
                f"{array.shape[1]}"
            )
        columns = array[:, np.newaxis] if array.ndim == 1 else array
        return columns.astype(np.float64, copy=False)

    def _narrowed(
        self,
        states: NDArray[np.int32],
        row: NDArray[np.int64],
        target: NDArray[Any],
        coefficient: NDArray[np.float64],
    ) -> NDArray[np.int32]:
        """The targets in 32 bits; refuses those of possible transitions that do not fit."""
        wrong = out_of_range(target) & coefficient.any(axis=1)
        if wrong.any():
            edge = int(np.argmax(wrong))
            _refuse(
                f"target: expected integers of 32 bits, got "
                f"{target[edge if len(target) > 1 else 0].tolist()} from state "
                f"{self._described(states[row[edge]])}"
            )
        return target.astype(np.int32)

    def _described(self, state: NDArray[Any]) -> str:
        return describe_state(state, self.state_names)


def by_state(rule: ScalarRule) -> Rule:
    """Makes a rule for many states out of one that takes a state and gives its transitions.

    Args:
        rule: Takes a state as a tuple of integers, returns pairs of the next state and its rate: a
            number if it is constant, or one coefficient per parameter.
    """

    def all_rows(states: NDArray[np.int32]) -> Iterator[Batch]:
        # Constant rates and coefficients apart: they go into different columns.
        collected: dict[bool, tuple[list[int], list[Any], list[Any]]] = {}
        for row, state in enumerate(states.tolist()):
            try:
                found = rule(tuple(state))
                # A generator runs here, and what it raises is raised by the rule.
                pairs = list(found) if isinstance(found, Iterable) else None
            except Exception as exc:
                exc.add_note(f"raised by the rule for the state {tuple(state)}")
                raise
            if pairs is None:
                _refuse_answer(state, found)
            for pair in pairs:
                target, rate = _pair(state, pair)
                kind = collected.setdefault(isinstance(rate, int | float), ([], [], []))
                kind[0].append(row)
                kind[1].append(target)
                kind[2].append(rate)
        for rows, targets, rates in collected.values():
            _require_length(states, rows, targets)
            yield np.array(rows), targets, rates

    return all_rows


def out_of_range(states: NDArray[np.integer[Any]]) -> NDArray[np.bool_]:
    """Which of the states, ``int[k, state_length]``, have an integer of more than 32 bits."""
    outside: NDArray[np.bool_] = np.any((states < _SMALLEST) | (states > _LARGEST), axis=1)
    return outside


def _pair(state: list[int], pair: Any) -> tuple[Any, Any]:
    try:
        target, rate = pair
    except (TypeError, ValueError):
        _refuse_answer(state, pair)
    return target, rate


def _require_length(states: NDArray[np.int32], rows: list[int], targets: list[Any]) -> None:
    """Refuses a next state of another length, with the state that it follows."""
    length = states.shape[1]
    try:
        if set(map(len, targets)) == {length}:
            return
    except TypeError:
        pass  # not all of them have a length
    for row, target in zip(rows, targets, strict=True):
        if not isinstance(target, Sized) or len(target) != length:
            state = tuple(states[row].tolist())
            _refuse(f"state {state}: expected next states of {length} integers, got {target!r:.80}")


def _refuse_answer(state: list[int], answer: Any) -> NoReturn:
    _refuse(f"state {tuple(state)}: expected pairs (next state, rate), got {answer!r:.80}")


def _array(name: str, given: Any) -> NDArray[Any]:
    try:
        return np.asarray(given)
    except (TypeError, ValueError) as exc:
        _refuse(f"{name}: expected an array: {exc}")


def _row(given: Any) -> NDArray[np.int64]:
    row = _array("row", given)
    if row.ndim != 1 or (row.dtype.kind not in "iu" and row.size):
        _refuse(f"row: expected integers of one dimension, got {row.dtype} of shape {row.shape}")
    return np.ascontiguousarray(row, dtype=np.int64)


def _target(given: Any, n_rows: int, states: NDArray[np.int32]) -> NDArray[Any]:
    """The targets, one row each or one for all."""
    target = _array("target", given)
    length = states.shape[1]
    if target.dtype.kind not in "iu" and target.size:
        _refuse(f"target: expected states of integers, got an array of {target.dtype}")
    if target.shape in ((length,), (0,)):
        target = target.reshape(-1, length)
    elif target.shape != (n_rows, length):
        _refuse(
            f"target: expected {n_rows} states of {length} integers, like those that the rule was "
            f"given, such as {states[0].tolist()}; got an array of shape {target.shape}"
        )
    return target


def _refuse(problem: str) -> NoReturn:
    raise GraphError(
        _WHAT,
        problem=problem,
        resolution="correct the rule; build_graph() says what it returns",
    )
