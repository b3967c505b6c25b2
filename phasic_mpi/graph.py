"""The graph of a phase-type distribution, as columns."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import chain
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from phasic_mpi.errors import GraphError, GraphIndexError
from phasic_mpi.log import get_logger
from phasic_mpi.names import check_rewards, checked_names, reward_by_name

# Rounding in a sum of initial probabilities must not make them illegal.
MASS_TOLERANCE = 1e-9

# Vertices and columns are counted in 32 bits.
_LARGEST_COUNT = int(np.iinfo(np.int32).max)
_LEAST = int(np.iinfo(np.int32).min)

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
_OPTIONAL = (
    "vertex_indices",
    "constant_edges",
    "weight_mode",
    "dyn_ordering",
    "parameter_names",
    "state_names",
    "rewards",
)

# What came from a file may be of any size; a message is not.
_SHORT = reprlib.Repr()
_SHORT.maxlist = _SHORT.maxtuple = 24
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 60


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
        parameter_names: A name for each entry of theta, or ``()``.
        state_names: A name for each integer of a state, or ``()``.
        reward_names: Names of the rewards that are kept with the graph.
        rewards: ``float64[n_rewards, n_vertices]``, these rewards per unit of time, of any sign.

    Raises:
        GraphError: An array of a wrong shape or type, a number that is not finite, a negative
            constant weight, an edge from or to the start, too much initial probability, or names
            that :func:`phasic_mpi.names.checked_names` refuses.
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
    parameter_names: tuple[str, ...]
    state_names: tuple[str, ...]
    reward_names: tuple[str, ...]
    rewards: NDArray[np.float64]

    def __post_init__(self) -> None:
        _check_shapes(self)
        _check_indices(self)
        _check_numbers(self)
        _check_start(self)
        checked_names("parameter_names", self.parameter_names, self.n_parameters)
        checked_names("state_names", self.state_names, self.state_length)
        check_rewards(self.reward_names, self.rewards, self.n_vertices)

    @property
    def n_vertices(self) -> int:
        """Number of vertices, the starting and the absorbing ones included."""
        return int(self.states.shape[0])

    @property
    def state_length(self) -> int:
        """Number of integers in a state."""
        return int(self.states.shape[1])

    @property
    def n_parameters(self) -> int:
        """Length of theta."""
        return int(self.param_coefficient.shape[1])

    @property
    def n_edges(self) -> int:
        """Number of edges, without those of the start."""
        return self.edge_source.size + self.param_source.size

    def reward(self, name: str) -> NDArray[np.float64]:
        """The reward of this name at each vertex, ``float64[n_vertices]``.

        Raises:
            EvaluationError: There is none; the message lists those there are.
        """
        return reward_by_name(name, self.reward_names, self.rewards)

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
        parameter_names: Iterable[str] = (),
        state_names: Iterable[str] = (),
        rewards: Mapping[str, ArrayLike] | None = None,
    ) -> PhaseTypeGraph:
        """Builds a graph from anything array-like; see the attributes of the class.

        ``states`` left out gives states of length 0. ``rewards`` holds one number per vertex, the
        starting and the absorbing ones included, for each name.

        Raises:
            GraphError: An array is not what the class documents.
            GraphIndexError: An edge refers to a vertex the graph does not have.
        """
        n_rows = _count("n_vertices", n_vertices)
        table = _integers("states", np.zeros((n_rows, 0)) if states is None else states)
        if table.shape[:1] != (n_rows,):
            raise _refuse(
                f"field 'states': expected {n_rows} rows, one per vertex, got an array of shape "
                f"{table.shape}",
                "make n_vertices and states agree",
            )
        coefficient, start_coefficient = _coefficients(param_coefficient, start_param_coefficient)
        reward_names, reward_table = _reward_table({} if rewards is None else rewards, n_rows)
        return cls(
            states=table,
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
            parameter_names=checked_names("parameter_names", parameter_names),
            state_names=checked_names("state_names", state_names),
            reward_names=reward_names,
            rewards=reward_table,
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
                ``n_vertices``. Optionally ``constant_edges``, further rows of ``edges`` (phasic
                puts there the edges that it adds itself beside parameterised ones);
                ``vertex_indices``, which number the rows 0, 1, ...; ``weight_mode`` ("linear"); and
                ``dyn_ordering``, how phasic orders its elimination, which changes no result and
                is not used. Names are ours, and phasic skips them: ``parameter_names``,
                ``state_names``, and ``rewards``, an object of one list of n_vertices numbers for
                each name. Empty arrays may be ``[]``. Whole floats are legal indices.

        Raises:
            GraphError: A field is missing, unknown or not as documented.
            GraphIndexError: An edge refers to a vertex the graph does not have.
        """
        _check_fields(data)
        n_vertices = _count("n_vertices", data["n_vertices"])
        state_length = _count("state_length", data["state_length"])
        n_parameters = _count("param_length", data["param_length"])
        if "vertex_indices" in data:
            _check_numbering(data["vertex_indices"], n_vertices)
        states = _table("states", data["states"], state_length, n_rows=n_vertices)
        source, target, weight = _constant_edges(data, n_vertices)
        param = _table("param_edges", data["param_edges"], 2 + n_parameters)
        start = _table("start_edges", data["start_edges"], 2)
        start_param = _table("start_param_edges", data["start_param_edges"], 1 + n_parameters)
        _check_weights("start_edges[:, 1]", start[:, 1])
        return cls.from_arrays(
            n_vertices=n_vertices,
            states=states,
            edge_source=source,
            edge_target=target,
            edge_weight=weight,
            param_source=_vertices("param_edges[:, 0]", param[:, 0], n_vertices),
            param_target=_vertices("param_edges[:, 1]", param[:, 1], n_vertices),
            param_coefficient=param[:, 2:],
            start_target=_vertices("start_edges[:, 0]", start[:, 0], n_vertices),
            start_weight=start[:, 1],
            start_param_target=_vertices("start_param_edges[:, 0]", start_param[:, 0], n_vertices),
            start_param_coefficient=start_param[:, 1:],
            parameter_names=data.get("parameter_names", ()),
            state_names=data.get("state_names", ()),
            rewards=_serialized_rewards(data.get("rewards", {}), n_vertices),
        )

    def serialize(self) -> dict[str, Any]:
        """The fields that :meth:`from_serialized` and phasic read, as arrays.

        Constant edges are all in ``edges``; names that the graph does not have are left out.
        """
        start_param = np.column_stack([self.start_param_target, self.start_param_coefficient])
        if self.n_parameters == 0 and not start_param.size:
            start_param = start_param.reshape(0, 0)  # phasic accepts nothing else
        names: dict[str, Any] = {
            "parameter_names": list(self.parameter_names),
            "state_names": list(self.state_names),
            "rewards": dict(zip(self.reward_names, self.rewards, strict=True)),
        }
        return {
            "states": self.states,
            "vertex_indices": np.arange(self.n_vertices, dtype=np.int32),
            "edges": np.column_stack([self.edge_source, self.edge_target, self.edge_weight]),
            "param_edges": np.column_stack(
                [self.param_source, self.param_target, self.param_coefficient]
            ),
            "start_edges": np.column_stack([self.start_target, self.start_weight]),
            "start_param_edges": start_param,
            "param_length": self.n_parameters,
            "state_length": self.state_length,
            "n_vertices": self.n_vertices,
            "weight_mode": "linear",
            **{name: value for name, value in names.items() if value},
        }

    def equals(self, other: PhaseTypeGraph) -> bool:
        """Whether both graphs hold the same numbers in the same order, and the same names."""
        return all(
            np.array_equal(getattr(self, entry.name), getattr(other, entry.name))
            for entry in fields(self)
        )


