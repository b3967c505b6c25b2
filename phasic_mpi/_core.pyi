"""Types of the compiled core; ``src_cpp/module.cpp`` defines what is declared here.

Arrays must be C-contiguous and of the dtype given: nothing is converted. Bad arguments raise
``ValueError`` or ``TypeError``, and a lack of memory raises ``MemoryError``.
"""

from typing import TypedDict, final, type_check_only

import numpy as np
from numpy.typing import NDArray
from typing_extensions import CapsuleType

_Int32Array = NDArray[np.int32]
_Int64Array = NDArray[np.int64]

# Status code -> name.
STATUS_NAMES: dict[int, str]

@type_check_only
class Components(TypedDict):
    """What :func:`condense` returns; see ``phasic_mpi.scc.Condensation``."""

    block_ptr: _Int64Array
    vertex: _Int32Array
    position: _Int32Array
    internal_ptr: _Int64Array
    inner_ptr: _Int64Array
    inner_col: _Int32Array
    off_ptr: _Int64Array
    off_col: _Int32Array
    edge_place: _Int64Array

def condense(n_vertices: int, source: _Int32Array, target: _Int32Array) -> Components:
    """Strongly connected components in topological order, and the place of every edge."""

def trapped_vertices(n_vertices: int, source: _Int32Array, target: _Int32Array) -> _Int32Array:
    """Vertices from which no vertex without edges can be reached, ascending."""

def is_valid_block(row_ptr: _Int64Array, col: _Int32Array, n_below: int, n_boundary: int) -> bool:
    """Whether these are a block or a part of one; see ``phasic_mpi.scc.SccBlock``."""

def elimination_order(row_ptr: _Int64Array, col: _Int32Array) -> _Int32Array:
    """Vertex eliminated at each step; ``RuntimeError`` for a malformed pattern."""

def minimum_degree_order(row_ptr: _Int64Array, col: _Int32Array) -> _Int32Array:
    """The order of a block that is not cut, unless it is very small."""

def dissect(
    row_ptr: _Int64Array, col: _Int32Array, leaf_vertices: int
) -> tuple[_Int32Array, _Int32Array]:
    """Cuts a block by separators until its parts have at most ``leaf_vertices``, or no cut pays.

    Returns the parent of each part (-1 for the first) and the part of each vertex (-1 for dense
    ones): an edge leads to the same part, one above it or one below it.
    """

# Blocks of fewer vertices are not cut.
CUT_VERTICES: int

def cut(
    row_ptr: _Int64Array, col: _Int32Array, leaf_vertices: int | None = None, n_threads: int = 1
) -> list[tuple[_Int64Array, _Int32Array, int, int, _Int32Array]]:
    """Parts of a block: ``row_ptr, col, n_below, n_boundary, vertex``, in order of elimination.

    ``vertex``: of the block, for own vertices and then for the boundary. An empty list if the block
    is better recorded whole; with ``leaf_vertices`` it is cut in any case. The parts do not depend
    on the number of threads.
    """

def distinct(numbers: _Int64Array, end: int) -> tuple[_Int64Array, _Int64Array]:
    """The distinct ones of numbers from 0 to ``end - 1``, ascending, and the index of each number.

    As ``np.unique`` with ``return_inverse``, in linear time; takes a quarter of a byte for each
    possible number meanwhile. ``ValueError`` if one is out of range.
    """

def return_free_memory() -> None:
    """Has the C library give the system back what was freed, where it keeps that (glibc)."""

def join(
    row_ptr: _Int64Array,
    col: _Int32Array,
    parts: list[tuple[_Int32Array, int, _Int32Array, _Int64Array, _Int64Array, _Int32Array]],
    out: _Int32Array | None = None,
) -> tuple[_Int32Array, _Int64Array, _Int64Array, _Int32Array, _Int64Array]:
    """``order, row_ptr, upper_ptr, col, edge_slot`` of a block from those of its parts.

    Each part is ``vertex``, its number of own vertices, and what was recorded but for the slots;
    ``RuntimeError`` if that does not fit the block. ``out`` becomes ``col`` if it is given: as many
    entries as all parts have.
    """

def predict_cost(row_ptr: _Int64Array, col: _Int32Array, order: _Int32Array) -> tuple[int, int]:
    """Off-diagonal entries of L and U, and multiplications of the elimination, under ``order``.

    Exact for structurally symmetric patterns, upper bounds for others; takes hardly longer than
    reading the pattern.
    """

def count_cost(row_ptr: _Int64Array, col: _Int32Array, order: _Int32Array) -> tuple[int, int]:
    """What :func:`predict_cost` bounds, from the pattern of L and U itself."""

