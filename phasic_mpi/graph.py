"""The graph of a phase-type distribution, as columns."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from phasic_mpi.errors import GraphError, GraphIndexError

# Rounding in a sum of initial probabilities must not make them illegal.
MASS_TOLERANCE = 1e-9

_REQUIRED = (
    "states",
    "edges",
    "start_edges",
    "param_edges",
    "start_param_edges",
    "param_length",
    "state_length",
    "n_vertices",
)
_OPTIONAL = ("vertex_indices", "constant_edges", "weight_mode", "dyn_ordering")


class Serializable(Protocol):
    """Anything that serializes like a ``phasic.Graph``."""

    def serialize(self) -> Mapping[str, Any]:
        """The fields of the graph."""


@dataclass(frozen=True, eq=False)
class PhaseTypeGraph:
    """A Markov jump process that ends in absorption.

    Vertex 0 is the start: its edges are the initial distribution. A vertex without outgoing edges
    is absorbing. An edge has a constant weight or ``coefficient @ theta``. Several vertices may
    carry the same state: a vertex is its index. Checked once, when built.

    Attributes:
        states: ``int32[n_vertices, state_length]``.
        edge_source: ``int32[n_constant]``, vertex that each constant edge leaves.
        edge_target: ``int32[n_constant]``, vertex that it leads to.
        edge_weight: ``float64[n_constant]``, rate, at least 0.
        param_source: ``int32[n_param]``, vertex that each parameterised edge leaves.
        param_target: ``int32[n_param]``, vertex that it leads to.
        param_coefficient: ``float64[n_param, n_parameters]``.
        start_target: ``int32[n_start]``, vertex of each constant initial probability.
        start_weight: ``float64[n_start]``; a sum below 1 leaves an atom at time zero.
        start_param_target: ``int32[n_start_param]``, the same for probabilities linear in theta.
        start_param_coefficient: ``float64[n_start_param, n_parameters]``.

    Raises:
        GraphError: An array of a wrong shape or type, a number that is not finite, a negative
            constant weight, an edge from or to the start, or too much initial probability.
        GraphIndexError: An edge that refers to a vertex the graph does not have.
    """

    states: NDArray[np.int32]
    edge_source: NDArray[np.int32]
    edge_target: NDArray[np.int32]
    edge_weight: NDArray[np.float64]
    param_source: NDArray[np.int32]
    param_target: NDArray[np.int32]
    param_coefficient: NDArray[np.float64]
    start_target: NDArray[np.int32]
    start_weight: NDArray[np.float64]
    start_param_target: NDArray[np.int32]
    start_param_coefficient: NDArray[np.float64]

    def __post_init__(self) -> None:
        _check_shapes(self)
        _check_indices(self)
        _check_numbers(self)
        _check_start(self)

    @property
    def n_vertices(self) -> int:
        """Number of vertices, the starting and the absorbing ones included."""
        return self.states.shape[0]

    @property
    def state_length(self) -> int:
        """Number of integers in a state."""
        return self.states.shape[1]

    @property
    def n_parameters(self) -> int:
        """Length of theta."""
        return self.param_coefficient.shape[1]

    @property
    def n_edges(self) -> int:
        """Number of edges, without those of the start."""
        return self.edge_source.size + self.param_source.size

    @classmethod
    def from_arrays(
        cls,
        *,
        n_vertices: int,
        states: ArrayLike | None = None,
        edge_source: ArrayLike = (),
        edge_target: ArrayLike = (),
        edge_weight: ArrayLike = (),
        param_source: ArrayLike = (),
        param_target: ArrayLike = (),
        param_coefficient: ArrayLike | None = None,
        start_target: ArrayLike = (),
        start_weight: ArrayLike = (),
        start_param_target: ArrayLike = (),
        start_param_coefficient: ArrayLike | None = None,
    ) -> PhaseTypeGraph:
        """Builds a graph from anything array-like; see the attributes of the class.

        ``states`` left out gives states of length 0.

        Raises:
            GraphError: An array is not what the class documents.
            GraphIndexError: An edge refers to a vertex the graph does not have.
        """
        blank = np.zeros((n_vertices, 0)) if states is None else states
        coefficient, start_coefficient = _coefficients(param_coefficient, start_param_coefficient)
        return cls(
            states=_integers("states", blank),
            edge_source=_integers("edge_source", edge_source),
            edge_target=_integers("edge_target", edge_target),
            edge_weight=_numbers("edge_weight", edge_weight),
            param_source=_integers("param_source", param_source),
            param_target=_integers("param_target", param_target),
            param_coefficient=coefficient,
            start_target=_integers("start_target", start_target),
            start_weight=_numbers("start_weight", start_weight),
            start_param_target=_integers("start_param_target", start_param_target),
            start_param_coefficient=start_coefficient,
        )

    @classmethod
    def from_phasic(cls, graph: Serializable) -> PhaseTypeGraph:
        """Takes over a ``phasic.Graph`` through its ``serialize()``; errors as below."""
        return cls.from_serialized(graph.serialize())

    @classmethod
    def from_serialized(cls, data: Mapping[str, Any]) -> PhaseTypeGraph:
        """Builds a graph from the fields of phasic's ``Graph.serialize()``.

        Args:
            data: Lists or arrays: ``states (n, d)``, ``edges (m, 3) [from, to, weight]``,
                ``param_edges (m, 2 + p) [from, to, c_1..c_p]``, ``start_edges (m, 2)``,
                ``start_param_edges (m, 1 + p)``, ``param_length``, ``state_length``,
                ``n_vertices``; optionally ``vertex_indices``, ``constant_edges``,
                ``weight_mode`` ("linear") and ``dyn_ordering``. Empty arrays may be ``[]``.

        Raises:
            GraphError: A field is missing, unknown or not as documented.
            GraphIndexError: An edge refers to a vertex the graph does not have.
        """
        _check_fields(data)
        n_vertices = _count(data, "n_vertices")
        state_length = _count(data, "state_length")
        n_parameters = _count(data, "param_length")
        states = _table(data, "states", state_length, n_rows=n_vertices)
        edges = _table(data, "edges", 3)
        param_edges = _table(data, "param_edges", 2 + n_parameters)
        start = _table(data, "start_edges", 2)
        start_param = _table(data, "start_param_edges", 1 + n_parameters)
        return cls.from_arrays(
            n_vertices=n_vertices,
            states=_integers("states", states),
            edge_source=_integers("edges[:, 0]", edges[:, 0]),
            edge_target=_integers("edges[:, 1]", edges[:, 1]),
            edge_weight=edges[:, 2],
            param_source=_integers("param_edges[:, 0]", param_edges[:, 0]),
            param_target=_integers("param_edges[:, 1]", param_edges[:, 1]),
            param_coefficient=param_edges[:, 2:],
            start_target=_integers("start_edges[:, 0]", start[:, 0]),
            start_weight=start[:, 1],
            start_param_target=_integers("start_param_edges[:, 0]", start_param[:, 0]),
            start_param_coefficient=start_param[:, 1:],
        )

    def serialize(self) -> dict[str, Any]:
        """The fields that :meth:`from_serialized` and phasic read, as arrays."""
        return {
            "states": self.states,
            "edges": np.column_stack([self.edge_source, self.edge_target, self.edge_weight]),
            "param_edges": np.column_stack(
                [self.param_source, self.param_target, self.param_coefficient]
            ),
            "start_edges": np.column_stack([self.start_target, self.start_weight]),
            "start_param_edges": np.column_stack(
                [self.start_param_target, self.start_param_coefficient]
            ),
            "param_length": self.n_parameters,
            "state_length": self.state_length,
            "n_vertices": self.n_vertices,
            "weight_mode": "linear",
        }

    def equals(self, other: PhaseTypeGraph) -> bool:
        """Whether both graphs hold the same numbers in the same order."""
        return all(
            np.array_equal(getattr(self, entry.name), getattr(other, entry.name))
            for entry in fields(self)
        )


def _refuse(problem: str, resolution: str, **context: object) -> GraphError:
    return GraphError("Graph is malformed", problem=problem, context=context, resolution=resolution)


def _check_fields(data: Mapping[str, Any]) -> None:
    missing = [name for name in _REQUIRED if name not in data]
    unknown = [name for name in data if name not in _REQUIRED + _OPTIONAL]
    if missing or unknown:
        raise _refuse(
            f"expected the fields {', '.join(_REQUIRED)}; missing: {missing}; unknown: {unknown}; "
            f"available: {list(data)}",
            "write the graph with Graph.serialize() or PhaseTypeGraph.serialize()",
        )
    mode = data.get("weight_mode", "linear")
    if mode != "linear":
        raise _refuse(
            f"field 'weight_mode': expected 'linear', got {mode!r}",
            "write weights that are linear in theta; other modes are not supported",
        )


def _count(data: Mapping[str, Any], name: str) -> int:
    value = data[name]
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 0:
        raise _refuse(
            f"field '{name}': expected an integer of at least 0, got {value!r}",
            "write the number of rows or columns as an integer",
        )
    return int(value)


def _table(
    data: Mapping[str, Any], name: str, n_columns: int, *, n_rows: int | None = None
) -> NDArray[np.float64]:
    try:
        table = np.asarray(data[name], dtype=np.float64)
    except (TypeError, ValueError) as exc:
        raise _refuse(
            f"field '{name}': expected rows of {n_columns} numbers: {exc}",
            "give every row the same number of numbers",
        ) from exc
    if table.size == 0:
        table = table.reshape(n_rows if n_columns == 0 and n_rows else 0, n_columns)
    expected = ("any" if n_rows is None else n_rows, n_columns)
    if table.ndim != 2 or table.shape[1] != n_columns or n_rows not in (None, table.shape[0]):
        raise _refuse(
            f"field '{name}': expected shape {expected}, got {table.shape}",
            "make the array agree with n_vertices, state_length and param_length",
        )
    return table


def _integers(name: str, values: ArrayLike) -> NDArray[np.int32]:
    array = np.asarray(values)
    if array.size == 0:
        return np.zeros(array.shape, dtype=np.int32)
    whole = np.asarray(array, dtype=np.float64)
    legal = (whole == np.floor(whole)) & (np.abs(whole) <= np.iinfo(np.int32).max)
    if array.dtype == bool or not legal.all():
        row = int(np.argmin(legal.reshape(array.shape[0], -1).all(axis=1)))
        raise _refuse(
            f"field '{name}', row {row}: expected 32-bit integers, got {array[row]!r}",
            "write indices and states as integers",
        )
    return np.ascontiguousarray(array, dtype=np.int32)


def _numbers(name: str, values: ArrayLike) -> NDArray[np.float64]:
    try:
        return np.ascontiguousarray(values, dtype=np.float64)
    except (TypeError, ValueError) as exc:
        raise _refuse(f"field '{name}': expected numbers: {exc}", "give numbers") from exc


def _coefficients(
    param: ArrayLike | None, start: ArrayLike | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both coefficient tables; one left out takes its number of columns from the other."""
    tables = [None if given is None else _numbers("coefficient", given) for given in (param, start)]
    n_parameters = next((t.shape[1] for t in tables if t is not None and t.ndim == 2), 0)
    first, second = (np.zeros((0, n_parameters)) if t is None else t for t in tables)
    return first, second