def _refuse(problem: str, resolution: str, **context: object) -> GraphError:
    return GraphError("Graph is malformed", problem=problem, context=context, resolution=resolution)


def _check_fields(data: Mapping[str, Any]) -> None:
    if not isinstance(data, Mapping):
        raise _refuse(
            f"expected an object with named fields, got {type(data).__name__}",
            "write the graph with Graph.serialize() or PhaseTypeGraph.serialize()",
        )
    missing = [name for name in _REQUIRED if name not in data]
    unknown = [name for name in data if name not in _REQUIRED + _OPTIONAL]
    if missing or unknown:
        raise _refuse(
            f"expected the fields {', '.join(_REQUIRED)} and perhaps {', '.join(_OPTIONAL)}; "
            f"missing: {missing}; unknown: {_SHORT.repr(unknown)}; available: "
            f"{_SHORT.repr(list(data))}",
            "write the graph with Graph.serialize() or PhaseTypeGraph.serialize()",
        )
    for name, legal, advice in (
        ("weight_mode", ("linear",), "write weights that are linear in theta, sum of c_i theta_i"),
        ("dyn_ordering", (False, True), "leave the field out; it is not used"),
    ):
        value = data.get(name, legal[0])
        if not any(type(value) is type(option) and value == option for option in legal):
            raise _refuse(
                f"field '{name}': expected {' or '.join(map(repr, legal))}, got "
                f"{_SHORT.repr(value)}",
                advice,
            )


