"""Checks that a trace is consistent, so that whatever reads it may trust every pointer and index.

All checks are over whole arrays at once: 84 million entries take a fraction of a second. What they
do not prove is that a pattern has all the fill that an elimination needs; the content key of a
block and the digest of a file stand for that.
"""

from __future__ import annotations

from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from phasic_mpi.errors import GraphError
from phasic_mpi.names import check_rewards, checked_names
from phasic_mpi.trace import EliminationTrace, Float64Array, Int32Array, Int64Array

AnyArray = NDArray[np.generic]
IndexArray = Int32Array | Int64Array
BoolArray = NDArray[np.bool_]

# Comparing this many entries at a time keeps the intermediate booleans in the processor's cache.
_CHUNK = 1 << 20


def check_trace(trace: EliminationTrace) -> None:
    """Checks every array of a trace, and that every edge adds to the slot that is its own.

    Raises:
        GraphError: Names the array and the index, with the expected and the actual value.
    """
    _check_shapes(trace)
    checked_names("parameter_names", trace.parameter_names, trace.n_parameters)
    checked_names("state_names", trace.state_names, trace.states.shape[1])
    check_rewards(trace.reward_names, trace.rewards, trace.n_vertices)
    check_patterns(trace.pattern_ptr, trace.order, trace.row_ptr, trace.upper_ptr, trace.col)
    _check_blocks(trace)
    position = _check_vertices(trace)
    block_of = np.repeat(np.arange(trace.n_blocks), np.diff(trace.block_ptr))
    _check_off_edges(trace, block_of)
    _check_edges(trace, position, block_of)
    _check_numbers(trace)


def check_patterns(
    pattern_ptr: Int64Array,
    order: Int32Array,
    row_ptr: Int64Array,
    upper_ptr: Int64Array,
    col: Int32Array,
) -> None:
    """Checks concatenated patterns of L and U, laid out as in :class:`EliminationTrace`.

    Pointers ascend and end with the arrays they point into, each order is a permutation, and each
    row ascends, in range, with L below the diagonal and U above it.

    Raises:
        GraphError: Names the array and the index, with the expected and the actual value.
    """
    n_rows = order.size
    check_pointers("pattern_ptr", pattern_ptr, n_rows)
    _check_size("row_ptr", row_ptr, n_rows + 1)
    _check_size("upper_ptr", upper_ptr, n_rows)
    check_pointers("row_ptr", row_ptr, col.size)
    inside = (row_ptr[:-1] <= upper_ptr) & (upper_ptr <= row_ptr[1:])
    _require(inside, "upper_ptr", upper_ptr, "a value between row_ptr of its row and of the next")
    size = np.repeat(np.diff(pattern_ptr), np.diff(pattern_ptr))
    first = np.repeat(pattern_ptr[:-1], np.diff(pattern_ptr))
    check_range("order", order, 0, size)
    seen = np.bincount(first + order, minlength=n_rows)
    _require(seen[first + order] == 1, "order", order, "each vertex of the pattern once")
    _check_rows(np.arange(n_rows) - first, size, row_ptr, upper_ptr, col)


def check_pointers(name: str, ptr: Int64Array, end: int, *, strictly: bool = False) -> None:
    """Checks that pointers ascend from 0 to ``end``; ``strictly`` if no range may be empty."""
    if ptr.size == 0:
        refuse(f"{name}: expected at least one pointer, got none")
    for index, expected in ((0, 0), (ptr.size - 1, end)):
        if ptr[index] != expected:
            refuse(f"{name}[{index}]: expected {expected}, got {ptr[index]}")
    # Compared, not subtracted: a difference of hostile pointers can overflow to a small number.
    falls = ptr[1:] <= ptr[:-1] if strictly else ptr[1:] < ptr[:-1]
    if falls.any():
        index = int(np.argmax(falls)) + 1
        bound = "more than" if strictly else "at least"
        refuse(f"{name}[{index}]: expected {bound} {ptr[index - 1]}, got {ptr[index]}")


def check_range(name: str, values: IndexArray, low: int, high: int | IndexArray) -> None:
    """Checks that ``low <= values < high``, where ``high`` is a number or one per value."""
    outside = (values < low) | (values >= high)
    if outside.any():
        index = int(np.argmax(outside))
        limit = high if isinstance(high, int) else high[index]
        refuse(f"{name}[{index}]: expected {low} <= value < {limit}, got {values[index]}")


def refuse(problem: str) -> NoReturn:
    """Raises the error that all checks of this module raise."""
    raise GraphError(
        "Trace is inconsistent",
        problem=problem,
        resolution="record the graph again; if the new trace is refused too, report it as a bug",
    )


