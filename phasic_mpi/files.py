"""Files of any kind that are whole or absent."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from phasic_mpi.errors import StoreAccessError


def write_atomically(
    path: Path, image: bytes | bytearray | memoryview, *, mode: int = 0o600
) -> None:
    """Writes a file that is either whole or absent, whatever happens meanwhile.

    Under a temporary name in the same directory, synced, renamed, and the directory synced. An
    existing file of that name is replaced. The umask takes from ``mode`` as ever.

    Raises:
        OSError: The file system refuses; no temporary file is left.
    """
    # Not the process number: hosts that share a file system have equal ones.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    descriptor = os.open(temporary, flags, mode)
    try:
        try:
            remaining = memoryview(image)
            while remaining:
                remaining = remaining[os.write(descriptor, remaining) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.rename(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
        raise
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


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