def _count(name: str, value: Any) -> int:
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or not 0 <= value <= _LARGEST_COUNT:
        raise _refuse(
            f"field '{name}': expected an integer in 0..{_LARGEST_COUNT}, got {_SHORT.repr(value)}",
            "write the number of rows or columns as an integer",
        )
    return int(value)


def _check_numbering(given: Any, n_vertices: int) -> None:
    """phasic numbers its vertices in the order of the rows; any other number would be ambiguous."""
    numbers = _column("vertex_indices", given, n_vertices)
    wrong = numbers != np.arange(n_vertices)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise _refuse(
            f"field 'vertex_indices', row {row}: expected {row}, got {numbers[row]:g}",
            "number the vertices 0, 1, ... in the order of the rows of 'states', the start first; "
            "edges refer to rows",
        )


def _constant_edges(
    data: Mapping[str, Any], n_vertices: int
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float64]]:
    """Source, target and weight of ``edges``, then of ``constant_edges``."""
    parts, pairs = [], []
    for name in ("edges", "constant_edges"):
        table = _table(name, data.get(name, ()), 3)
        source = _vertices(f"{name}[:, 0]", table[:, 0], n_vertices)
        target = _vertices(f"{name}[:, 1]", table[:, 1], n_vertices)
        _check_weights(f"{name}[:, 2]", table[:, 2])
        parts.append((source, target, table[:, 2]))
        pairs.append(source * np.int64(n_vertices) + target)
    # Rows of one table add up, but an edge in both may as well be one edge written twice.
    twice = np.isin(pairs[1], pairs[0])
    if twice.any():
        row = int(np.argmax(twice))
        source, target, _ = parts[1]
        raise _refuse(
            f"field 'constant_edges', row {row}: expected an edge that is not in 'edges', got "
            f"{source[row]} -> {target[row]}, which is in both",
            "write each constant edge into one of the two fields",
        )
    source, target, weight = (np.concatenate(column) for column in zip(*parts, strict=True))
    return source, target, weight


def _table(
    name: str, rows: Any, n_columns: int, *, n_rows: int | None = None
) -> NDArray[np.float64]:
    """Rows of numbers as one array; no rows at all may have any shape, for want of numbers."""
    table = _numbers(name, rows) if hasattr(rows, "__array__") else _stack(name, rows, n_columns)
    if table.shape[:1] == (0,):
        table = np.zeros((n_rows if n_columns == 0 and n_rows else 0, n_columns))
    if table.ndim == 2 and len(table) and table.shape[1] != n_columns:
        raise _wrong_width(name, 0, n_columns, table.shape[1])
    if table.ndim != 2 or n_rows not in (None, len(table)):
        expected = ("any" if n_rows is None else n_rows, n_columns)
        raise _refuse(
            f"field '{name}': expected shape {expected}, got {table.shape}",
            "make the array agree with n_vertices, state_length and param_length",
        )
    return table


def _column(name: str, given: Any, n_rows: int) -> NDArray[np.float64]:
    """One number for each row of the states, from a list or an array."""
    if not hasattr(given, "__array__"):
        rows = [(number,) for number in given] if isinstance(given, list | tuple) else given
    else:
        rows = np.asarray(given)[:, np.newaxis] if np.ndim(given) == 1 else given
    return _table(name, rows, 1, n_rows=n_rows)[:, 0]


def _serialized_rewards(given: Any, n_vertices: int) -> dict[str, NDArray[np.float64]]:
    _require_named(given)
    return {name: _column(f"rewards.{name}", row, n_vertices) for name, row in given.items()}


def _reward_table(
    rewards: Mapping[str, ArrayLike], n_vertices: int
) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """Names and rows, ``float64[n_rewards, n_vertices]``, of rewards."""
    _require_named(rewards)
    names = checked_names("rewards", rewards)
    table = np.empty((len(names), n_vertices))
    for out, (name, row) in zip(table, rewards.items(), strict=True):
        numbers = _numbers(f"rewards.{name}", row)
        if numbers.shape != (n_vertices,):
            raise _refuse(
                f"field 'rewards.{name}': expected shape ({n_vertices},), got {numbers.shape}",
                "give one reward for each vertex, the starting and the absorbing ones included",
            )
        out[:] = numbers
    return names, table


