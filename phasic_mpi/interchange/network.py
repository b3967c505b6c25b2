"""Graphs from and to ``networkx``: a node for each state, a directed edge for each transition."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phasic_mpi.errors import GraphError, MissingDependencyError
from phasic_mpi.graph import PhaseTypeGraph
from phasic_mpi.names import short


def from_networkx(
    network: Any, *, initial: Hashable | Mapping[Hashable, float] | None = None
) -> PhaseTypeGraph:
    """A graph from a ``networkx.DiGraph`` or ``MultiDiGraph``.

    Nodes become the vertices 1, 2, ... in their order. An edge has an attribute ``rate``, a number,
    or ``coefficient``, a number for each parameter. Nodes may have attributes ``state`` (integers),
    ``initial`` (a probability), ``initial_coefficient`` (a number for each parameter) and
    ``rewards`` (numbers by name), each all of them or none, but for the initial ones. The network
    may have attributes ``parameter_names`` and ``state_names``.

    Args:
        network: The network.
        initial: A node, or probabilities by node, instead of the attributes ``initial``.

    Raises:
        GraphError: An edge without a rate or with both, attributes that are no numbers, an initial
            node that is not in the network, no initial node, or whatever
            :class:`PhaseTypeGraph` refuses.
        MissingDependencyError: networkx is not installed.
    """
    networkx = _networkx()
    if not isinstance(network, networkx.DiGraph):
        raise _refusal(f"expected a DiGraph or MultiDiGraph, got {type(network).__name__}")
    vertex_of = {node: index for index, node in enumerate(network, 1)}
    start, start_param = _initial(network, vertex_of, initial)
    rates: list[tuple[int, int, float]] = []
    varying: list[tuple[int, int, Any]] = []
    for source, target, data in network.edges(data=True):
        ends = vertex_of[source], vertex_of[target]
        place = f"edge {source!r} -> {target!r}"
        if ("rate" in data) == ("coefficient" in data):
            raise _refusal(
                f"{place}: expected an attribute 'rate' or 'coefficient', got {sorted(data)}"
            )
        if "rate" in data:
            rates.append((*ends, float(_numbers(place, data["rate"], 0))))
        else:
            varying.append((*ends, _numbers(place, data["coefficient"], 1)))
    return PhaseTypeGraph.from_arrays(
        n_vertices=len(vertex_of) + 1,
        states=_states(network),
        edge_source=[edge[0] for edge in rates],
        edge_target=[edge[1] for edge in rates],
        edge_weight=[edge[2] for edge in rates],
        param_source=[edge[0] for edge in varying],
        param_target=[edge[1] for edge in varying],
        param_coefficient=_rows([edge[2] for edge in varying]),
        start_target=list(start),
        start_weight=list(start.values()),
        start_param_target=list(start_param),
        start_param_coefficient=_rows(list(start_param.values())),
        parameter_names=network.graph.get("parameter_names", ()),
        state_names=network.graph.get("state_names", ()),
        rewards=_rewards(network),
    )


def _initial(
    network: Any,
    vertex_of: Mapping[Hashable, int],
    given: Hashable | Mapping[Hashable, float] | None,
) -> tuple[dict[int, float], dict[int, NDArray[np.float64]]]:
    """Initial probabilities by vertex, constant ones and coefficients."""
    if given is None:
        found = dict(network.nodes(data="initial"))
        varying = {
            vertex_of[node]: _numbers(f"node {node!r}", value, 1)
            for node, value in network.nodes(data="initial_coefficient")
            if value is not None
        }
        probability = {node: value for node, value in found.items() if value is not None}
    else:
        varying = {}
        probability = dict(given) if isinstance(given, Mapping) else {given: 1.0}
    strange = [node for node in probability if node not in vertex_of]
    if strange or not (probability or varying):
        found_nodes = f"{strange[0]!r}, which is none" if strange else "none"
        raise _refusal(f"expected nodes of the network to start in, got {found_nodes}")
    constant = {
        vertex_of[node]: float(_numbers(f"node {node!r}", value, 0))
        for node, value in probability.items()
    }
    return constant, varying


def _numbers(place: str, value: Any, n_dimensions: int) -> NDArray[np.float64]:
    try:
        array = np.asarray(value)
    except ValueError:
        array = np.array(None)  # lists of different lengths
    if array.ndim != n_dimensions or array.dtype.kind not in "iuf":
        expected = "a number" if n_dimensions == 0 else "a list of numbers"
        raise _refusal(f"{place}: expected {expected}, got {short(value)}")
    return array.astype(np.float64)


def _rows(rows: list[NDArray[np.float64]]) -> NDArray[np.float64] | None:
    if len({row.size for row in rows}) > 1:
        raise _refusal("expected as many coefficients on every edge, got different numbers")
    return np.array(rows) if rows else None


def _states(network: Any) -> NDArray[np.float64]:
    """States of all vertices; that of the start is zero."""
    rows = [state for _, state in network.nodes(data="state")]
    given = [row for row in rows if row is not None]
    if not given:
        return np.zeros((len(rows) + 1, 0))
    states = [_numbers("states of the nodes", row, 1) for row in given]
    lengths = {state.size for state in states}
    if len(given) < len(rows) or len(lengths) > 1:
        raise _refusal("expected a state of the same length at every node or at none")
    return np.array([np.zeros(lengths.pop()), *states])


def _rewards(network: Any) -> dict[str, list[float]]:
    rows = [{} if row is None else row for _, row in network.nodes(data="rewards")]
    strange = [row for row in rows if not isinstance(row, Mapping)]
    if strange:
        raise _refusal(f"expected rewards by name at each node, got {short(strange[0])}")
    names = dict.fromkeys(name for row in rows for name in row)
    if any(row.keys() != names.keys() for row in rows):
        raise _refusal("expected rewards of the same names at every node or at none")
    return {name: [0.0, *(row[name] for row in rows)] for name in names}


def to_networkx(graph: PhaseTypeGraph) -> Any:
    """The ``networkx.MultiDiGraph`` of a graph, with the attributes of :func:`from_networkx`.

    Nodes are the vertices from 1 on; the start is in the attributes ``initial``. Each edge of the
    graph is an edge.

    Raises:
        MissingDependencyError: networkx is not installed.
    """
    network = _networkx().MultiDiGraph(
        parameter_names=graph.parameter_names, state_names=graph.state_names
    )
    rewards = graph.rewards.T.tolist()
    for vertex, state in enumerate(graph.states.tolist()):
        if vertex:
            attributes: dict[str, Any] = {"state": tuple(state)} if state else {}
            if graph.reward_names:
                attributes["rewards"] = dict(zip(graph.reward_names, rewards[vertex], strict=True))
            network.add_node(vertex, **attributes)
    constant = zip(
        graph.edge_source.tolist(),
        graph.edge_target.tolist(),
        graph.edge_weight.tolist(),
        strict=True,
    )
    network.add_edges_from((u, v, {"rate": rate}) for u, v, rate in constant)
    varying = zip(
        graph.param_source.tolist(),
        graph.param_target.tolist(),
        graph.param_coefficient.tolist(),
        strict=True,
    )
    network.add_edges_from((u, v, {"coefficient": tuple(c)}) for u, v, c in varying)
    _mark_initial(network, graph)
    return network


def _mark_initial(network: Any, graph: PhaseTypeGraph) -> None:
    starts = zip(graph.start_target.tolist(), graph.start_weight.tolist(), strict=True)
    for vertex, weight in starts:
        node = network.nodes[vertex]
        node["initial"] = node.get("initial", 0.0) + weight
    table = graph.start_param_coefficient
    for vertex in np.unique(graph.start_param_target).tolist():
        total = table[graph.start_param_target == vertex].sum(axis=0)
        network.nodes[vertex]["initial_coefficient"] = tuple(total.tolist())


def _networkx() -> Any:
    try:
        import networkx
    except ImportError as exc:
        raise MissingDependencyError(
            "Networks cannot be read or written",
            problem=f"expected networkx, which does not import: {exc}",
            resolution="install it: pip install 'phasic_mpi[interchange]'",
        ) from exc
    return networkx


def _refusal(problem: str) -> GraphError:
    return GraphError(
        "The network is not a phase-type graph",
        problem=problem,
        resolution="give nodes and edges the attributes of from_networkx: rate or coefficient, and "
        "where it starts",
    )
