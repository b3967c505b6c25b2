"""Graphs for phasic, which reads less than a graph can say."""

from __future__ import annotations

from typing import Any

import numpy as np

from phasic_mpi.errors import GraphError
from phasic_mpi.graph import MASS_TOLERANCE, PhaseTypeGraph
from phasic_mpi.interchange.edges import unique_edges


def phasic_fields(graph: PhaseTypeGraph) -> dict[str, Any]:
    """The fields of a graph in a form that ``phasic.Graph.from_serialized`` takes.

    They are those of ``graph.serialize()``, but for what phasic does not have. It tells vertices
    apart by their states: if several have the same one, or states are empty, the number of the
    vertex becomes a further integer of each state. Parallel edges are added up. Constant edges of a
    graph with parameters get a further parameter, the last one, which has to be 1.
    :meth:`PhaseTypeGraph.from_serialized` reads the fields too. Written for phasic 0.32.1.

    Raises:
        GraphError: Initial probabilities depend on theta, which phasic does not support, or do not
            sum to 1, to which phasic would scale them.
    """
    mass = float(graph.start_weight.sum())
    if graph.start_param_target.size or abs(mass - 1) > MASS_TOLERANCE:
        raise GraphError(
            "The graph cannot be given to phasic",
            problem="expected constant initial probabilities with a sum of 1, got "
            f"{graph.start_param_target.size} that depend on theta and a constant sum of {mass:g}",
            resolution="let the process start in one more state; phasic divides initial "
            "probabilities by their sum",
        )
    fields = graph.serialize()
    if len(np.unique(graph.states[1:], axis=0)) < graph.n_vertices - 1:
        numbers = np.arange(graph.n_vertices, dtype=np.int32)
        states = np.column_stack([graph.states, numbers])
        fields.update(states=states, state_length=states.shape[1])
        if graph.state_names:
            fields["state_names"] = [*graph.state_names, "vertex"]
    source, target, rate = unique_edges(graph, None)
    constant, varying = rate[:, :1], rate[:, 1:]
    edges = np.column_stack([source, target, constant])
    if not graph.n_parameters:
        fields["edges"] = edges
        return fields
    names = list(graph.parameter_names)
    if constant.any():
        varying = np.column_stack([varying, constant])
        names += ["constant"] if names else []
    fields.update(
        edges=edges[:0],
        param_edges=np.column_stack([source, target, varying]),
        start_param_edges=np.zeros((0, 1 + varying.shape[1])),
        param_length=varying.shape[1],
    )
    if names:
        fields["parameter_names"] = names
    return fields