def _check_shapes(graph: PhaseTypeGraph) -> None:
    n_parameters = graph.param_coefficient.shape[-1]
    n_edges, n_param = graph.edge_source.shape[:1], graph.param_source.shape[:1]
    n_start, n_start_param = graph.start_target.shape[:1], graph.start_param_target.shape[:1]
    expected = {
        "states": (np.int32, (None, None)),
        "edge_source": (np.int32, n_edges),
        "edge_target": (np.int32, n_edges),
        "edge_weight": (np.float64, n_edges),
        "param_source": (np.int32, n_param),
        "param_target": (np.int32, n_param),
        "param_coefficient": (np.float64, (*n_param, n_parameters)),
        "start_target": (np.int32, n_start),
        "start_weight": (np.float64, n_start),
        "start_param_target": (np.int32, n_start_param),
        "start_param_coefficient": (np.float64, (*n_start_param, n_parameters)),
    }
    for name, (dtype, shape) in expected.items():
        array = getattr(graph, name)
        fits = len(shape) == array.ndim and all(
            size in (None, actual) for size, actual in zip(shape, array.shape, strict=True)
        )
        if array.dtype != dtype or not fits:
            raise _refuse(
                f"field '{name}': expected {np.dtype(dtype).name} of shape {shape}, got "
                f"{array.dtype} of shape {array.shape}",
                "use PhaseTypeGraph.from_arrays() and give columns of equal length",
            )