def _require_named(rewards: Any) -> None:
    if not isinstance(rewards, Mapping):
        raise _refuse(
            f"field 'rewards': expected an array for each name, got {type(rewards).__name__}",
            "give a mapping (in JSON: an object) of names to one number per vertex",
        )


def _stack(name: str, rows: Any, n_columns: int) -> NDArray[np.float64]:
    """Stacks lists of numbers; NumPy would take true and "3" for numbers."""
    if not isinstance(rows, Sequence) or isinstance(rows, str | bytes):
        raise _refuse(
            f"field '{name}': expected a list of rows, got {type(rows).__name__}",
            "give a list of lists, or an array",
        )
    if not set(map(type, rows)) <= {list, tuple, np.ndarray}:
        row = next(i for i, r in enumerate(rows) if type(r) not in (list, tuple, np.ndarray))
        raise _refuse(
            f"field '{name}', row {row}: expected a list of {n_columns} numbers, got "
            f"{_SHORT.repr(rows[row])}",
            "give a list of lists, or an array",
        )
    lengths = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows))
    if (lengths != n_columns).any():
        row = int(np.argmax(lengths != n_columns))
        raise _wrong_width(name, row, n_columns, int(lengths[row]))
    types = set(map(type, chain.from_iterable(rows)))
    wrong = tuple(t for t in types if not _is_real(t))
    try:
        if not wrong:
            flat = np.fromiter(chain.from_iterable(rows), np.float64, count=int(lengths.sum()))
            return flat.reshape(len(rows), n_columns)
    except OverflowError:
        wrong = (int,)
    number, value = next(
        (i, v)
        for i, v in enumerate(chain.from_iterable(rows))
        if type(v) in wrong and not (_is_real(type(v)) and abs(v) < 2**1023)
    )
    row, column = divmod(number, n_columns)
    raise _refuse(
        f"field '{name}', row {row}, column {column}: expected a number, got {_SHORT.repr(value)}",
        "give rows of numbers",
    )


def _is_real(kind: type) -> bool:
    return issubclass(kind, int | float | np.integer | np.floating) and kind is not bool


def _wrong_width(name: str, row: int, expected: int, actual: int) -> GraphError:
    fixed = {"param_edges": 2, "start_param_edges": 1}.get(name)
    if fixed is None or actual < fixed:
        return _refuse(
            f"field '{name}', row {row}: expected {expected} numbers, got {actual}",
            "give every row the same number of numbers, in agreement with state_length",
        )
    return _refuse(
        f"field '{name}', row {row}: expected {fixed} + {expected - fixed} columns, of which "
        f"{expected - fixed} are coefficients because param_length is {expected - fixed}, got "
        f"{fixed} + {actual - fixed}",
        f"if all coefficients belong to theta, write param_length {actual - fixed}; coefficients "
        "beyond it, which phasic keeps for weight callbacks, are not supported",
    )


def _numbers(name: str, values: ArrayLike) -> NDArray[np.float64]:
    try:
        array = np.asarray(values)
    except (TypeError, ValueError) as exc:
        raise _refuse(f"field '{name}': expected numbers: {exc}", "give numbers") from exc
    if array.dtype.kind not in "iuf" and array.size:
        raise _refuse(
            f"field '{name}': expected integers or floats, got an array of {array.dtype}",
            "give numbers; rows of different lengths are none",
        )
    return np.ascontiguousarray(array, dtype=np.float64).reshape(array.shape)


def _integers(name: str, values: ArrayLike) -> NDArray[np.int32]:
    if isinstance(values, np.ndarray) and values.dtype == np.int32:
        return np.ascontiguousarray(values, dtype=np.int32).reshape(values.shape)
    whole = _numbers(name, values)
    legal = (whole == np.floor(whole)) & (whole >= _LEAST) & (whole <= _LARGEST_COUNT)
    if not legal.all():
        row = int(np.argmin(legal.reshape(legal.shape[0], -1).all(axis=1))) if legal.ndim else 0
        found = whole[row] if whole.ndim else whole
        raise _refuse(
            f"field '{name}', row {row}: expected 32-bit integers, got "
            f"{_SHORT.repr(found.tolist())}",
            "write indices and states as integers",
        )
    return whole.astype(np.int32)