def _check_shapes(trace: EliminationTrace) -> None:
    n, p, n_transient = trace.n_vertices, trace.n_parameters, trace.n_transient
    if n < 1 or p < 0:
        refuse(f"expected n_vertices >= 1 and n_parameters >= 0, got {n} and {p}")
    n_edges, n_constant = trace.edge_source.size, len(trace.constant)
    n_start, n_start_constant = trace.start_vertex.size, len(trace.start_constant)
    if n_constant > n_edges or n_start_constant > n_start:
        refuse(
            f"expected at most {n_edges} constants and {n_start} start_constants, "
            f"got {n_constant} and {n_start_constant}"
        )
    state_length = trace.states.shape[1] if trace.states.ndim == 2 else -1
    shapes: dict[str, tuple[type[np.generic], tuple[int, ...]]] = {
        "states": (np.int32, (n, max(state_length, 0))),
        "vertex": (np.int32, (n_transient,)),
        "block_ptr": (np.int64, (trace.n_blocks + 1,)),
        "block_pattern": (np.int32, (trace.n_blocks,)),
        "pattern_ptr": (np.int64, (trace.n_patterns + 1,)),
        "order": (np.int32, (trace.order.size,)),
        "row_ptr": (np.int64, (trace.order.size + 1,)),
        "upper_ptr": (np.int64, (trace.order.size,)),
        "col": (np.int32, (trace.col.size,)),
        "off_ptr": (np.int64, (n_transient + 1,)),
        "off_col": (np.int32, (trace.off_col.size,)),
        "edge_source": (np.int32, (n_edges,)),
        "edge_target": (np.int32, (n_edges,)),
        "edge_slot": (np.int64, (n_edges,)),
        "constant": (np.float64, (n_constant,)),
        "coefficient": (np.float64, (n_edges - n_constant, p)),
        "start_vertex": (np.int32, (n_start,)),
        "start_constant": (np.float64, (n_start_constant,)),
        "start_coefficient": (np.float64, (n_start - n_start_constant, p)),
    }
    for name, (dtype, shape) in shapes.items():
        array = getattr(trace, name)
        if array.dtype != dtype or array.shape != shape:
            expected = f"{np.dtype(dtype).name}{list(shape)}"
            refuse(f"{name}: expected {expected}, got {array.dtype}{list(array.shape)}")


def _check_rows(
    row: Int64Array, size: Int64Array, row_ptr: Int64Array, upper_ptr: Int64Array, col: Int32Array
) -> None:
    """Rows ascend, so their ends on either side of the diagonal bound the columns between."""
    for begin in range(0, col.size - 1, _CHUNK):
        part = col[begin : begin + _CHUNK + 1]
        falls = np.flatnonzero(part[1:] <= part[:-1]) + (begin + 1)
        within = row_ptr[np.searchsorted(row_ptr, falls)] != falls
        if within.any():
            entry = int(falls[np.argmax(within)])
            refuse(f"col[{entry}]: expected more than {col[entry - 1]} before it, got {col[entry]}")
    for first, last, low, high in (
        (row_ptr[:-1], upper_ptr, np.zeros_like(row), row),
        (upper_ptr, row_ptr[1:], row + 1, size),
    ):
        filled = np.flatnonzero(first < last)
        for entries in (first[filled], last[filled] - 1):
            outside = (col[entries] < low[filled]) | (col[entries] >= high[filled])
            if outside.any():
                worst = int(np.argmax(outside))
                bounds = f"{low[filled[worst]]} <= column < {high[filled[worst]]}"
                refuse(f"col[{entries[worst]}]: expected {bounds}, got {col[entries[worst]]}")


def _check_blocks(trace: EliminationTrace) -> None:
    check_pointers("block_ptr", trace.block_ptr, trace.n_transient, strictly=True)
    check_range("block_pattern", trace.block_pattern, -1, trace.n_patterns)
    # A block of one vertex has no pattern: -1 finds the 1 at the end.
    expected = np.append(np.diff(trace.pattern_ptr), 1)[trace.block_pattern]
    fits = np.diff(trace.block_ptr) == expected
    if not fits.all():
        block = int(np.argmin(fits))
        size = trace.block_ptr[block + 1] - trace.block_ptr[block]
        refuse(
            f"block_pattern[{block}]: expected a pattern of {size} vertices, "
            f"got {trace.block_pattern[block]} of {expected[block]}"
        )
    if len(set(trace.pattern_key)) < trace.n_patterns:
        refuse("pattern_key: expected distinct keys, got one twice")