def _check_indices(graph: PhaseTypeGraph) -> None:
    for name in ("edge_source", "edge_target", "param_source", "param_target", "start_target",
                 "start_param_target"):
        index = getattr(graph, name)
        outside = (index < 0) | (index >= graph.n_vertices)
        if outside.any():
            row = int(np.argmax(outside))
            raise GraphIndexError(
                "Graph has an edge to a vertex that does not exist",
                problem=f"field '{name}', row {row}: expected a vertex in "
                f"0..{graph.n_vertices - 1}, got {index[row]}",
                context={"n_vertices": graph.n_vertices},
                resolution="correct the edge or add the vertex",
            )
        if (index == 0).any():
            raise _refuse(
                f"field '{name}', row {int(np.argmax(index == 0))}: expected a vertex other than "
                "0, the start, got 0",
                "give initial probabilities as start edges; nothing leads back to the start",
            )


def _check_numbers(graph: PhaseTypeGraph) -> None:
    for name in ("edge_weight", "param_coefficient", "start_weight", "start_param_coefficient"):
        numbers = getattr(graph, name)
        legal = np.isfinite(numbers)
        if name in ("edge_weight", "start_weight"):
            legal &= numbers >= 0
        if not legal.all():
            row = int(np.argmin(legal.reshape(legal.shape[0], -1).all(axis=1)))
            kind = "finite numbers" if numbers.ndim == 2 else "a finite number of at least 0"
            raise _refuse(
                f"field '{name}', row {row}: expected {kind}, got {numbers[row].tolist()}",
                "correct the weight",
            )


def _check_start(graph: PhaseTypeGraph) -> None:
    total = float(graph.start_weight.sum())
    n_start = graph.start_target.size + graph.start_param_target.size
    if n_start == 0 or total > 1 + MASS_TOLERANCE:
        raise _refuse(
            f"field 'start_edges': expected initial probabilities with a sum of at most 1, got "
            f"{n_start} with a sum of {total}",
            "give initial probabilities; nothing is normalised silently",
        )
    if graph.start_param_target.size == 0 and total < 1 - MASS_TOLERANCE:
        logging.getLogger("phasic_mpi").warning(
            "Initial probabilities sum to %.12g: the rest is an atom at time zero", total
        )
