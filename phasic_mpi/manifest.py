"""Manifests: a graph, and where in a cache the traces of its blocks and parts lie.

``run --no-gather`` writes one in place of a trace, so that no rank ever holds all patterns.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np

from phasic_mpi import graph_io, hdf5, segment
from phasic_mpi.assembly import Assembly
from phasic_mpi.errors import DamagedFileError, StoreError
from phasic_mpi.graph import PhaseTypeGraph
from phasic_mpi.parts import divide, join_all
from phasic_mpi.scc import SccBlock, condense
from phasic_mpi.trace import BlockTrace, EliminationTrace

FILETYPE = "phasic_mpi.manifest"
VERSION = (1, 0)

# A segment relative to its cache, as the store names it.
_PLACE = re.compile(r"rank-\d{5,}/[0-9a-f]{64}\.h5")

_OWN = ("unit_key", "unit_check", "unit_segment", "segment")


@dataclass(frozen=True, eq=False)
class Manifest:
    """What :func:`save` has written.

    Attributes:
        graph: The graph.
        cache: The cache that holds the traces.
        checks: Check of each unit by key.
        places: Segment of each unit by key, relative to the cache.
    """

    graph: PhaseTypeGraph
    cache: Path
    checks: dict[str, str]
    places: dict[str, str]

    def n_entries(self, units: Iterable[SccBlock]) -> dict[str, int]:
        """Entries of L and U of the trace of each unit by key, from the headers of segments.

        Raises:
            StoreError: As :meth:`traces`, but only headers are looked at.
        """
        counts: dict[str, int] = {}
        for place, keys in self._wanted(units).items():
            with self._present(place):
                entries = segment.read_entries(self.cache / place)
            held = {entry.key: entry.n_entries for entry in entries}
            self._require_all(place, keys, held)
            counts.update((key, held[key]) for key in keys)
        return counts

    def traces(self, units: Iterable[SccBlock]) -> Iterator[BlockTrace]:
        """Reads the traces of these units, a segment at a time.

        Raises:
            StoreError: The manifest does not list one of them under its check, or a segment is
                not there, is damaged or does not hold what it should.
        """
        for place, keys in self._wanted(units).items():
            with self._present(place):
                held = segment.read(self.cache / place)
            self._require_all(place, keys, held)
            # A copy lets go of what else the segment holds, for other ranks.
            shared = len(keys) < len(held)
            for key in keys:
                yield held[key].copy() if shared else held[key]

    def _wanted(self, units: Iterable[SccBlock]) -> dict[str, list[str]]:
        """Keys of these units by segment, in the order in which units need them."""
        wanted: dict[str, list[str]] = {}
        for unit in units:
            if self.checks.get(unit.key) != unit.check:
                raise StoreError(
                    "The manifest is of another recording",
                    problem=f"expected the check {unit.check}, got {self.checks.get(unit.key)}",
                    context={"block": unit.key, "units listed": len(self.checks)},
                    resolution="record the graph again with this version of phasic_mpi",
                )
            wanted.setdefault(self.places[unit.key], []).append(unit.key)
        return wanted

    @contextmanager
    def _present(self, place: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            self._refuse(place, "expected it to be there, and it is not")

    def _require_all(self, place: str, keys: Iterable[str], held: Container[str]) -> None:
        missing = [key for key in keys if key not in held]
        if missing:
            self._refuse(place, f"expected the trace of {missing[0]}, which it does not hold")

    def _refuse(self, place: str, problem: str) -> NoReturn:
        raise StoreError(
            "A segment that a manifest needs cannot be used",
            problem=problem,
            context={"path": self.cache / place},
            resolution="put the cache back where the run wrote it, visible from this host, or run "
            "again",
        )


def save(manifest: Manifest, path: Path) -> int:
    """Writes a manifest, whole or not at all, and returns its size in bytes.

    Raises:
        OSError: The file system refuses.
    """
    checks, places = manifest.checks, manifest.places
    segments = sorted(set(places.values()))
    index = {place: number for number, place in enumerate(segments)}
    datasets = graph_io.columns(manifest.graph) | {
        "unit_key": np.array(list(checks), dtype="S64"),
        "unit_check": np.array(list(checks.values()), dtype="S32"),
        "unit_segment": np.array([index[places[key]] for key in checks], dtype=np.int64),
        "segment": np.array(segments, dtype="S128"),
    }
    facts = {
        **graph_io.summary(manifest.graph),
        "cache": str(manifest.cache.absolute()),
        "n_units": len(checks),
        "n_segments": len(segments),
    }
    image = hdf5.encode(FILETYPE, VERSION, datasets=datasets, attributes={}, summary=facts)
    return image.write(path, mode=0o666)


def load(path: Path) -> Manifest:
    """Reads a manifest and checks every byte of it; the cache is not touched.

    Raises:
        StoreError: The file is damaged, of another kind, or of another major version.
        OSError: The file cannot be read.
    """
    names = dict.fromkeys((*graph_io.COLUMNS, *_OWN), 0)
    arrays, header = hdf5.read(path, filetype=FILETYPE, version=VERSION, names=names)
    key, check, place, segments = (arrays.pop(name) for name in _OWN)
    listed = segments.astype(str).tolist()
    in_range = key.shape == check.shape == place.shape and set(place.tolist()) <= set(
        range(len(listed))
    )
    if not in_range or not all(map(_PLACE.fullmatch, listed)):
        raise DamagedFileError(
            f"{path} is damaged",
            problem=f"expected a segment of a rank's directory for each of {key.size} units",
            context={"path": path},
            resolution="run again: what is in the cache is not recorded again",
        )
    keys = key.astype(str).tolist()
    return Manifest(
        graph=graph_io.graph_from_columns(arrays),
        cache=Path(header.summary["cache"]),
        checks=dict(zip(keys, check.astype(str).tolist(), strict=True)),
        places={key: listed[index] for key, index in zip(keys, place.tolist(), strict=True)},
    )


def load_trace(path: Path, *, n_threads: int = 1) -> EliminationTrace:
    """The trace that the run would have gathered, read from the segments of its cache.

    Args:
        path: The manifest.
        n_threads: Threads that cut and join large blocks, at least 1.

    Raises:
        StoreError: See :func:`load` and :meth:`Manifest.traces`.
        PayloadError: What was read does not fit the blocks.
        OSError: A file cannot be read.
    """
    manifest = load(path)
    condensation = condense(manifest.graph)
    division = divide(condensation.distinct, n_threads=n_threads)
    n_entries = manifest.n_entries(division.units)
    assembly = Assembly(condensation, division, n_entries, n_threads=n_threads)
    for trace in manifest.traces(division.units):
        assembly.add(trace)
    return assembly.stitch(manifest.graph)


def block_traces(
    manifest: Manifest, blocks: tuple[SccBlock, ...], *, n_threads: int = 1
) -> dict[str, BlockTrace]:
    """Traces of whole blocks by key, those of cut ones joined from their parts.

    Args:
        manifest: Of a graph that has these blocks.
        blocks: Distinct blocks.
        n_threads: Threads that cut, at least 1.

    Raises:
        StoreError: See :meth:`Manifest.traces`.
        PayloadError: What was read does not fit the blocks.
    """
    division = divide(blocks, n_threads=n_threads)
    traces = {trace.key: trace for trace in manifest.traces(division.units)}
    join_all(division, traces)
    return traces
