"""Builds the graph of a process from a rule that says which transitions leave a state."""

from __future__ import annotations

import logging
import operator
from collections.abc import Mapping, Sequence
from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike, NDArray

from phasic_mpi.errors import ConfigError, GraphError
from phasic_mpi.exploration import Exploration, Limits, OnProgress, StateFunction, value_per_state
from phasic_mpi.graph import PhaseTypeGraph
from phasic_mpi.names import describe_vertex, theta_labels
from phasic_mpi.rule import Rule, RuleReader, ScalarRule, by_state, out_of_range
from phasic_mpi.scc import require_absorption

# Vertices are numbered in 32 bits.
MOST_VERTICES = 2**31 - 1


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
    leads to before those that the second does, and so on, always in the same way.

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
        absorbing: Given states like the rule, says which are not left, ``bool[m]``: the rule is not
            asked about those, and must give a transition out of each other one. Without it, those
            are absorbing that no transition leaves.
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
            is negative or not finite; there are too many states; absorption cannot be reached; no
            transition leaves a state that is not ``absorbing``. The message shows states.
        ConfigError: A limit is not positive, the number of parameters is negative, or the initial
            states are none.
    """
    n_parameters, names = _parameters(parameters)
    first = _initial_states(initial)
    labels = tuple(state_names)
    rule = by_state(transitions) if per_state else transitions  # type: ignore[arg-type]
    exploration = Exploration(
        reader=RuleReader(rule, n_parameters, labels),  # type: ignore[arg-type]
        absorbing=absorbing,
        limits=Limits.of(max_vertices, memory),
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
    if absorbing is not None:
        _require_exits(graph, absorbing)
    require_absorption(graph)
    _warn_of_idle_parameters(graph)
    return graph


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
        values = value_per_state(f"reward '{name}'", function, states, "biuf", names)
        out[name] = np.concatenate([[0.0], values.astype(np.float64)])
    return out


def _require_exits(graph: PhaseTypeGraph, absorbing: StateFunction) -> None:
    left = np.zeros(graph.n_vertices, dtype=np.bool_)
    left[0] = left[graph.edge_source] = left[graph.param_source] = True
    ends = np.flatnonzero(~left)
    stuck = ends[~np.asarray(absorbing(graph.states[ends]))]
    if stuck.size:
        raise GraphError(
            "The process can come to rest where it is not absorbed",
            problem="expected a transition out of each state that is not absorbing, got none out "
            f"of {describe_vertex(int(stuck[0]), graph.states, graph.state_names)}",
            context={"n_vertices": graph.n_vertices, "without a transition": stuck.size},
            resolution="leave a way out of each state, by the rule or by the settings of a bundled "
            "model, or have 'absorbing' name it",
        )


def _warn_of_idle_parameters(graph: PhaseTypeGraph) -> None:
    """Perhaps the rule gives numbers, which are constant rates, where coefficients were meant."""
    tables = (graph.param_coefficient, graph.start_param_coefficient)
    names = theta_labels(graph.parameter_names, graph.n_parameters)
    idle = [name for i, name in enumerate(names) if not any((t[:, i] != 0).any() for t in tables)]
    if idle:
        logging.getLogger("phasic_mpi").warning("No rate depends on %s", ", ".join(idle))
