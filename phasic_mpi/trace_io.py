"""Trace files: an elimination trace as HDF5, with a digest over every byte."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from phasic_mpi import hdf5
from phasic_mpi.errors import DamagedFileError, GraphError
from phasic_mpi.names import decode_names, encode_names
from phasic_mpi.trace import EliminationTrace
from phasic_mpi.trace_check import check_trace

FILETYPE = "phasic_mpi.trace"
VERSION = (1, 1)

_COUNTS = ("n_vertices", "n_parameters")
_KEYS = "pattern_key"
_NAMES = ("parameter_names", "state_names", "reward_names")
_DATASETS = [entry.name for entry in fields(EliminationTrace) if entry.name not in _COUNTS]
# The minor version that each came with.
_SINCE = {name: int(name in (*_NAMES, "rewards")) for name in _DATASETS}


def save_trace(trace: EliminationTrace, path: Path | str) -> int:
    """Writes a trace file, whole or not at all, and returns its size in bytes.

    Equal traces give equal bytes.

    Raises:
        OSError: The file system refuses.
    """
    scalars, arrays = trace.parts()
    texts = {name: encode_names(scalars.pop(name)) for name in (_KEYS, *_NAMES)}
    image = hdf5.encode(
        FILETYPE,
        VERSION,
        datasets={**arrays, **texts},
        attributes=scalars,
        summary=summary(trace),
    )
    return image.write(Path(path), mode=0o666)


def load_trace(path: Path | str) -> EliminationTrace:
    """Reads a trace file and checks every byte, pointer and index of it.

    Raises:
        StoreError: The file is damaged, of another kind, or of another major version.
        OSError: The file cannot be read.
    """
    path = Path(path)
    arrays, header = hdf5.read(path, filetype=FILETYPE, version=VERSION, names=_SINCE)
    scalars: dict[str, Any] = {name: int(header.summary[name]) for name in _COUNTS}
    arrays.setdefault("rewards", np.zeros((0, scalars["n_vertices"])))
    try:
        scalars |= {name: decode_names(arrays.pop(name, None)) for name in (_KEYS, *_NAMES)}
        trace = EliminationTrace.from_parts(scalars, arrays)
        check_trace(trace)
    except GraphError as exc:
        raise DamagedFileError(
            f"{path} is damaged",
            problem=exc.problem,
            context={"path": path},
            resolution="record the graph again",
        ) from exc
    return trace


def summary(trace: EliminationTrace) -> dict[str, Any]:
    """Sizes of a trace, which its file states before the arrays."""
    return {
        "n_vertices": trace.n_vertices,
        "n_parameters": trace.n_parameters,
        "n_transient": trace.n_transient,
        "n_edges": trace.n_edges,
        "n_blocks": trace.n_blocks,
        "n_patterns": trace.n_patterns,
        "n_entries": trace.n_entries,
        "nbytes": trace.nbytes,
    }