@final
class Exploration:
    """States of a process, found by the transitions that lead to them, and the edges between them.

    The vertex of a state is its number plus 1; numbers follow the order in which states are found.
    """

    def __init__(self, state_length: int, n_parameters: int) -> None: ...
    @property
    def n_states(self) -> int: ...
    @property
    def nbytes(self) -> int:
        """Bytes of the tables and of the states when they are read."""

    def insert(self, states: _Int32Array) -> _Int32Array:
        """Vertex of each row of ``int32[n, state_length]``; states not seen before get new ones."""

    def read(self, begin: int, end: int) -> _Int32Array:
        """``int32[end - begin, state_length]``, the states of these numbers."""

    def add(
        self,
        row_of: _Int32Array,
        row: _Int64Array,
        target: _Int32Array,
        coefficient: NDArray[np.float64],
        is_constant: bool,
    ) -> int:
        """Adds transitions whose rate is not zero; -1, or the first that is illegal.

        ``row_of`` says which row, of those that ``close`` ends, each explored state is; ``row``
        which of the explored states each transition leaves. ``target`` has a row for each, or one
        for all; ``coefficient`` one column per parameter, or a constant rate.
        """

    def close(self, first: int, n_rows: int) -> None:
        """Ends the exploration of so many states, of which the first is the vertex ``first``."""

    def take(self, is_constant: bool) -> tuple[_Int32Array, _Int32Array, NDArray[np.float64]]:
        """Moves source, target and coefficients of all edges of a kind out, sorted by both."""

def ffi_handlers() -> dict[str, CapsuleType]:
    """Handlers by name, as ``jax.ffi.register_ffi_target`` takes them."""

@final
class BlockStore:
    """Blocks on their way through the recorder; all methods may be called from any thread."""

    def __init__(self) -> None: ...
    @property
    def id(self) -> int: ...
    @property
    def size(self) -> int: ...
    @property
    def n_done(self) -> int: ...
    @property
    def max_concurrency(self) -> int: ...
    @property
    def cancelled(self) -> bool: ...
    def put(
        self, row_ptr: _Int64Array, col: _Int32Array, n_below: int = 0, n_boundary: int = 0
    ) -> int:
        """Copies a block, or a part of one, in and returns its handle."""

    def record(self, handle: int) -> int:
        """Records the block on this thread and returns its status."""

    def take(
        self, handle: int
    ) -> tuple[_Int32Array, _Int64Array, _Int64Array, _Int32Array, _Int64Array]:
        """Moves ``order, row_ptr, upper_ptr, col, edge_slot`` of a recorded block out.

        A part has rows for its own vertices and for its boundary, and no slots.
        """

    def drop(self, handle: int) -> None:
        """Forgets the block; a handle that is not held is no error."""

    def cancel(self) -> None:
        """Ends what runs and refuses what comes."""

@final
class Trace:
    """The arrays of an ``EliminationTrace`` that replay reads, checked once."""

    def __init__(
        self,
        *,
        block_ptr: _Int64Array,
        block_pattern: _Int32Array,
        value_ptr: _Int64Array,
        pattern_ptr: _Int64Array,
        order: _Int32Array,
        row_ptr: _Int64Array,
        upper_ptr: _Int64Array,
        col: _Int32Array,
        off_ptr: _Int64Array,
        off_col: _Int32Array,
    ) -> None: ...
    def count_updates(self) -> _Int64Array:
        """Multiplications, each with an addition, that factor each pattern."""

@final
class Plan:
    """A trace made ready for the handlers of XLA, which find it by its number while it lives.

    ``weight_slot``: ``int64[n_weights]``, slots of the trace that weights go to, ascending; raises
    ``ValueError`` if they do not fit the trace. ``supernodes``: whether blocks are eliminated in
    dense panels where there is one theta, all of them or none; ``None`` decides by what it costs.
    ``n_threads``: threads that make it, at least 1.
    """

    def __init__(
        self,
        trace: Trace,
        weight_slot: _Int64Array,
        supernodes: bool | None = None,
        n_threads: int = 1,
    ) -> None: ...
    @property
    def id(self) -> int: ...
    @property
    def n_lanes(self) -> int:
        """Theta that are factored side by side, with real numbers; 1 if one by one is faster."""
    def fewest_jumps(self, positions: _Int32Array) -> int:
        """Fewest edges from one of the positions to absorption; 0 if there is no way."""
    def time_solves(self, weight: NDArray[np.float64], at_least: float) -> float:
        """Seconds to factor and solve once for each row of ``float64[n_theta, n_weights]``.

        On the calling thread, with a right-hand side of ones and without XLA; repeated for
        ``at_least`` so many seconds.
        """

@final
class Workspaces:
    """Memory that factors hand on."""

    def __init__(self) -> None: ...

@final
class FactorPlan:
    """A trace made ready for factors of one theta that are kept; arguments as of :class:`Plan`.

    ``blocks``: a window of blocks, first and last but one, that alone is factored; all if not
    given. ``workspaces``: memory to share with other plans.
    """

    def __init__(
        self,
        trace: Trace,
        weight_slot: _Int64Array,
        supernodes: bool | None = None,
        blocks: tuple[int, int] | None = None,
        workspaces: Workspaces | None = None,
        n_threads: int = 1,
    ) -> None: ...
    @property
    def n_in_supernodes(self) -> int:
        """Blocks that are eliminated in dense panels."""

    def factor(self, weight: NDArray[np.float64], n_threads: int) -> Factor:
        """The factorisation at ``float64[n_weights]``; ``n_threads`` do not show in its bits."""

@final
class Factor:
    """A factorisation; it keeps the weights, which must not change."""

    @property
    def failed(self) -> int:
        """Position of a vertex that cannot be left at these weights, or -1."""

    def solve(self, x: NDArray[np.float64], transpose: bool = False) -> None:
        """Replaces ``x`` by the solution for this right-hand side.

        A factor of a window changes the positions of its blocks, for which those behind them must
        be solved; if transposed, those before them must be, and it adds to those behind.
        """
