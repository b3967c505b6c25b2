"""The two kinds of trace: of one block, and of a whole graph.

A trace is the pattern of a block-triangular LU factorisation, not a list of operations: orders,
row pointers, columns, and for every edge the slot that its weight is added to. Formulas and the
subtraction-free (GTH) arithmetic that reads a trace are in ``solve.hpp``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from phasic_mpi import _core
from phasic_mpi.errors import GraphError
from phasic_mpi.names import reward_by_name
from phasic_mpi.operations import Operation, count, expand

Int32Array = NDArray[np.int32]
Int64Array = NDArray[np.int64]
Float64Array = NDArray[np.float64]
AnyArray = NDArray[Any]


def pointers(counts: Sequence[int] | Int64Array) -> Int64Array:
    """Running totals of counts, from 0: where each part begins, and the last ends."""
    out = np.zeros(len(counts) + 1, dtype=np.int64)
    np.cumsum(counts, out=out[1:])
    return out


@dataclass(frozen=True, eq=False)
class BlockTrace:
    """Pattern of L and U of one strongly connected component, in elimination order.

    Row ``i`` belongs to the local vertex ``order[i]``. Its columns are elimination positions,
    ascending, without the diagonal: first those of L (below ``i``), then those of U.

    Attributes:
        key: Content key of the block, 64 hexadecimal digits of SHA-256.
        check: Second fingerprint of the block, 32 hexadecimal digits of BLAKE2b.
        order: ``int32[n_vertices]``, local vertex eliminated at each position.
        row_ptr: ``int64[n_vertices + 1]``, row starts in ``col``.
        upper_ptr: ``int64[n_vertices]``, where U starts in each row of ``col``.
        col: ``int32[n_entries]``, columns of L and U.
        edge_slot: ``int64[n_edges]``, entry of ``col`` that each internal edge of the block
            (in the block's CSR order) adds its weight to.
    """

    key: str
    check: str
    order: Int32Array
    row_ptr: Int64Array
    upper_ptr: Int64Array
    col: Int32Array
    edge_slot: Int64Array

    def copy(self) -> BlockTrace:
        """The same in arrays of its own: a view keeps all in memory that was read with it."""
        return BlockTrace(
            key=self.key,
            check=self.check,
            order=self.order.copy(),
            row_ptr=self.row_ptr.copy(),
            upper_ptr=self.upper_ptr.copy(),
            col=self.col.copy(),
            edge_slot=self.edge_slot.copy(),
        )

    @property
    def n_vertices(self) -> int:
        """Number of vertices in the block."""
        return self.order.size

    @property
    def n_edges(self) -> int:
        """Number of distinct internal edges of the block."""
        return self.edge_slot.size

    @property
    def n_entries(self) -> int:
        """Number of off-diagonal entries of L and U together."""
        return self.col.size

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        arrays = (self.order, self.row_ptr, self.upper_ptr, self.col, self.edge_slot)
        return sum(array.nbytes for array in arrays)


class BlockRow(NamedTuple):
    """One row of L and U in a block of a graph: column within the block and slot of each entry."""

    position: int
    lower: list[tuple[int, int]]
    upper: list[tuple[int, int]]


@dataclass(frozen=True, eq=False)
class EliminationTrace:
    """Everything needed to replay a graph at any theta; holds nothing that depends on theta.

    Transient vertices are listed block by block so that every edge between blocks points to a
    later position. Values at one theta live in one array of ``n_slots`` numbers: the entries of L
    and U block after block, then the edges between blocks, then one exit rate to absorption per
    transient vertex. Blocks with equal patterns share one.

    Attributes:
        n_vertices: Vertices of the graph, the starting and the absorbing ones included.
        n_parameters: Length of theta.
        states: ``int32[n_vertices, state_length]``.
        vertex: ``int32[n_transient]``, graph vertex at each position.
        block_ptr: ``int64[n_blocks + 1]``, first position of each block.
        block_pattern: ``int32[n_blocks]``, pattern of each block, -1 for a block of one vertex.
        pattern_key: Content key of each pattern.
        pattern_ptr: ``int64[n_patterns + 1]``, first row of each pattern.
        order: ``int32[n_rows]``, see :class:`BlockTrace`; the patterns are concatenated.
        row_ptr: ``int64[n_rows + 1]``, row starts in ``col``.
        upper_ptr: ``int64[n_rows]``, where U starts in each row of ``col``.
        col: ``int32[n_entries]``, elimination positions within the pattern.
        off_ptr: ``int64[n_transient + 1]``, row starts of the edges between blocks.
        off_col: ``int32[n_off]``, position that each edge between blocks leads to.
        edge_source: ``int32[n_edges]``, graph vertex each edge leaves; constant edges come first.
        edge_target: ``int32[n_edges]``, graph vertex each edge leads to.
        edge_slot: ``int64[n_edges]``, slot that the weight of each edge is added to.
        constant: ``float64[n_constant]``, weights of the constant edges.
        coefficient: ``float64[n_edges - n_constant, n_parameters]``, of the other edges.
        start_vertex: ``int32[n_start]``, vertex of each initial probability; constant ones first.
        start_constant: ``float64[n_start_constant]``, constant initial probabilities.
        start_coefficient: ``float64[n_start - n_start_constant, n_parameters]``.
        parameter_names: A name for each entry of theta, or ``()``.
        state_names: A name for each integer of a state, or ``()``.
        reward_names: Names of the rewards that are kept with the graph.
        rewards: ``float64[n_rewards, n_vertices]``, these rewards per unit of time.
    """

    n_vertices: int
    n_parameters: int
    states: Int32Array
    vertex: Int32Array
    block_ptr: Int64Array
    block_pattern: Int32Array
    pattern_key: tuple[str, ...]
    pattern_ptr: Int64Array
    order: Int32Array
    row_ptr: Int64Array
    upper_ptr: Int64Array
    col: Int32Array
    off_ptr: Int64Array
    off_col: Int32Array
    edge_source: Int32Array
    edge_target: Int32Array
    edge_slot: Int64Array
    constant: Float64Array
    coefficient: Float64Array
    start_vertex: Int32Array
    start_constant: Float64Array
    start_coefficient: Float64Array
    parameter_names: tuple[str, ...]
    state_names: tuple[str, ...]
    reward_names: tuple[str, ...]
    rewards: Float64Array

    @property
    def n_transient(self) -> int:
        """Number of transient vertices."""
        return self.vertex.size

    @property
    def n_blocks(self) -> int:
        """Number of strongly connected components of transient vertices."""
        return self.block_pattern.size

    @property
    def n_patterns(self) -> int:
        """Number of distinct patterns of blocks with more than one vertex."""
        return len(self.pattern_key)

    @property
    def n_edges(self) -> int:
        """Number of edges between vertices other than the starting vertex."""
        return self.edge_source.size

    @cached_property
    def value_ptr(self) -> Int64Array:
        """``int64[n_blocks + 1]``, first slot of the entries of each block."""
        entries = np.diff(self.row_ptr[self.pattern_ptr])
        per_block = np.zeros(self.n_blocks, dtype=np.int64)
        patterned = self.block_pattern >= 0
        per_block[patterned] = entries[self.block_pattern[patterned]]
        return pointers(per_block)

    @property
    def n_entries(self) -> int:
        """Off-diagonal entries of L and U over all blocks: numbers to hold per theta."""
        return int(self.value_ptr[-1])

    @property
    def first_off_slot(self) -> int:
        """Slot of the first edge between blocks."""
        return self.n_entries

    @property
    def first_exit_slot(self) -> int:
        """Slot of the exit rate to absorption at position 0."""
        return self.n_entries + self.off_col.size

    @property
    def n_slots(self) -> int:
        """Numbers that hold the summed weights at one theta."""
        return self.first_exit_slot + self.n_transient

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        _, arrays = self.parts()
        return sum(array.nbytes for array in arrays.values())

    def parts(self) -> tuple[dict[str, Any], dict[str, AnyArray]]:
        """Counts and keys, and arrays, by the names of their attributes."""
        values = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        arrays = {name: value for name, value in values.items() if isinstance(value, np.ndarray)}
        return {name: value for name, value in values.items() if name not in arrays}, arrays

    @classmethod
    def from_parts(
        cls, scalars: Mapping[str, Any], arrays: Mapping[str, AnyArray]
    ) -> EliminationTrace:
        """Puts together what :meth:`parts` took apart."""
        values: dict[str, Any] = {**scalars, **arrays}
        texts = ("pattern_key", "parameter_names", "state_names", "reward_names")
        return cls(**{**values, **{name: tuple(scalars[name]) for name in texts}})

    def reward(self, name: str) -> Float64Array:
        """The reward of this name at each vertex, ``float64[n_vertices]``.

        Raises:
            EvaluationError: There is none; the message lists those there are.
        """
        return reward_by_name(name, self.reward_names, self.rewards)

    def position(self) -> Int32Array:
        """``int32[n_vertices]``, position of each vertex, -1 for starting and absorbing ones."""
        position = np.full(self.n_vertices, -1, dtype=np.int32)
        position[self.vertex] = np.arange(self.n_transient, dtype=np.int32)
        return position

    def core(self) -> _core.Trace:
        """The arrays that the compiled core reads, checked by it once.

        Raises:
            GraphError: A pointer that does not ascend or an index out of range.
        """
        return self._checked

    @cached_property
    def _checked(self) -> _core.Trace:
        with self.refusing():
            return _core.Trace(
                block_ptr=self.block_ptr,
                block_pattern=self.block_pattern,
                value_ptr=self.value_ptr,
                pattern_ptr=self.pattern_ptr,
                order=self.order,
                row_ptr=self.row_ptr,
                upper_ptr=self.upper_ptr,
                col=self.col,
                off_ptr=self.off_ptr,
                off_col=self.off_col,
            )

    def distinct_slots(self, slot: Int64Array) -> tuple[Int64Array, Int64Array]:
        """The distinct ones of some slots, ascending, and the index among them of each.

        Raises:
            GraphError: As :meth:`core`, or a slot out of range.
        """
        self.core()  # whose check bounds the number of slots
        with self.refusing():
            return _core.distinct(slot, self.n_slots)

    def plan(self, weight_slot: Int64Array, *, n_threads: int = 1) -> _core.Plan:
        """Made ready for XLA, by ``n_threads``; see :class:`phasic_mpi._core.Plan`.

        Raises:
            GraphError: As :meth:`core`, or a pattern lacks entries that its elimination fills in.
        """
        with self.refusing():
            return _core.Plan(self.core(), weight_slot, n_threads=n_threads)

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """While inside, what the compiled core refuses is this trace.

        Raises:
            GraphError: It has refused it; says why, and what to do.
        """
        try:
            yield
        except GraphError:
            raise
        except ValueError as exc:
            raise GraphError(
                "Trace cannot be replayed",
                problem=str(exc),
                context={"n_blocks": self.n_blocks, "n_entries": self.n_entries},
                resolution="record the trace again; do not edit its arrays",
            ) from exc

    def operations(
        self, n_moments: int = 1, rewards: Float64Array | None = None
    ) -> Iterator[Operation]:
        """Expands the trace, lazily, into the scalar operations of its replay.

        Args:
            n_moments: Highest moment, at least 1; the last ``n_moments`` operations compute them.
            rewards: ``float64[n_vertices]``, reward per unit of time; 1 everywhere if not given.
        """
        reward = np.ones(self.n_transient) if rewards is None else rewards[self.vertex]
        return expand(self, reward, n_moments)

    def n_operations(self, n_moments: int = 1) -> int:
        """Number of operations that :meth:`operations` yields, without expanding them."""
        return count(self, n_moments, self.n_updates)

    @property
    def n_updates(self) -> int:
        """Multiplications, each with an addition, that eliminate the blocks at one theta."""
        return int(self._per_block(self.core().count_updates()).sum())

    @property
    def n_lower_entries(self) -> int:
        """Entries of L over all blocks."""
        lower = pointers(self.upper_ptr - self.row_ptr[:-1])
        return int(self._per_block(np.diff(lower[self.pattern_ptr])).sum())

    def block_rows(self, block: int) -> list[BlockRow]:
        """Rows of one block in elimination order."""
        first = int(self.block_ptr[block])
        pattern = int(self.block_pattern[block])
        if pattern < 0:
            return [BlockRow(first, [], [])]
        begin, end = (int(row) for row in self.pattern_ptr[pattern : pattern + 2])
        shift = int(self.value_ptr[block] - self.row_ptr[begin])
        rows = []
        for row in range(begin, end):
            entries = range(int(self.row_ptr[row]), int(self.row_ptr[row + 1]))
            pairs = [(int(self.col[entry]), entry + shift) for entry in entries]
            n_lower = int(self.upper_ptr[row]) - entries.start
            rows.append(BlockRow(first + int(self.order[row]), pairs[:n_lower], pairs[n_lower:]))
        return rows

    def _per_block(self, per_pattern: Int64Array) -> Int64Array:
        """Values of the patterns of all blocks of more than one vertex."""
        return per_pattern[self.block_pattern[self.block_pattern >= 0]]
