"""A process that works for this one on what it does not trust, within limits, and ends with it."""

from __future__ import annotations

import os
import resource
import select
import signal
import subprocess
import time
from collections.abc import Sequence
from types import TracebackType
from typing import IO, Self

from phasic_mpi import config

# How long a child may take to end once it says no more.
_ENDING_SECONDS = 1.0

# What a pipe holds: a child that says more on its standard error waits, until it is ended.
_PIPE_BYTES = 1 << 16

_SHOWN_CHARACTERS = 500


class ChildFailure(Exception):  # noqa: N818
    """What a child did instead of answering: expected and actual."""


class Child:
    """A program that is asked and answers through pipes, and has ended when the block is left.

    It is started anew, not forked: MPI and JAX have threads by then. Nothing of a launcher reaches
    it: see :func:`phasic_mpi.config.child_environment`. It is alone in its session, so that a
    signal to the group of this process is not for it.

    Args:
        command: The program and its arguments.
        descriptor: Of an open file, which the child has under the same number.
        memory_bytes: Address space that it may take.
        cpu_seconds: Time of a processor that it may take.

    Raises:
        OSError: The system starts no process, or sets no limits.
    """

    def __init__(
        self, command: Sequence[str], *, descriptor: int, memory_bytes: int, cpu_seconds: int
    ) -> None:
        self._cpu_seconds = cpu_seconds
        self.allow(0)
        self._process = subprocess.Popen(
            command,
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=(descriptor,),
            cwd="/",
            env=config.child_environment(),
            start_new_session=True,
        )
        limits = {
            resource.RLIMIT_AS: (memory_bytes, memory_bytes),
            # The first brings SIGXCPU, which says what it is for, the second SIGKILL.
            resource.RLIMIT_CPU: (cpu_seconds, cpu_seconds + 1),
            resource.RLIMIT_CORE: (0, 0),
            resource.RLIMIT_FSIZE: (0, 0),
        }
        try:
            for kind, limit in limits.items():
                _limit(self._process.pid, kind, *limit)
        except BaseException:
            self._end()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    def ask(self, request: bytes) -> None:
        """Sends a request, of less than a pipe holds.

        Raises:
            ChildFailure: The child has ended.
        """
        try:
            _pipe(self._process.stdin).write(request)
        except BrokenPipeError:
            raise ChildFailure(self._last_words()) from None

    def allow(self, seconds: float) -> None:
        """Sets the time, from now on, within which all that is still to come must be there."""
        self._seconds = seconds
        self._deadline = time.monotonic() + seconds

    def receive(self, room: memoryview) -> None:
        """Fills all of ``room``, unsigned bytes, with what the child says next.

        Raises:
            ChildFailure: It has ended before that, or the time is over.
        """
        answers = _pipe(self._process.stdout)
        poll = select.poll()
        poll.register(answers, select.POLLIN)
        n_expected = len(room)
        while room:
            if not poll.poll(1000 * max(0.0, self._deadline - time.monotonic())):
                raise ChildFailure(
                    f"expected the next {n_expected} bytes of an answer within "
                    f"{self._seconds:.0f} s, got {n_expected - len(room)}"
                )
            count = os.readv(answers.fileno(), [room])
            if not count:
                raise ChildFailure(self._last_words())
            room = room[count:]

    def _last_words(self) -> str:
        try:
            status = self._process.wait(_ENDING_SECONDS)
        except subprocess.TimeoutExpired:
            return "expected an answer, but the process says no more and does not end"
        if status >= 0:
            return f"expected an answer, but the process ended with status {status}{self._said()}"
        number = signal.Signals(-status)
        reason = {
            signal.SIGXCPU: f": it may use {self._cpu_seconds} s of a processor",
            signal.SIGKILL: ", as the system does when memory runs out",
        }.get(number, "")
        return f"expected an answer, but the process was ended by {number.name}{reason}"

    def _said(self) -> str:
        """The last line that the child wrote to its standard error; it has ended."""
        errors = _pipe(self._process.stderr)
        os.set_blocking(errors.fileno(), False)
        lines = (errors.read(_PIPE_BYTES) or b"").decode(errors="replace").split("\n")
        last = next((line for line in reversed(lines) if line.strip()), "")
        return f": {printable(last)}" if last else ""

    def _end(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            _pipe(pipe).close()


def printable(text: str) -> str:
    """What a child says, cut short and without what a terminal would obey."""
    shown = "".join(c if c.isprintable() else " " for c in text[:_SHOWN_CHARACTERS])
    return shown if len(text) <= _SHOWN_CHARACTERS else f"{shown}..."


def _limit(process: int, kind: int, soft: int, hard: int) -> None:
    """Sets a limit for good, or leaves a lower one that is there."""
    _, ceiling = resource.prlimit(process, kind)
    if ceiling != resource.RLIM_INFINITY:
        soft, hard = min(soft, ceiling), min(hard, ceiling)
    resource.prlimit(process, kind, (soft, hard))


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None  # all three were asked for
    return pipe
