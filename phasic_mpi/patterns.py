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
