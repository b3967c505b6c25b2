"""What pictures show of a graph and of a trace alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from phasic_mpi.graph import PhaseTypeGraph
from phasic_mpi.scc import Condensation, live_edges
from phasic_mpi.trace import EliminationTrace


@dataclass(frozen=True, eq=False)
class Structure:
    """Vertices, live edges and strongly connected components, sources first.

    Attributes:
        states: ``int32[n_vertices, state_length]``.
        edge_source: ``int32[n_edges]``, vertex each edge leaves; constant edges come first.
        edge_target: ``int32[n_edges]``, vertex each edge leads to.
        constant: ``float64[n_constant]``, rates of the constant edges.
        coefficient: ``float64[n_edges - n_constant, n_parameters]``, of the other edges.
        start_vertex: ``int32[n_start]``, vertex of each initial probability; constant ones first.
        start_constant: ``float64[n_start_constant]``, constant initial probabilities.
        start_coefficient: ``float64[n_start - n_start_constant, n_parameters]``.
        vertex: ``int32[n_transient]``, transient vertices, component by component.
        block_ptr: ``int64[n_blocks + 1]``, where each component begins in ``vertex``.
        parameter_names: A name for each entry of theta, or ``()``.
        state_names: A name for each integer of a state, or ``()``.
    """

    states: NDArray[np.int32]
    edge_source: NDArray[np.int32]
    edge_target: NDArray[np.int32]
    constant: NDArray[np.float64]
    coefficient: NDArray[np.float64]
    start_vertex: NDArray[np.int32]
    start_constant: NDArray[np.float64]
    start_coefficient: NDArray[np.float64]
    vertex: NDArray[np.int32]
    block_ptr: NDArray[np.int64]
    parameter_names: tuple[str, ...]
    state_names: tuple[str, ...]

    @classmethod
    def of_trace(cls, trace: EliminationTrace) -> Structure:
        """What a trace holds of it."""
        return cls(**{name: getattr(trace, name) for name in cls.__dataclass_fields__})

    @classmethod
    def of_graph(cls, graph: PhaseTypeGraph, condensation: Condensation) -> Structure:
        """The live edges of a graph and its components."""
        edges = live_edges(graph, condensation)
        return cls(
            states=graph.states,
            edge_source=edges.source,
            edge_target=edges.target,
            constant=edges.constant,
            coefficient=edges.coefficient,
            start_vertex=np.concatenate([graph.start_target, graph.start_param_target]),
            start_constant=graph.start_weight,
            start_coefficient=graph.start_param_coefficient,
            vertex=condensation.vertex,
            block_ptr=condensation.block_ptr,
            parameter_names=graph.parameter_names,
            state_names=graph.state_names,
        )

    @property
    def n_vertices(self) -> int:
        """Number of vertices, the starting and the absorbing ones included."""
        return int(self.states.shape[0])

    @property
    def n_edges(self) -> int:
        """Number of live edges, without those of the start."""
        return self.edge_source.size

    @property
    def n_parameters(self) -> int:
        """Length of theta."""
        return int(self.coefficient.shape[1])

    @property
    def n_blocks(self) -> int:
        """Number of strongly connected components of transient vertices."""
        return self.block_ptr.size - 1

    @property
    def largest_block(self) -> int:
        """Vertices of the largest component."""
        return int(np.diff(self.block_ptr).max())

    @property
    def n_absorbing(self) -> int:
        """Number of absorbing vertices."""
        return self.n_vertices - 1 - self.vertex.size
