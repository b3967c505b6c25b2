"""The cache: block traces kept between runs, in immutable segments, one directory per rank.

    DIRECTORY/rank-00000/<64 hexadecimal digits>.h5

A rank writes into its own directory only and never changes a segment: each is whole or absent. A
run with another number of ranks, or on another set of hosts, reads what all directories hold: the
ranks of a host divide the directories between them.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from phasic_mpi import files, hdf5, segment
from phasic_mpi.errors import DamagedFileError, StoreAccessError, StoreError
from phasic_mpi.log import get_logger
from phasic_mpi.trace import BlockTrace

T = TypeVar("T")

_RANK_DIRECTORY = re.compile(r"rank-(\d{5,})")
_SEGMENT = re.compile(r"[0-9a-f]{64}\.h5")
_TEMPORARY = re.compile(r"\.[0-9a-f]{64}\.h5\.[0-9a-f]+\.tmp")


class TraceStore:
    """The part of a cache that one rank reads and writes.

    Args:
        directory: The cache; made if it is not there.
        rank: Number of this rank, which names the directory it writes to.
        local_rank: Its number among the ranks of its host, which with ``local_size`` chooses the
            directories that it reads beside its own.
        local_size: Ranks on this host.

    Attributes:
        directory: The cache.
        n_failed_writes: Segments that could not be written.

    Raises:
        StoreAccessError: A directory cannot be made, is owned by somebody else, can be written by
            others, or is a symbolic link in the cache; ``directory`` itself may be one.
    """

    def __init__(self, directory: Path, *, rank: int, local_rank: int, local_size: int) -> None:
        self.directory = directory
        self._own = directory / f"rank-{rank:05d}"
        self._local_rank, self._local_size = local_rank, local_size
        self._path_of: dict[str, Path] = {}
        self.n_failed_writes = 0
        _make_private(directory)
        _make_private_in_cache(self._own)

    def fingerprints(self) -> dict[str, str]:
        """Key and check of every trace that this rank can read.

        Raises:
            StoreError: A segment is damaged; it is removed, so that a rerun records its blocks.
        """
        checks: dict[str, str] = {}
        for path in self._readable():
            for entry in _removing_damaged(path, segment.read_entries, []):
                checks[entry.key] = entry.check
                self._path_of[entry.key] = path
        return checks

    def load(self, keys: Iterable[str]) -> dict[str, BlockTrace]:
        """Reads traces that :meth:`fingerprints` has listed.

        Raises:
            StoreError: A segment is damaged; it is removed, so that a rerun records its blocks.
        """
        keys_in: dict[Path, list[str]] = {}
        for key in keys:
            keys_in.setdefault(self._path_of[key], []).append(key)
        traces: dict[str, BlockTrace] = {}
        for path, wanted in sorted(keys_in.items()):
            found = _removing_damaged(path, segment.read, wanted)
            traces.update((key, found[key]) for key in wanted)
        return traces

    def keep(self, traces: Sequence[BlockTrace]) -> None:
        """Writes a segment of these traces; a run goes on without it if the disk refuses.

        On return it survives a killed process and, where the file system keeps its promises, a
        loss of power.
        """
        image = segment.encode(traces)
        # Equal keys are equal traces, so a segment may be named by its keys.
        name = hashlib.sha256("".join(trace.key for trace in traces).encode()).hexdigest()
        path = self._own / f"{name}.h5"
        try:
            image.write(path)
        except OSError as exc:
            self.n_failed_writes += 1
            get_logger().warning(
                "Cannot cache %d traces (%d bytes) in %s: %s. The run goes on; a rerun will record "
                "these blocks again",
                len(traces),
                image.nbytes,
                self._own,
                exc,
            )
            return
        self._path_of.update((trace.key, path) for trace in traces)

    def places(self, keys: Iterable[str]) -> dict[str, str]:
        """Segment of each trace that was listed or kept here, relative to the cache.

        Raises:
            StoreError: A trace could not be kept.
        """
        keys = list(keys)
        missing = [key for key in keys if key not in self._path_of]
        if missing:
            raise StoreError(
                "Traces are not in the cache",
                problem=f"expected all of {len(keys)} there, but {len(missing)} could not be "
                f"written: see the warnings; the first is {missing[0]}",
                context={"path": self._own},
                resolution="make room for them and run again, or run without --no-gather",
            )
        return {key: str(self._path_of[key].relative_to(self.directory)) for key in keys}

    def _readable(self) -> Iterator[Path]:
        for directory in rank_directories(self.directory):
            number = int(directory.name.removeprefix("rank-"))
            if number % self._local_size == self._local_rank or directory == self._own:
                _require_private(directory)
                yield from segments(directory)


def rank_directories(directory: Path) -> list[Path]:
    """Directories of the ranks that have written to a cache.

    Raises:
        StoreAccessError: One is a symbolic link.
    """
    return _listed(directory, _RANK_DIRECTORY)


def segments(directory: Path) -> list[Path]:
    """Segments in the directory of one rank.

    Raises:
        StoreAccessError: One is a symbolic link.
    """
    return _listed(directory, _SEGMENT)


def _listed(directory: Path, names: re.Pattern[str]) -> list[Path]:
    """What is in a directory under such names; a link is refused."""
    paths = sorted(path for path in directory.iterdir() if names.fullmatch(path.name))
    for path in paths:
        _refuse_link(path)
    return paths


def prune(directory: Path, *, before: float | None = None) -> tuple[list[Path], int]:
    """Removes from a cache what is of no use, or of no use any more.

    Temporary files of killed processes, damaged segments, segments whose traces are all held by
    others; and segments that were written before a time.

    Args:
        directory: The cache; no run may be writing to it.
        before: Seconds since the epoch; ``math.inf`` removes everything.

    Returns:
        The files removed, and how many bytes they had.

    Raises:
        StoreError: The directory is no cache, or a segment that is not old has another layout:
            what cannot be read is not removed for that.
    """
    held: set[str] = set()
    removed, n_bytes = [], 0
    for path in [*_temporaries(directory), *all_segments(directory)]:
        status = path.stat()
        is_old = before is not None and status.st_mtime < before
        keys = set() if is_old else _keys_if_sound(path)
        if keys <= held:
            path.unlink()
            removed.append(path)
            n_bytes += status.st_size
        else:
            held |= keys
    return removed, n_bytes


def copy(source: Path, target: Path) -> list[Path]:
    """Copies to a cache what another holds and it lacks; returns the new segments.

    Every byte is checked on the way, and a segment appears in the target whole or not at all, so
    several processes may copy at once, also while a run writes to the source.

    Raises:
        StoreError: The source is no cache, or a segment of it is damaged.
        StoreAccessError: The target cannot be made, others can write to it, or a cache holds a
            symbolic link.
    """
    _make_private(target)
    copied = []
    for path in all_segments(source):
        place = target / path.relative_to(source)
        if not place.exists():
            image = hdf5.read_image(path)
            _make_private_in_cache(place.parent)
            files.write_atomically(place, image)
            copied.append(place)
    return copied


def all_segments(directory: Path) -> list[Path]:
    """Segments of all ranks of a cache.

    Raises:
        StoreError: The directory is no cache.
    """
    if not directory.is_dir():
        raise StoreError(
            f"{directory} is no cache",
            problem="expected a directory that runs have written to, got "
            + ("a file" if directory.exists() else "nothing"),
            context={"path": directory},
            resolution="give the directory that was given to 'run' as --cache",
        )
    return [path for own in rank_directories(directory) for path in segments(own)]


def _temporaries(directory: Path) -> list[Path]:
    return [
        path
        for own in (rank_directories(directory) if directory.is_dir() else [])
        for path in _listed(own, _TEMPORARY)
    ]


def _keys_if_sound(path: Path) -> set[str]:
    """Keys of a segment; none if it is damaged."""
    try:
        hdf5.check(path)
        return {entry.key for entry in segment.read_entries(path)}
    except DamagedFileError:
        return set()


def _removing_damaged(path: Path, read: Callable[[Path], T], keys: Sequence[str]) -> T:
    """What ``read`` makes of a segment; a damaged one is removed before the error goes on.

    ``keys`` are the traces that were wanted from it, for the message.
    """
    try:
        return read(path)
    except DamagedFileError as exc:
        path.unlink(missing_ok=True)
        raise StoreError(
            "A cache entry is damaged",
            problem=exc.problem,
            context={"path": path, "blocks": ", ".join(sorted(keys)) or "unknown"},
            resolution="run again: the file has been removed, so its blocks will be recorded "
            "again; if it happens twice, check the disk",
        ) from exc


def _make_private(path: Path) -> None:
    missing = [place for place in (path, *path.parents) if not place.exists()]
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        for made in missing:  # a synced file is lost with a directory that was not
            files.sync_directory(made.parent)
    except OSError as exc:
        raise StoreAccessError(
            "The cache directory cannot be made",
            problem=str(exc),
            context={"path": path},
            resolution="give another directory with --cache, or have this one's parent opened",
        ) from exc
    _require_private(path)


def _make_private_in_cache(path: Path) -> None:
    """A directory below the one that the user has named, which alone may be a link."""
    _refuse_link(path)
    _make_private(path)


def _refuse_link(path: Path) -> None:
    """What is written through a link, or read, may lie anywhere."""
    if path.is_symlink():
        raise StoreAccessError(
            "The cache holds a symbolic link",
            problem=f"expected what a run has written, got a link to {path.readlink()}",
            context={"path": path},
            resolution="remove the link; to keep a cache elsewhere, name that place with --cache",
        )


def _require_private(path: Path) -> None:
    """A directory that others can write to can hold what others have made up."""
    status = path.stat()
    mode = stat.S_IMODE(status.st_mode)
    if status.st_uid != os.getuid() or mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise StoreAccessError(
            "The cache directory is not safe",
            problem=f"expected a directory of user {os.getuid()} that nobody else can write to, "
            f"got one of user {status.st_uid} with mode {mode:04o}",
            context={"path": path},
            resolution=f"run: chmod 700 {path}; or give a directory of your own with --cache",
        )
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        raise StoreAccessError(
            "The cache directory cannot be used",
            problem=f"expected to be able to read and write it, its mode is {mode:04o}",
            context={"path": path},
            resolution=f"run: chmod 700 {path}; or give another directory with --cache",
        )
