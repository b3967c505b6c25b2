"""Log lines on stderr: one write each, so that lines of many ranks stay whole."""

from __future__ import annotations

import fcntl
import logging
import os
import stat
import termios
import time

LOGGER_NAME = "phasic_mpi"
LEVELS = ("debug", "info", "warning", "error")

_STDERR = 2

_LONGEST_DRAIN_SECONDS = 2.0


def get_logger() -> logging.Logger:
    """The logger of the package."""
    return logging.getLogger(LOGGER_NAME)


def write_line(text: str) -> None:
    """Writes ``text`` and a line end to stderr in one system call."""
    os.write(_STDERR, (text + "\n").encode("utf-8", "backslashreplace"))


def drain() -> None:
    """Waits, two seconds at most, until the launcher has read all that was written to stderr.

    What still lies in the pipe when MPI aborts is lost: launchers end without looking.
    """
    if not stat.S_ISFIFO(os.fstat(_STDERR).st_mode):
        return
    deadline = time.monotonic() + _LONGEST_DRAIN_SECONDS
    while any(fcntl.ioctl(_STDERR, termios.FIONREAD, bytes(4))) and time.monotonic() < deadline:
        time.sleep(1e-3)


class _LineHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        try:
            write_line(self.format(record))
        except OSError:
            self.handleError(record)


def configure(level: str, *, rank: int, size: int) -> None:
    """Sends the package's log to stderr from ``level`` on; several ranks name themselves.

    Rank 0 speaks for all: other ranks show warnings and errors only, unless ``level`` is "debug".
    """
    prefix = f"[rank {rank}/{size}] " if size > 1 else ""
    handler = _LineHandler()
    handler.setFormatter(logging.Formatter(f"{prefix}%(levelname)s %(message)s"))
    logger = get_logger()
    logger.handlers[:] = [handler]
    logger.propagate = False
    quiet = rank > 0 and level in ("info", "warning")
    logger.setLevel("WARNING" if quiet else level.upper())
