"""Patterns of several blocks one after another, as whole traces and cache segments hold them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from phasic_mpi.trace import BlockTrace, pointers


class JoinedPatterns(NamedTuple):
    """Patterns of blocks, concatenated; without their columns, which are what takes memory.

    Attributes:
        pattern_ptr: ``int64[n_patterns + 1]``, first row of each pattern.
        entry_ptr: ``int64[n_patterns + 1]``, first entry of each pattern.
        edge_ptr: ``int64[n_patterns + 1]``, first edge of each pattern.
        order: ``int32[n_rows]``, see :class:`BlockTrace`.
        row_ptr: ``int64[n_rows + 1]``, row starts among the entries of all patterns.
        upper_ptr: ``int64[n_rows]``, where U starts in each row.
        edge_slot: ``int64[n_edges]``, entry of each edge, counted from the first of its pattern.
    """

    pattern_ptr: NDArray[np.int64]
    entry_ptr: NDArray[np.int64]
    edge_ptr: NDArray[np.int64]
    order: NDArray[np.int32]
    row_ptr: NDArray[np.int64]
    upper_ptr: NDArray[np.int64]
    edge_slot: NDArray[np.int64]

    @classmethod
    def of_sizes(
        cls, n_vertices: Sequence[int], n_entries: Sequence[int], n_edges: Sequence[int]
    ) -> JoinedPatterns:
        """Room for patterns of these sizes, each of which is then :meth:`put` in its place."""
        pattern_ptr, entry_ptr, edge_ptr = map(pointers, (n_vertices, n_entries, n_edges))
        n_rows = int(pattern_ptr[-1])
        row_ptr = np.empty(n_rows + 1, dtype=np.int64)
        row_ptr[-1] = entry_ptr[-1]
        return cls(
            pattern_ptr=pattern_ptr,
            entry_ptr=entry_ptr,
            edge_ptr=edge_ptr,
            order=np.empty(n_rows, dtype=np.int32),
            row_ptr=row_ptr,
            upper_ptr=np.empty(n_rows, dtype=np.int64),
            edge_slot=np.empty(int(edge_ptr[-1]), dtype=np.int64),
        )

    def put(self, index: int, trace: BlockTrace) -> None:
        """Copies a pattern, of the right size, to its place."""
        begin, end = self.pattern_ptr[index : index + 2].tolist()
        first_edge, last_edge = self.edge_ptr[index : index + 2].tolist()
        shift = self.entry_ptr[index]
        self.order[begin:end] = trace.order
        np.add(trace.row_ptr[:-1], shift, out=self.row_ptr[begin:end])
        np.add(trace.upper_ptr, shift, out=self.upper_ptr[begin:end])
        self.edge_slot[first_edge:last_edge] = trace.edge_slot


def join_patterns(traces: Sequence[BlockTrace]) -> JoinedPatterns:
    """Concatenates patterns, all at once: graphs may have very many small blocks."""
    pattern_ptr = pointers([trace.n_vertices for trace in traces])
    entry_ptr = pointers([trace.n_entries for trace in traces])
    shift = np.repeat(entry_ptr[:-1], np.diff(pattern_ptr))
    row_start = _joined([trace.row_ptr[:-1] for trace in traces])
    return JoinedPatterns(
        pattern_ptr=pattern_ptr,
        entry_ptr=entry_ptr,
        edge_ptr=pointers([trace.n_edges for trace in traces]),
        order=_joined([trace.order for trace in traces], np.int32),
        row_ptr=np.append(row_start + shift, entry_ptr[-1]),
        upper_ptr=_joined([trace.upper_ptr for trace in traces]) + shift,
        edge_slot=_joined([trace.edge_slot for trace in traces]),
    )


def _joined(parts: list[NDArray[Any]], dtype: type = np.int64) -> NDArray[Any]:
    return np.concatenate([np.empty(0, dtype), *parts])
