"""One segment of a cache: an immutable file of block traces."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NamedTuple, NoReturn

import msgspec
import numpy as np

from phasic_mpi import hdf5
from phasic_mpi.errors import DamagedFileError, GraphError
from phasic_mpi.patterns import join_patterns
from phasic_mpi.trace import BlockTrace
from phasic_mpi.trace_check import check_patterns, check_pointers, check_range, refuse

FILETYPE = "phasic_mpi.segment"
VERSION = (1, 0)

_NAMES = {
    "key": "S64",
    "check": "S32",
    "pattern_ptr": "int64",
    "edge_ptr": "int64",
    "order": "int32",
    "row_ptr": "int64",
    "upper_ptr": "int64",
    "col": "int32",
    "edge_slot": "int64",
}


# Of one entry of L and U: its column.
_ENTRY_BYTES = 4

_Count = Annotated[int, msgspec.Meta(ge=0)]


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


def encode(traces: Sequence[BlockTrace]) -> hdf5.FileImage:
    """A segment of these traces; equal traces in equal order give equal bytes."""
    joined = join_patterns(traces)
    edge_shift = np.repeat(joined.entry_ptr[:-1], np.diff(joined.edge_ptr))
    entries = [entry_of(trace) for trace in traces]
    return hdf5.encode(
        FILETYPE,
        VERSION,
        datasets={
            "key": np.array([entry.key for entry in entries], dtype="S64"),
            "check": np.array([entry.check for entry in entries], dtype="S32"),
            "pattern_ptr": joined.pattern_ptr,
            "edge_ptr": joined.edge_ptr,
            "order": joined.order,
            "row_ptr": joined.row_ptr,
            "upper_ptr": joined.upper_ptr,
            "col": [trace.col for trace in traces],
            "edge_slot": joined.edge_slot + edge_shift,
        },
        attributes={},
        summary={field: [getattr(entry, field) for entry in entries] for field in Entry._fields},
    )


class _Summary(msgspec.Struct):
    """What the header of a segment says of its traces, one column for each field of entries."""

    key: list[str]
    check: list[str]
    n_vertices: list[_Count]
    n_edges: list[_Count]
    n_entries: list[_Count]


def _entries(path: Path, header: hdf5.Header) -> list[Entry]:
    """The entries that the header of a segment lists."""
    try:
        summary = msgspec.convert(header.summary, _Summary)
        columns = (getattr(summary, field) for field in Entry._fields)
        entries = [Entry(*values) for values in zip(*columns, strict=True)]
    except ValueError as exc:
        _damaged(path, f"expected the traces listed by fingerprints and counts: {exc}")
    n_bytes = _ENTRY_BYTES * sum(entry.n_entries for entry in entries)
    if n_bytes > header.body_bytes:
        _damaged(path, f"its traces have {n_bytes} bytes of entries, of {header.body_bytes} in all")
    return entries


def _damaged(path: Path, problem: str) -> NoReturn:
    raise DamagedFileError(
        f"{path} is damaged",
        problem=problem,
        context={"path": path},
        resolution="remove the file; a rerun records its blocks again",
    )


def read_entries(path: Path) -> list[Entry]:
    """What a segment holds, from its header alone.

    Raises:
        StoreError: The header is damaged, or the file is no segment of this layout.
        OSError: The file cannot be read.
    """
    return _entries(path, hdf5.read_header(path, filetype=FILETYPE, version=VERSION))


def read(path: Path) -> dict[str, BlockTrace]:
    """All traces of a segment by key, checked; large arrays are views of what was read.

    Raises:
        StoreError: The file is damaged, or no segment of this layout.
        OSError: The file cannot be read.
    """
    arrays, header = hdf5.read(
        path, filetype=FILETYPE, version=VERSION, names=dict.fromkeys(_NAMES, 0)
    )
    entries = _entries(path, header)
    try:
        _check(arrays, entries)
    except GraphError as exc:
        _damaged(path, exc.problem)
    return {entry.key: _cut(arrays, index, entry) for index, entry in enumerate(entries)}


def _check(arrays: hdf5.Arrays, entries: list[Entry]) -> None:
    """The arrays are what the header says, and consistent."""
    for name, dtype in _NAMES.items():
        if arrays[name].dtype != np.dtype(dtype) or arrays[name].ndim != 1:
            refuse(f"{name}: expected {dtype}, got {arrays[name].dtype}")
    for name in ("key", "check"):
        expected = [getattr(entry, name) for entry in entries]
        if arrays[name].astype(str).tolist() != expected:
            refuse(f"{name}: expected the fingerprints that the header lists")
    n_rows, n_edges = arrays["order"].size, arrays["edge_slot"].size
    check_pointers("edge_ptr", arrays["edge_ptr"], n_edges)
    check_patterns(*(arrays[n] for n in ("pattern_ptr", "order", "row_ptr", "upper_ptr", "col")))
    bounds = arrays["row_ptr"][arrays["pattern_ptr"]]
    sizes = {
        "n_vertices": np.diff(arrays["pattern_ptr"]),
        "n_edges": np.diff(arrays["edge_ptr"]),
        "n_entries": np.diff(bounds),
    }
    for name, actual in sizes.items():
        if actual.tolist() != [getattr(entry, name) for entry in entries]:
            refuse(f"{name}: expected the sizes that the header lists, for {n_rows} rows")
    first, last = (np.repeat(ends, sizes["n_edges"]) for ends in (bounds[:-1], bounds[1:]))
    check_range("edge_slot", arrays["edge_slot"] - first, 0, last - first)


def _cut(arrays: hdf5.Arrays, index: int, entry: Entry) -> BlockTrace:
    begin, end = arrays["pattern_ptr"][index : index + 2]
    edges = slice(*arrays["edge_ptr"][index : index + 2])
    first, last = arrays["row_ptr"][[begin, end]]
    return BlockTrace(
        key=entry.key,
        check=entry.check,
        order=arrays["order"][begin:end],
        row_ptr=arrays["row_ptr"][begin : end + 1] - first,
        upper_ptr=arrays["upper_ptr"][begin:end] - first,
        col=arrays["col"][first:last],
        edge_slot=arrays["edge_slot"][edges] - first,
    )
