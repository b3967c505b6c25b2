"""Edges of a graph as other programs want them: unique, in order, and with rates at a theta."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from phasic_mpi.errors import EvaluationError
from phasic_mpi.graph import PhaseTypeGraph
from phasic_mpi.names import describe_vertex
from phasic_mpi.theta import ThetaLike, describe_theta, theta_rows


def unique_edges(
    graph: PhaseTypeGraph, theta: ThetaLike | None
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Edges between vertices, parallel ones added up, ordered by source and target.

    Returns:
        Sources ``int64[m]``, targets ``int64[m]`` and rates ``float64[m, 1 + n_parameters]``, a
        constant and coefficients; ``float64[m, 1]`` at a theta, without edges of rate 0.

    Raises:
        EvaluationError: theta of a wrong shape, or a rate that is negative or not finite there.
    """
    n_columns = 1 if theta is None and not graph.n_parameters else 1 + graph.n_parameters
    source = np.concatenate([graph.edge_source, graph.param_source]).astype(np.int64)
    target = np.concatenate([graph.edge_target, graph.param_target]).astype(np.int64)
    rate = np.zeros((source.size, n_columns))
    rate[: graph.edge_source.size, 0] = graph.edge_weight
    rate[graph.edge_source.size :, 1:] = graph.param_coefficient
    if theta is not None:
        rate = _rates_at(graph, rate, source, target, theta)
    pair, slot = np.unique(source * graph.n_vertices + target, return_inverse=True)
    total = np.zeros((pair.size, rate.shape[1]))
    np.add.at(total, slot, rate)
    kept = (total != 0).any(axis=1)
    source, target = np.divmod(pair[kept], graph.n_vertices)
    return source, target, total[kept]


def single_theta(graph: PhaseTypeGraph, theta: ThetaLike) -> NDArray[np.float64]:
    """One theta as a vector, ``float64[n_parameters]``.

    Raises:
        EvaluationError: Several rows, or whatever :func:`phasic_mpi.theta.theta_rows` refuses.
    """
    rows = theta_rows(theta, graph.n_parameters, graph.parameter_names)
    if len(rows) != 1:
        raise EvaluationError(
            "The graph cannot be evaluated",
            problem=f"expected one theta, got {len(rows)}",
            resolution="give one row",
        )
    row: NDArray[np.float64] = rows[0]
    return row


def _rates_at(
    graph: PhaseTypeGraph,
    rate: NDArray[np.float64],
    source: NDArray[np.int64],
    target: NDArray[np.int64],
    theta: ThetaLike,
) -> NDArray[np.float64]:
    """Rates ``float64[m, 1]`` at a theta."""
    row = single_theta(graph, theta)
    value = rate @ np.append(1.0, row)
    legal = np.isfinite(value) & (value >= 0)
    if not legal.all():
        edge = int(np.argmin(legal))
        ends = [
            describe_vertex(int(vertex[edge]), graph.states, graph.state_names)
            for vertex in (source, target)
        ]
        raise EvaluationError(
            "The rates at theta are no rates",
            problem=f"edge from {ends[0]} to {ends[1]}: expected a finite rate of at least 0, got "
            f"{value[edge]}",
            context={"theta": describe_theta(row, graph.parameter_names)},
            resolution="choose a theta at which every rate is at least 0",
        )
    column: NDArray[np.float64] = value[:, np.newaxis]
    return column
