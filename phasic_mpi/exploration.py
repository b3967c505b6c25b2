"""Finds all states of a process, breadth first, and the edges between them.

Many states are explored at a time. A rule says which transitions leave them; the compiled core
(``exploration.hpp``) finds out which of the states these lead to are new.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from phasic_mpi import _core, config
from phasic_mpi.errors import ConfigError, GraphError
from phasic_mpi.names import describe_state
from phasic_mpi.rule import RuleReader

StateFunction = Callable[[NDArray[np.int32]], ArrayLike]
OnProgress = Callable[[int, int], None]

# Integers of the states that a rule is given at once: what it computes with stays in the cache.
_STEP_INTEGERS = 1 << 16
_LEAST_STEP = 1 << 8

# Of the memory that is free, unless a limit is given.
_MEMORY_SHARE = 0.5

_SHOWN_STATES = 3
_SHOWN_RANGES = 5


@dataclass(frozen=True)
class Limits:
    """Vertices that a graph may have, and bytes that it may take while it is built."""

    max_vertices: int
    memory: float

    @staticmethod
    def of(max_vertices: int, memory: int | None) -> Limits:
        """Limits as :func:`phasic_mpi.builder.build_graph` takes them.

        Raises:
            ConfigError: One is not positive.
        """
        for name, value in (("max_vertices", max_vertices), ("memory", memory)):
            if value is not None and value < 1:
                raise ConfigError(
                    "The graph cannot be built",
                    problem=f"{name}: expected a positive number, got {value}",
                    resolution="give a positive limit, or leave it out",
                )
        if memory is None:
            free = config.available_memory()
            return Limits(max_vertices, np.inf if free is None else _MEMORY_SHARE * free)
        return Limits(max_vertices, memory)


class Exploration:
    """States that have been found, and the edges out of those that have been explored.

    Args:
        reader: The rule.
        absorbing: Which states are not left; None if the rule knows.
        limits: What the graph may take.
        state_length: Integers in a state.
    """

    def __init__(
        self,
        reader: RuleReader,
        absorbing: StateFunction | None,
        limits: Limits,
        state_length: int,
    ) -> None:
        self._reader = reader
        self._absorbing = absorbing
        self._limits = limits
        self._core = _core.Exploration(state_length, reader.n_parameters)
        self._step = max(_LEAST_STEP, _STEP_INTEGERS // state_length)

    def explore(self, initial: NDArray[np.int32], progress: OnProgress | None) -> NDArray[np.int32]:
        """Finds every state that can be reached; returns the vertices of the initial ones.

        Args:
            initial: ``int32[n_initial, state_length]``.
            progress: Called with the number of states explored and of states found.

        Raises:
            GraphError: The rule or the predicate gives something else than documented, a rate is
                negative or not finite, or a limit is passed; the message shows states.
        """
        start = self._core.insert(initial)
        begin, end = 0, self._core.n_states
        # From layer to layer: the states found on the way from one are the next.
        while begin < end:
            for first in range(begin, end, self._step):
                last = min(first + self._step, end)
                self._explore_rows(first, last)
                if progress is not None:
                    progress(last, self._core.n_states)
            begin, end = end, self._core.n_states
        return start

    def _explore_rows(self, first: int, last: int) -> None:
        states = self._core.read(first, last)
        row_of = np.arange(last - first, dtype=np.int32)
        if self._absorbing is not None:
            names = self._reader.state_names
            left = ~value_per_state("'absorbing'", self._absorbing, states, "b", names)
            row_of, states = row_of[left], states[left]
        if row_of.size:
            for found in self._reader.transitions(states):
                refused = self._core.add(
                    row_of, found.row, found.target, found.coefficient, found.is_constant
                )
                if refused >= 0:
                    self._reader.refuse(states, found, refused)
                self._require_room(first)
        self._core.close(first + 1, last - first)

    def _require_room(self, n_explored: int) -> None:
        n_vertices, n_bytes = self._core.n_states + 1, self._core.nbytes
        for what, limit, found in (
            ("vertices", self._limits.max_vertices, n_vertices),
            ("bytes", self._limits.memory, n_bytes),
        ):
            if found > limit:
                raise GraphError(
                    "There are too many states",
                    problem=f"expected at most {limit:.0f} {what}, got {found} with {n_explored} "
                    f"of {n_vertices - 1} states explored; {self._shown_growth()}",
                    context={"vertices": n_vertices, "bytes": n_bytes},
                    resolution="bound what grows in the rule, or raise max_vertices or memory",
                )

    def _shown_growth(self) -> str:
        """Which integers have run away from those of the first state, and the last states found."""
        size = self._core.n_states
        first, last = self._core.read(0, 1)[0], self._core.read(max(0, size - 1000), size)
        names = self._reader.state_names or tuple(f"[{i}]" for i in range(first.size))
        low, high = last.min(axis=0), last.max(axis=0)
        away = np.maximum(high - first, first - low)
        most = np.argsort(-away, kind="stable")[:_SHOWN_RANGES]
        ranges = ", ".join(f"{names[i]} {first[i]} -> {low[i]}..{high[i]}" for i in most)
        shown = "; ".join(
            describe_state(state, self._reader.state_names) for state in last[-_SHOWN_STATES:]
        )
        return f"from the first state to the last ones: {ranges}; the last ones found are {shown}"

    def states(self) -> NDArray[np.int32]:
        """``int32[n_states, state_length]``."""
        return self._core.read(0, self._core.n_states)

    def edges(self) -> dict[str, NDArray[Any]]:
        """Columns of the graph; the exploration gives them away."""
        edge_source, edge_target, edge_weight = self._core.take(is_constant=True)
        param_source, param_target, param_coefficient = self._core.take(is_constant=False)
        return {
            "edge_source": edge_source,
            "edge_target": edge_target,
            "edge_weight": edge_weight[:, 0],
            "param_source": param_source,
            "param_target": param_target,
            "param_coefficient": param_coefficient,
        }


def value_per_state(
    what: str,
    function: StateFunction,
    states: NDArray[np.int32],
    kinds: str,
    names: tuple[str, ...],
) -> NDArray[Any]:
    """One value for each of ``states``, of the kinds of dtype that are asked for.

    Raises:
        GraphError: The function gives something else; ``what`` names it.
    """
    values = np.asarray(function(states))
    if values.shape != (len(states),) or values.dtype.kind not in kinds:
        raise GraphError(
            f"The function for {what} gives something else than one value per state",
            problem=f"expected {len(states)} {'booleans' if kinds == 'b' else 'numbers'}, got an "
            f"array of {values.dtype} of shape {values.shape}",
            context={"first state": describe_state(states[0], names)},
            resolution="compute with all rows of the states at once, for instance states[:, 0] > 3",
        )
    return values