def _check_vertices(trace: EliminationTrace) -> Int64Array:
    """Returns the position of each vertex plus one; 0 for the starting and the absorbing ones."""
    check_range("vertex", trace.vertex, 1, trace.n_vertices)
    check_range("start_vertex", trace.start_vertex, 1, trace.n_vertices)
    # Zeros take no memory before they are written, however many vertices a file claims to have.
    position = np.zeros(trace.n_vertices, dtype=np.int64)
    ascending = np.arange(1, trace.n_transient + 1)
    position[trace.vertex] = ascending
    _require(position[trace.vertex] == ascending, "vertex", trace.vertex, "each vertex once")
    return position


def _check_off_edges(trace: EliminationTrace, block_of: Int64Array) -> None:
    """Edges between blocks lead to later blocks."""
    check_pointers("off_ptr", trace.off_ptr, trace.off_col.size)
    check_range("off_col", trace.off_col, 0, trace.n_transient)
    source = np.repeat(block_of, np.diff(trace.off_ptr))
    later = block_of[trace.off_col] > source
    _require(later, "off_col", trace.off_col, "a position in a later block")


def _check_edges(trace: EliminationTrace, position: Int64Array, block_of: Int64Array) -> None:
    """Follows each edge to the place of its slot and compares the two ends."""
    check_range("edge_source", trace.edge_source, 1, trace.n_vertices)
    check_range("edge_target", trace.edge_target, 1, trace.n_vertices)
    check_range("edge_slot", trace.edge_slot, 0, trace.n_slots)
    source = position[trace.edge_source] - 1
    target = position[trace.edge_target] - 1
    _require(source >= 0, "edge_source", trace.edge_source, "a transient vertex")
    own = trace.edge_slot == trace.first_exit_slot + source
    own[target >= 0] = False
    inner = target >= 0
    inner[inner] = block_of[source[inner]] == block_of[target[inner]]
    between = (target >= 0) & ~inner
    own[inner] = _inner_slots(trace, inner, source[inner], target[inner], block_of)
    own[between] = _off_slots(trace, trace.edge_slot[between], source[between], target[between])
    _require(own, "edge_slot", trace.edge_slot, "the slot between the two ends of the edge")


def _inner_slots(
    trace: EliminationTrace,
    inner: BoolArray,
    source: Int64Array,
    target: Int64Array,
    block_of: Int64Array,
) -> BoolArray:
    """Whether slots of edges within blocks lie in the row of the source, column of the target."""
    block = block_of[source]
    first = trace.pattern_ptr[trace.block_pattern[block]]
    row_of = np.empty(trace.order.size, dtype=np.int64)
    base = np.repeat(trace.pattern_ptr[:-1], np.diff(trace.pattern_ptr))
    row_of[base + trace.order] = np.arange(trace.order.size)
    shift = first - trace.block_ptr[block]
    row, column = row_of[source + shift], row_of[target + shift] - first
    entry = trace.edge_slot[inner] - trace.value_ptr[block] + trace.row_ptr[first]
    found = (trace.row_ptr[row] <= entry) & (entry < trace.row_ptr[row + 1])
    found[found] = trace.col[entry[found]] == column[found]
    return found


def _off_slots(
    trace: EliminationTrace, slot: Int64Array, source: Int64Array, target: Int64Array
) -> BoolArray:
    """Whether slots of edges between blocks lie in the row of the source and lead to the target."""
    edge = slot - trace.first_off_slot
    found = (trace.off_ptr[source] <= edge) & (edge < trace.off_ptr[source + 1])
    found[found] = trace.off_col[edge[found]] == target[found]
    return found


def _check_numbers(trace: EliminationTrace) -> None:
    for name in ("constant", "start_constant"):
        values: Float64Array = getattr(trace, name)
        _require((values >= 0) & np.isfinite(values), name, values, "a finite number >= 0")
    for name in ("coefficient", "start_coefficient"):
        values = getattr(trace, name)
        finite: BoolArray = np.logical_and.reduce(np.isfinite(values), axis=1)
        _require(finite, name, values, "finite numbers")


def _check_size(name: str, array: AnyArray, size: int) -> None:
    if array.size != size:
        refuse(f"{name}: expected {size} values, got {array.size}")


def _require(good: BoolArray, name: str, values: AnyArray, expected: str) -> None:
    if not good.all():
        index = int(np.argmin(good))
        refuse(f"{name}[{index}]: expected {expected}, got {values[index]}")
