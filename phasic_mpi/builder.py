"""Builds the graph of a process from a rule that says which transitions leave a state.

States are explored breadth first, many at a time. The rule computes with arrays; the compiled core
(``exploration.hpp``) finds out which of the states it leads to are new.
"""

from __future__ import annotations

import logging
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike, NDArray

from phasic_mpi import _core, config
from phasic_mpi.errors import ConfigError, GraphError
from phasic_mpi.graph import PhaseTypeGraph
from phasic_mpi.names import describe_state, theta_labels
from phasic_mpi.rule import Rule, RuleReader, ScalarRule, by_state, out_of_range
from phasic_mpi.scc import require_absorption

StateFunction = Callable[[NDArray[np.int32]], ArrayLike]
OnProgress = Callable[[int, int], None]

# Vertices are numbered in 32 bits.
MOST_VERTICES = 2**31 - 1

# Integers of the states that a rule is given at once: what it computes with stays in the cache.
_STEP_INTEGERS = 1 << 16
_LEAST_STEP = 1 << 8

# Of the memory that is free, unless a limit is given.
_MEMORY_SHARE = 0.5

_SHOWN_STATES = 3
_SHOWN_RANGES = 5


def build_graph(
    initial: ArrayLike,
    transitions: Rule | ScalarRule,
    *,
    initial_probabilities: ArrayLike | None = None,
    parameters: Sequence[str] | int = (),
    state_names: Sequence[str] = (),
    absorbing: StateFunction | None = None,
    rewards: Mapping[str, StateFunction] | None = None,
    per_state: bool = False,
    max_vertices: int = MOST_VERTICES,
    memory: int | None = None,
    progress: OnProgress | None = None,
) -> PhaseTypeGraph:
    """Explores all states that can be reached and returns the graph of the process.

    Vertex 0 is the start; the others are states, numbered breadth first: those that the first state
    leads to before those that the second does, and so on, always in the same way. A state that no
    transition leaves is absorbing.

    Args:
        initial: The state the process starts in, ``int[state_length]``, or several, one per row.
        transitions: The rule. It is given many states, ``int32[m, state_length]``, and returns a
            tuple ``(row, target, coefficient)``, or a list or generator of such tuples: ``row``,
            ``int[k]``, says which of the states each transition leaves; ``target``,
            ``int[k, state_length]``, where it leads, or one state for all; ``coefficient``,
            ``float[k, n_parameters]``, is its rate divided by each parameter, or ``float[k]`` if
            the rates are constant. Transitions with a rate of zero are left out before anybody
            looks at their targets; those between the same two states add up.
        initial_probabilities: ``float[n_initial]``, or coefficients of theta,
            ``float[n_initial, n_parameters]``; 1 if there is one initial state.
        parameters: Names of the parameters theta, or their number.
        state_names: Names of the integers of a state.
        absorbing: Given states like the rule, says which are not left, ``bool[m]``; the rule is not
            asked about those.
        rewards: Rewards per unit of time by name: functions of all states, ``float[m]``.
        per_state: The rule is given one state as a tuple of integers and returns pairs
            ``(next_state, rate)``: easy to write, and much slower.
        max_vertices: Vertices that the graph may have, the start included.
        memory: Bytes that the graph and the tables for building it may take; half of what is free
            unless given. A state takes 12 to 24 bytes and 5 to 8 per integer of it, an edge 16
            bytes and 8 per parameter, up to three times that while it grows.
        progress: Called with the number of states explored and of states found.

    Raises:
        GraphError: The rule, a predicate or a reward gives something else than documented; a rate
            is negative or not finite; there are too many states; absorption cannot be reached. The
            message shows states.
        ConfigError: A limit is not positive, the number of parameters is negative, or the initial
            states are none.
    """
    n_parameters, names = _parameters(parameters)
    first = _initial_states(initial)
    labels = tuple(state_names)
    rule = by_state(transitions) if per_state else transitions  # type: ignore[arg-type]
    exploration = _Exploration(
        reader=RuleReader(rule, n_parameters, labels),  # type: ignore[arg-type]
        absorbing=absorbing,
        limits=_Limits.of(max_vertices, memory),
        state_length=first.shape[1],
    )
    start = exploration.explore(first, progress)
    states = exploration.states()
    graph = PhaseTypeGraph.from_arrays(
        n_vertices=len(states) + 1,
        states=np.concatenate([np.zeros((1, first.shape[1]), dtype=np.int32), states]),
        parameter_names=names,
        state_names=labels,
        rewards=_evaluate_rewards(rewards or {}, states, labels),
        **exploration.edges(),
        **_start(start, initial_probabilities, n_parameters),
    )
    require_absorption(graph)
    _warn_of_idle_parameters(graph)
    return graph


