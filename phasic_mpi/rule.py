"""What a rule says about the transitions out of some states, checked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
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
    """Transitions whose rates are not zero at every theta.

    Attributes:
        row: ``int32[k]``, row of the state that each leaves, among those the rule was given.
        target: ``int32[k, state_length]``, the state that each leads to.
        coefficient: ``float64[k, n_parameters]``; constant rates are ``float64[k, 1]``.
        is_constant: Whether the rates are constant.
    """

    row: NDArray[np.int32]
    target: NDArray[np.int32]
    coefficient: NDArray[np.float64]
    is_constant: bool


@dataclass(frozen=True, eq=False)
class RuleReader:
    """Asks a rule for transitions and checks what it answers.

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
            GraphError: The rule gives something else than documented, or a rate that is negative
                or not finite; names the state and the transition.
        """
        answer = self.rule(states)
        if not isinstance(answer, Iterable):
            _refuse(f"expected a tuple (row, target, coefficient) or several, got {answer!r:.80}")
        for batch in (answer,) if isinstance(answer, tuple) else answer:
            yield self._checked(states, batch)

    def _checked(self, states: NDArray[np.int32], batch: Any) -> Transitions:
        if not isinstance(batch, tuple) or len(batch) != 3:
            _refuse(f"expected a tuple (row, target, coefficient), got {batch!r:.80}")
        row = _row(batch[0], len(states))
        target = _targets(batch[1], row.size, states)
        coefficient = self._coefficient(batch[2], row.size)
        self._require_legal(states, row, target, coefficient)
        possible = coefficient.any(axis=1)
        if not possible.all():
            row, target, coefficient = row[possible], target[possible], coefficient[possible]
        return Transitions(
            row=row.astype(np.int32, copy=False),
            target=self._narrowed(states, row, target),
            coefficient=np.ascontiguousarray(coefficient),
            is_constant=np.ndim(batch[2]) == 1,
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

    def _require_legal(
        self,
        states: NDArray[np.int32],
        row: NDArray[Any],
        target: NDArray[Any],
        coefficient: NDArray[np.float64],
    ) -> None:
        # One comparison catches NaN as well; infinity is as large as what is not finite gets.
        if not coefficient.size or (coefficient.min() >= 0 and coefficient.max() < np.inf):
            return
        legal = ((coefficient >= 0) & (coefficient < np.inf)).all(axis=1)
        edge = int(np.argmin(legal))
        _refuse(
            f"expected finite rates of at least 0, got {coefficient[edge].tolist()} from state "
            f"{self._described(states[row[edge]])} to {self._described(target[edge])}"
        )

    def _narrowed(
        self, states: NDArray[np.int32], row: NDArray[Any], target: NDArray[Any]
    ) -> NDArray[np.int32]:
        """The targets in 32 bits, contiguous; refuses those that do not fit."""
        if target.dtype.itemsize >= 4 and target.dtype != np.int32 and target.size:
            fits = ((target >= _SMALLEST) & (target <= _LARGEST)).all(axis=1)
            if not fits.all():
                edge = int(np.argmin(fits))
                _refuse(
                    f"target: expected integers of 32 bits, got {target[edge].tolist()} from state "
                    f"{self._described(states[row[edge]])}"
                )
        return np.ascontiguousarray(target, dtype=np.int32)

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
                found = list(rule(tuple(state)))
            except Exception as exc:
                exc.add_note(f"raised by the rule for the state {tuple(state)}")
                raise
            for pair in found:
                target, rate = _pair(state, pair)
                kind = collected.setdefault(isinstance(rate, int | float), ([], [], []))
                kind[0].append(row)
                kind[1].append(target)
                kind[2].append(rate)
        for rows, targets, rates in collected.values():
            yield np.array(rows), targets, rates

    return all_rows


def _pair(state: list[int], pair: Any) -> tuple[Any, Any]:
    try:
        target, rate = pair
    except (TypeError, ValueError):
        _refuse(f"state {tuple(state)}: expected pairs (next state, rate), got {pair!r:.80}")
    return target, rate


def _array(name: str, given: Any) -> NDArray[Any]:
    try:
        return np.asarray(given)
    except (TypeError, ValueError) as exc:
        _refuse(f"{name}: expected an array: {exc}")


def _row(given: Any, n_states: int) -> NDArray[Any]:
    row = _array("row", given)
    if row.ndim != 1 or (row.dtype.kind not in "iu" and row.size):
        _refuse(f"row: expected integers of one dimension, got {row.dtype} of shape {row.shape}")
    if row.size and not 0 <= row.min() <= row.max() < n_states:
        _refuse(
            f"row: expected rows of the {n_states} states that the rule was given, got "
            f"{row.min()}..{row.max()}"
        )
    return row


def _targets(given: Any, n_rows: int, states: NDArray[np.int32]) -> NDArray[Any]:
    target = _array("target", given)
    length = states.shape[1]
    if target.dtype.kind not in "iu" and target.size:
        _refuse(f"target: expected states of integers, got an array of {target.dtype}")
    if target.shape == (length,):
        return np.broadcast_to(target, (n_rows, length))
    if target.shape == (0,):
        target = target.reshape(0, length)
    if target.shape != (n_rows, length):
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
