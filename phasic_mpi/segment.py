"""One segment of a cache: an immutable file of block traces."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from phasic_mpi import hdf5
from phasic_mpi.errors import GraphError, StoreError
from phasic_mpi.scc import SccBlock
from phasic_mpi.trace import BlockTrace
from phasic_mpi.trace_check import check_patterns, check_pointers, check_range, refuse

FILETYPE = "phasic_mpi.segment"
VERSION = (1, 0)


class Entry(NamedTuple):
    """What a segment's header says of one trace; ``n_entries`` is that of L and U together."""

    key: str
    check: str
    n_vertices: int
    n_edges: int
    n_entries: int


def entry_of(trace: BlockTrace) -> Entry:
    """The entry of a trace in the header of its segment."""
    return Entry(trace.key, trace.check, trace.n_vertices, trace.n_edges, trace.n_entries)


def encode(traces: Sequence[BlockTrace]) -> memoryview:
    """Image of a segment of these traces; equal traces in equal order give equal bytes."""
    row_base = [0, *np.cumsum([trace.n_vertices for trace in traces]).tolist()]
    entry_base = [0, *np.cumsum([trace.n_entries for trace in traces]).tolist()]
    edge_base = [0, *np.cumsum([trace.n_edges for trace in traces]).tolist()]
    placed = list(zip(traces, entry_base[:-1], strict=True))
    entries = [entry_of(trace) for trace in traces]
    return hdf5.encode(
        FILETYPE,
        VERSION,
        datasets={
            "key": np.array([entry.key for entry in entries], dtype="S64"),
            "check": np.array([entry.check for entry in entries], dtype="S32"),
            "pattern_ptr": np.array(row_base, dtype=np.int64),
            "edge_ptr": np.array(edge_base, dtype=np.int64),
            "order": np.concatenate([trace.order for trace in traces]),
            "row_ptr": np.concatenate(
                [trace.row_ptr[:-1] + base for trace, base in placed] + [entry_base[-1:]]
            ),
            "upper_ptr": np.concatenate([trace.upper_ptr + base for trace, base in placed]),
            "col": np.concatenate([trace.col for trace in traces]),
            "edge_slot": np.concatenate([trace.edge_slot + base for trace, base in placed]),
        },
        attributes={},
        summary={
            field: [getattr(entry, field) for entry in entries] for field in Entry._fields
        },
    )