@dataclass(frozen=True)
class _Limits:
    """What a graph may take."""

    max_vertices: int
    memory: float

    @staticmethod
    def of(max_vertices: int, memory: int | None) -> _Limits:
        for name, value in (("max_vertices", max_vertices), ("memory", memory)):
            if value is not None and value < 1:
                raise ConfigError(
                    "The graph cannot be built",
                    problem=f"{name}: expected a positive number, got {value}",
                    resolution="give a positive limit, or leave it out",
                )
        if memory is None:
            free = config.available_memory()
            return _Limits(max_vertices, np.inf if free is None else _MEMORY_SHARE * free)
        return _Limits(max_vertices, memory)


class _Exploration:
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
        limits: _Limits,
        state_length: int,
    ) -> None:
        self._reader = reader
        self._absorbing = absorbing
        self._limits = limits
        self._core = _core.Exploration(state_length, reader.n_parameters)
        self._step = max(_LEAST_STEP, _STEP_INTEGERS // state_length)

    def explore(self, initial: NDArray[np.int32], progress: OnProgress | None) -> NDArray[np.int32]:
        """Finds every state that can be reached; returns the vertices of the initial ones."""
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
            left = ~_evaluate("'absorbing'", self._absorbing, states, "b", names)
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


def _parameters(given: Sequence[str] | int) -> tuple[int, tuple[str, ...]]:
    """Number of the parameters, and their names if they have some."""
    if not isinstance(given, SupportsIndex):
        return len(given), tuple(given)
    number = operator.index(given)
    if number < 0:
        raise ConfigError(
            "The graph cannot be built",
            problem=f"parameters: expected names, or a number of at least 0, got {number}",
            resolution="name the parameters, or say how many there are",
        )
    return number, ()


def _initial_states(initial: ArrayLike) -> NDArray[np.int32]:
    try:
        states = np.atleast_2d(np.asarray(initial))
    except ValueError as exc:
        raise _refused_initial(f"rows of different lengths: {exc}") from exc
    if states.ndim != 2 or states.dtype.kind not in "iu" or not states.size:
        raise _refused_initial(f"an array of {states.dtype} of shape {np.shape(initial)}")
    outside = np.flatnonzero(out_of_range(states))
    if outside.size:
        raise _refused_initial(f"{states[outside[0]].tolist()}, which does not fit into 32 bits")
    return np.ascontiguousarray(states, dtype=np.int32)


def _refused_initial(found: str) -> ConfigError:
    return ConfigError(
        "The graph cannot be built",
        problem="initial: expected a state of at least one integer of 32 bits, or one per row, got "
        + found,
        resolution="give the state the process starts in",
    )


def _start(
    vertices: NDArray[np.int32], probabilities: ArrayLike | None, n_parameters: int
) -> dict[str, Any]:
    """Columns of the initial distribution."""
    given = np.asarray([1.0] if probabilities is None else probabilities, dtype=np.float64)
    if given.shape not in ((vertices.size,), (vertices.size, n_parameters)):
        raise ConfigError(
            "The graph cannot be built",
            problem=f"initial_probabilities: expected one for each of {vertices.size} initial "
            f"states, or one row of {n_parameters} coefficients, got shape {given.shape}",
            resolution="give each initial state its probability",
        )
    if given.ndim == 2:
        return {"start_param_target": vertices, "start_param_coefficient": given}
    return {"start_target": vertices, "start_weight": given}


def _evaluate_rewards(
    rewards: Mapping[str, StateFunction], states: NDArray[np.int32], names: tuple[str, ...]
) -> dict[str, NDArray[np.float64]]:
    """Rewards of all vertices; nobody stays at the start."""
    out = {}
    for name, function in rewards.items():
        values = _evaluate(f"reward '{name}'", function, states, "biuf", names)
        out[name] = np.concatenate([[0.0], values.astype(np.float64)])
    return out


def _evaluate(
    what: str,
    function: StateFunction,
    states: NDArray[np.int32],
    kinds: str,
    names: tuple[str, ...],
) -> NDArray[Any]:
    """One value per state, of the kinds of dtype that are asked for."""
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


def _warn_of_idle_parameters(graph: PhaseTypeGraph) -> None:
    """Perhaps the rule gives numbers, which are constant rates, where coefficients were meant."""
    tables = (graph.param_coefficient, graph.start_param_coefficient)
    names = theta_labels(graph.parameter_names, graph.n_parameters)
    idle = [name for i, name in enumerate(names) if not any((t[:, i] != 0).any() for t in tables)]
    if idle:
        logging.getLogger("phasic_mpi").warning("No rate depends on %s", ", ".join(idle))
