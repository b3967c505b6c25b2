"""A continuous-time Markov chain as model checkers see it, and the way from and to a graph.

States are numbered from 0: state ``i`` is vertex ``i + 1``, because vertex 0 of a graph is only the
initial distribution. Where a chain starts and which states absorb it is said by labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from phasic_mpi.errors import GraphError
from phasic_mpi.graph import PhaseTypeGraph
from phasic_mpi.interchange.edges import unique_edges
from phasic_mpi.names import theta_labels
from phasic_mpi.theta import ThetaLike

INITIAL = "init"
ABSORBING = "absorbing"


@dataclass(frozen=True, eq=False)
class Chain:
    """A chain with labelled states.

    Attributes:
        n_states: Number of states.
        source: ``int64[m]``, state that each transition leaves.
        target: ``int64[m]``, state that it leads to.
        coefficient: ``float64[m, 1 + n_parameters]``, its rate: a constant, then a coefficient for
            each parameter.
        labels: States that have each label, ``int64[*]``.
        states: ``int32[n_states, state_length]``, values of the variables.
        state_names: Names of the variables, or ``()``.
        rewards: Reward per unit of time in each state, ``float64[n_states]``, by name.
        parameters: Names of the parameters.
    """

    n_states: int
    source: NDArray[np.int64]
    target: NDArray[np.int64]
    coefficient: NDArray[np.float64]
    labels: Mapping[str, NDArray[np.int64]]
    states: NDArray[np.int32]
    state_names: tuple[str, ...] = ()
    rewards: Mapping[str, NDArray[np.float64]] | None = None
    parameters: tuple[str, ...] = ()


def to_graph(
    chain: Chain, *, absorbing: str | None, initial_probabilities: ArrayLike | None
) -> PhaseTypeGraph:
    """The time until the states of a label are reached, as a graph.

    Args:
        chain: The chain.
        absorbing: Label of the states that become absorbing; None for those that no transition
            leaves.
        initial_probabilities: A probability for each state of the label ``init``, in ascending
            order of the states; may be left out if there is one.

    Raises:
        GraphError: There is no such label, no state has it, or probabilities do not fit.
    """
    leaves = chain.source != chain.target
    leaves[leaves] = (chain.coefficient[leaves] != 0).any(axis=1)
    ends = _absorbing(chain, chain.source[leaves], absorbing)
    kept = leaves & ~ends[chain.source]
    source, target = chain.source[kept] + 1, chain.target[kept] + 1
    coefficient = chain.coefficient[kept]
    constant = coefficient[:, 0] != 0
    varying = (coefficient[:, 1:] != 0).any(axis=1)
    start = _labelled(chain, INITIAL)
    return PhaseTypeGraph.from_arrays(
        n_vertices=chain.n_states + 1,
        states=np.vstack([np.zeros_like(chain.states[:1]), chain.states]),
        edge_source=source[constant],
        edge_target=target[constant],
        edge_weight=coefficient[constant, 0],
        param_source=source[varying],
        param_target=target[varying],
        param_coefficient=coefficient[varying, 1:],
        start_target=start + 1,
        start_weight=_initial(start, initial_probabilities),
        parameter_names=chain.parameters,
        state_names=chain.state_names,
        rewards={name: np.append(0.0, row) for name, row in (chain.rewards or {}).items()},
    )


def _absorbing(chain: Chain, source: NDArray[np.int64], label: str | None) -> NDArray[np.bool_]:
    """Whether each state absorbs; ``source`` holds the states that transitions leave."""
    ends = np.zeros(chain.n_states, dtype=np.bool_)
    if label is None:
        ends[:] = True
        ends[source] = False
    else:
        ends[_labelled(chain, label)] = True
    if not ends.any():
        raise _refusal(
            "expected a state that no transition leaves, got none",
            "name the label of the states to stop at, such as absorbing='done'",
            labels=_listed(chain),
        )
    return ends


def _labelled(chain: Chain, label: str) -> NDArray[np.int64]:
    states = chain.labels.get(label)
    if states is None or not states.size:
        found = "a label that no state has" if states is not None else "no such label"
        raise _refusal(
            f"expected states of the label {label!r}, got {found}",
            "name a label that the file has, or export it with the model",
            labels=_listed(chain),
        )
    return states


def _listed(chain: Chain) -> str:
    return ", ".join(list(chain.labels)[:20]) or "none"


def _initial(states: NDArray[np.int64], probabilities: ArrayLike | None) -> NDArray[np.float64]:
    if probabilities is None and states.size == 1:
        return np.ones(1)
    given = np.asarray([] if probabilities is None else probabilities, dtype=np.float64)
    if given.shape != states.shape:
        raise _refusal(
            f"expected a probability for each of the {states.size} initial states, got "
            f"{'none' if probabilities is None else f'shape {given.shape}'}",
            "give initial_probabilities, in the order of the states; the formats of model "
            "checkers have none",
            states=states[:10].tolist(),
        )
    return given


def from_graph(graph: PhaseTypeGraph, theta: ThetaLike | None) -> Chain:
    """The chain of a graph, with the labels ``init`` and ``absorbing``.

    Absorbing states get a transition to themselves at rate 1, because model checkers want every
    state to have one. Transitions are unique and ordered by source and target.

    Args:
        graph: A graph that starts in one vertex with probability 1.
        theta: Where rates are evaluated, as a vector or by name; None keeps the parameters.

    Raises:
        GraphError: Several initial vertices, or an atom at time zero.
        EvaluationError: theta of a wrong shape, or a rate that is negative or not finite there.
    """
    start = _single_start(graph)
    n_states = graph.n_vertices - 1
    names = theta_labels(graph.parameter_names, graph.n_parameters)
    source, target, coefficient = unique_edges(graph, theta)
    ends = np.setdiff1d(np.arange(1, graph.n_vertices), source)
    loops = np.zeros((ends.size, coefficient.shape[1]))
    loops[:, :1] = 1.0
    source, target = np.append(source, ends) - 1, np.append(target, ends) - 1
    order = np.lexsort((target, source))
    return Chain(
        n_states=n_states,
        source=source[order],
        target=target[order],
        coefficient=np.vstack([coefficient, loops])[order],
        labels={INITIAL: np.array([start - 1]), ABSORBING: ends - 1},
        states=graph.states[1:],
        state_names=graph.state_names,
        rewards={
            name: row[1:] for name, row in zip(graph.reward_names, graph.rewards, strict=True)
        },
        parameters=names if theta is None else (),
    )


def _single_start(graph: PhaseTypeGraph) -> int:
    if graph.start_param_target.size or graph.start_weight.tolist() != [1.0]:
        raise _refusal(
            "expected one initial vertex of probability 1, got "
            f"{graph.start_target.size + graph.start_param_target.size} initial vertices with a "
            f"constant mass of {graph.start_weight.sum():g}",
            "the formats of model checkers have an initial state but no initial distribution: "
            "write JSON or HDF5, or give the graph one initial vertex",
        )
    return int(graph.start_target[0])


def _refusal(problem: str, resolution: str, **context: object) -> GraphError:
    return GraphError(
        "The chain and the graph do not fit",
        problem=problem,
        context=context,
        resolution=resolution,
    )