def _vertices(name: str, values: ArrayLike, n_vertices: int) -> NDArray[np.int32]:
    """Indices of a field of a file, so that messages name its rows and not those of a column."""
    index = _integers(name, values)
    _check_vertices(name, index, n_vertices)
    return index


def _coefficients(
    param: ArrayLike | None, start: ArrayLike | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both coefficient tables; one left out takes its number of columns from the other."""
    given = {"param_coefficient": param, "start_param_coefficient": start}
    tables = {name: _numbers(name, table) for name, table in given.items() if table is not None}
    n_parameters = next((t.shape[1] for t in tables.values() if t.ndim == 2), 0)
    first, second = (tables.get(name, np.zeros((0, n_parameters))) for name in given)
    return first, second


def _check_shapes(graph: PhaseTypeGraph) -> None:
    groups = {
        "states": (np.int32, "states", 2),
        "edge_source": (np.int32, "edge_source", 1),
        "edge_target": (np.int32, "edge_source", 1),
        "edge_weight": (np.float64, "edge_source", 1),
        "param_source": (np.int32, "param_source", 1),
        "param_target": (np.int32, "param_source", 1),
        "param_coefficient": (np.float64, "param_source", 2),
        "start_target": (np.int32, "start_target", 1),
        "start_weight": (np.float64, "start_target", 1),
        "start_param_target": (np.int32, "start_param_target", 1),
        "start_param_coefficient": (np.float64, "start_param_target", 2),
    }
    n_parameters = graph.param_coefficient.shape[1:]
    for name, (dtype, leader, n_dimensions) in groups.items():
        array, rows = getattr(graph, name), getattr(graph, leader).shape[:1]
        columns = array.shape[1:] if name == "states" else n_parameters
        expected = rows if n_dimensions == 1 else rows + columns
        if array.dtype != dtype or array.ndim != n_dimensions or array.shape != expected:
            raise _refuse(
                f"field '{name}': expected {np.dtype(dtype).name} of {n_dimensions} dimensions and "
                f"shape {expected}, got {array.dtype} of shape {array.shape}",
                "use PhaseTypeGraph.from_arrays() and give columns of equal length",
            )


def _check_indices(graph: PhaseTypeGraph) -> None:
    for name in (
        "edge_source",
        "edge_target",
        "param_source",
        "param_target",
        "start_target",
        "start_param_target",
    ):
        _check_vertices(name, getattr(graph, name), graph.n_vertices)


def _check_vertices(name: str, index: NDArray[np.int32], n_vertices: int) -> None:
    outside = (index < 0) | (index >= n_vertices)
    if outside.any():
        row = int(np.argmax(outside))
        raise GraphIndexError(
            "Graph has an edge to a vertex that does not exist",
            problem=f"field '{name}', row {row}: expected a vertex in 0..{n_vertices - 1}, got "
            f"{index[row]}",
            context={"n_vertices": n_vertices},
            resolution="correct the edge or add the vertex",
        )
    if (index == 0).any():
        raise _refuse(
            f"field '{name}', row {int(np.argmax(index == 0))}: expected a vertex other than 0, "
            "the start, got 0",
            "give initial probabilities as start edges; nothing leads back to the start",
        )


def _check_numbers(graph: PhaseTypeGraph) -> None:
    _check_weights("edge_weight", graph.edge_weight)
    _check_weights("start_weight", graph.start_weight)
    for name in ("param_coefficient", "start_param_coefficient"):
        table = getattr(graph, name)
        finite = np.isfinite(table)
        if not finite.all():
            row = int(np.argmin(finite.all(axis=1)))
            raise _refuse(
                f"field '{name}', row {row}: expected finite numbers, got "
                f"{_SHORT.repr(table[row].tolist())}",
                "correct the coefficients",
            )


def _check_weights(name: str, weight: NDArray[np.float64]) -> None:
    legal = np.isfinite(weight) & (weight >= 0)
    if not legal.all():
        row = int(np.argmin(legal))
        raise _refuse(
            f"field '{name}', row {row}: expected a finite number of at least 0, got {weight[row]}",
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
        get_logger().warning(
            "Initial probabilities sum to %.12g: the rest is an atom at time zero", total
        )
