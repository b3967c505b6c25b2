"""Files of any kind that are whole or absent."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from phasic_mpi.errors import StoreAccessError

Bytes = bytes | bytearray | memoryview


def write_atomically(
    path: Path,
    *pieces: Bytes,
    mode: int = 0o600,
    beginning: Callable[[], Bytes] | None = None,
) -> None:
    """Writes a file of these pieces that is either whole or absent, whatever happens meanwhile.

    Under a temporary name in the same directory, synced, renamed, and the directory synced. An
    existing file of that name is replaced. The umask takes from ``mode`` as ever.

    Args:
        path: The file.
        pieces: Its bytes.
        mode: Its permissions.
        beginning: Called when they are written; what it returns is written over the first of them.

    Raises:
        OSError: The file system refuses; it names the file, and no temporary one is left.
    """
    with _naming(path):
        _write_atomically(path, pieces, mode, beginning)


def _write_atomically(
    path: Path, pieces: Iterable[Bytes], mode: int, beginning: Callable[[], Bytes] | None
) -> None:
    # Not the process number: hosts that share a file system have equal ones.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    descriptor = os.open(temporary, flags, mode)
    try:
        try:
            for piece in pieces:
                _write_all(descriptor, piece)
            if beginning is not None:
                written_last = beginning()
                os.lseek(descriptor, 0, os.SEEK_SET)
                _write_all(descriptor, written_last)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.rename(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
        raise
    sync_directory(path.parent)


def _write_all(descriptor: int, piece: Bytes) -> None:
    remaining = memoryview(piece)
    while remaining:
        remaining = remaining[os.write(descriptor, remaining) :]


def sync_directory(path: Path) -> None:
    """Has the file system keep the names in a directory.

    Raises:
        OSError: It refuses; it names the directory.
    """
    with _naming(path):
        directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Has errors name the file that is meant: what is asked of a descriptor names none."""
    try:
        yield
    except OSError as exc:
        if exc.errno is None:
            raise
        raise OSError(exc.errno, os.strerror(exc.errno), str(path)) from exc


def require_writable(path: Path) -> None:
    """Checks, before any work is done, that a file can be written here.

    Raises:
        StoreAccessError: Its directory does not exist or cannot be written.
    """
    directory = path.parent
    if not os.access(directory, os.W_OK | os.X_OK) or path.is_dir():
        raise StoreAccessError(
            f"{path} cannot be written",
            problem="expected a file name in a directory that exists and can be written",
            context={"path": path.absolute()},
            resolution="make the directory, or name another file",
        )
