"""Graphs from and to sparse matrices of ``scipy.sparse``: the sub-intensity matrix of the field."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from phasic_mpi.errors import EvaluationError, GraphError, MissingDependencyError
from phasic_mpi.graph import PhaseTypeGraph
from phasic_mpi.interchange.edges import single_theta, unique_edges
from phasic_mpi.theta import ThetaLike, describe_theta

# Sums of rows are exit rates up to rounding in as many additions as a row has entries.
_ROUNDING = 4 * float(np.finfo(np.float64).eps)
_TOLERANCE = 1e-8


class SubIntensity(NamedTuple):
    """A phase-type distribution as matrices.

    Attributes:
        matrix: ``scipy.sparse.csr_array`` of float64, ``(t, t)``: rates between the transient
            vertices in ascending order, and minus the rate of leaving each on the diagonal.
        alpha: ``float64[t]``, initial probabilities; a sum below 1 leaves an atom at time zero.
        exit_rates: ``float64[t]``, rate of absorption from each, without the cancellation that
            the sums of the rows of ``matrix`` suffer.
    """

    matrix: Any
    alpha: NDArray[np.float64]
    exit_rates: NDArray[np.float64]


def from_scipy(
    matrix: Any,
    alpha: ArrayLike,
    *,
    exit_rates: ArrayLike | None = None,
    states: ArrayLike | None = None,
    state_names: Iterable[str] = (),
    rewards: Mapping[str, ArrayLike] | None = None,
) -> PhaseTypeGraph:
    """A graph from a sub-intensity matrix, or from the generator matrix of the whole chain.

    Row ``i`` becomes vertex ``i + 1``. A row without entries is an absorbing state. What a row
    lacks to a sum of zero is its rate to one more absorbing vertex, the last one, which is there
    if any row lacks something.

    Args:
        matrix: Sparse or dense, ``(n, n)``.
        alpha: ``float64[n]``, initial probabilities.
        exit_rates: ``float64[n]``, rates to that absorbing vertex, where sums of rows would lose
            digits. Left out, sums that rounding explains count as zero.
        states: ``int32[n, state_length]``.
        state_names: A name for each integer of a state.
        rewards: ``float64[n]`` for each name.

    Raises:
        GraphError: Shapes that do not fit, a number that is not finite, a negative rate, a row
            with a positive sum, or exit rates that are not the sums of the rows.
        MissingDependencyError: scipy is not installed.
    """
    coo = _coo(matrix)
    n = coo.shape[0]
    start = np.asarray(alpha, dtype=np.float64)
    if coo.shape != (n, n) or start.shape != (n,):
        raise _refusal(
            f"expected a square matrix and a probability for each row, got shapes {coo.shape} and "
            f"{start.shape}"
        )
    rate, source, target = coo.data.astype(np.float64), coo.row, coo.col
    between = (source != target) & (rate != 0)
    legal = np.isfinite(rate) & ((rate >= 0) | (source == target))
    if not legal.all():
        entry = int(np.argmin(legal))
        raise _refusal(
            f"entry ({source[entry]}, {target[entry]}): expected a finite rate of at least 0, got "
            f"{rate[entry]}"
        )
    leaving = _exit_rates(n, source, rate, exit_rates)
    (exits,) = np.nonzero(leaving)
    (first,) = np.nonzero(start)
    end = [n + 1] if exits.size else []
    table = np.zeros((n, 0), np.int32) if states is None else np.asarray(states)
    if table.ndim != 2 or len(table) != n:
        raise _refusal(f"expected {n} states of integers, got shape {table.shape}")
    return PhaseTypeGraph.from_arrays(
        n_vertices=1 + n + len(end),
        states=np.pad(table, ((1, len(end)), (0, 0))),
        edge_source=np.append(source[between] + 1, exits + 1),
        edge_target=np.append(target[between] + 1, np.full(exits.size, n + 1)),
        edge_weight=np.append(rate[between], leaving[exits]),
        start_target=first + 1,
        start_weight=start[first],
        state_names=state_names,
        rewards={name: np.pad(np.asarray(r), (1, len(end))) for name, r in (rewards or {}).items()},
    )


def _coo(matrix: Any) -> Any:
    try:
        from scipy import sparse
    except ImportError as exc:
        raise _missing(exc) from exc
    coo = sparse.coo_array(matrix)
    if coo.ndim != 2 or coo.dtype.kind not in "iuf":
        raise _refusal(f"expected a matrix of real numbers, got {coo.dtype} of shape {coo.shape}")
    coo.sum_duplicates()
    return coo


def _exit_rates(
    n: int, row: NDArray[np.int32], rate: NDArray[np.float64], given: ArrayLike | None
) -> NDArray[np.float64]:
    """Rates to the absorbing vertex that is not in the matrix, ``float64[n]``."""
    lacking = -_sums(row, rate, n)
    scale = _sums(row, np.abs(rate), n)
    count = np.bincount(row, minlength=n)
    if given is not None:
        exits = np.asarray(given, dtype=np.float64)
        fits = exits.shape == (n,)
        if not fits or not (np.abs(exits - lacking) <= _TOLERANCE * scale).all() or exits.min() < 0:
            raise _refusal(
                "expected exit rates of at least 0 that complete each row to a sum of 0, got "
                f"{'other ones' if fits else f'shape {exits.shape}'}"
            )
        return exits
    lacking[np.abs(lacking) <= _ROUNDING * count * scale] = 0.0
    if (lacking < 0).any():
        worst = int(np.argmax(lacking < 0))
        raise _refusal(
            f"row {worst}: expected a sum of at most 0, got {-lacking[worst]}: the diagonal holds "
            "minus the rate of leaving the state"
        )
    return lacking


def to_scipy(graph: PhaseTypeGraph, theta: ThetaLike = ()) -> SubIntensity:
    """The sub-intensity matrix, initial distribution and exit rates of a graph.

    Rows are the vertices that have edges, in ascending order.

    Args:
        graph: The graph.
        theta: Parameters, as a vector or by name; left out if there are none.

    Raises:
        EvaluationError: theta of a wrong shape, or a rate or an initial probability that is
            negative or not finite there.
        MissingDependencyError: scipy is not installed.
    """
    try:
        from scipy import sparse
    except ImportError as exc:
        raise _missing(exc) from exc
    source, target, rate = unique_edges(graph, theta)
    vertices = np.unique(np.append(graph.edge_source, graph.param_source))
    row_of = np.full(graph.n_vertices, -1)
    row_of[vertices] = np.arange(vertices.size)
    row, column, value = row_of[source], row_of[target], rate[:, 0]
    moves = source != target
    inner = moves & (column >= 0)
    exits = _sums(row[moves & ~inner], value[moves & ~inner], vertices.size)
    total = exits + _sums(row[inner], value[inner], vertices.size)
    diagonal = np.arange(vertices.size)
    entries = np.append(value[inner], -total)
    places = np.append(row[inner], diagonal), np.append(column[inner], diagonal)
    matrix = sparse.coo_array((entries, places), shape=(vertices.size, vertices.size)).tocsr()
    return SubIntensity(matrix, _alpha(graph, theta)[vertices], exits)


def _alpha(graph: PhaseTypeGraph, theta: ThetaLike) -> NDArray[np.float64]:
    """Initial probability of each vertex."""
    row = single_theta(graph, theta)
    alpha = _sums(graph.start_target, graph.start_weight, graph.n_vertices)
    alpha += _sums(graph.start_param_target, graph.start_param_coefficient @ row, graph.n_vertices)
    if not ((alpha >= 0) & np.isfinite(alpha)).all():
        raise EvaluationError(
            "The initial distribution at theta is none",
            problem=f"expected finite probabilities of at least 0, got {alpha.min()}",
            context={"theta": describe_theta(row, graph.parameter_names)},
            resolution="choose a theta at which every initial probability is at least 0",
        )
    return alpha


def _sums(index: NDArray[Any], values: NDArray[np.float64], n_rows: int) -> NDArray[np.float64]:
    sums = np.bincount(index, weights=values, minlength=n_rows)
    return sums.astype(np.float64)  # without any values, NumPy counts integers


def _refusal(problem: str) -> GraphError:
    return GraphError(
        "The matrix is not that of a phase-type distribution",
        problem=problem,
        resolution="give a sub-intensity matrix or a generator matrix, and its initial "
        "distribution",
    )


def _missing(exc: ImportError) -> MissingDependencyError:
    return MissingDependencyError(
        "Sparse matrices cannot be read or written",
        problem=f"expected scipy, which does not import: {exc}",
        resolution="install it: pip install 'phasic_mpi[interchange]'",
    )
