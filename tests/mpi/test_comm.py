import os
import signal
import threading
import time
from functools import partial

import numpy as np
import pytest

from phasic_mpi import comm as mpi
from phasic_mpi.comm import Comm
from phasic_mpi.errors import (
    EnvironmentMismatchError,
    GraphError,
    RecordingCancelledError,
    StageError,
)

pytestmark = pytest.mark.mpi


def part_of(rank: int, size: int) -> bytes:
    return np.random.default_rng([rank, size]).bytes(size)


def test_every_rank_sees_what_every_rank_gives(comm: Comm) -> None:
    assert mpi.collect(comm, {"rank": comm.rank, "pad": "x" * (1000 * comm.rank)}) == [
        {"rank": rank, "pad": "x" * (1000 * rank)} for rank in range(comm.size)
    ]


def test_every_rank_gets_what_rank_0_shares(comm: Comm) -> None:
    value = ["a", "b"] if comm.rank == 0 else []
    assert mpi.share(comm, value, list[str]) == ["a", "b"]


def test_shared_arrays_keep_shape_and_type(comm: Comm) -> None:
    arrays = {
        "empty": np.zeros((0, 3)),
        "flat": np.arange(5, dtype=np.int32),
        "table": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    }
    received = mpi.share_arrays(comm, arrays if comm.rank == 0 else {})
    for name, array in arrays.items():
        assert received[name].dtype == array.dtype
        np.testing.assert_array_equal(received[name], array)


@pytest.mark.parametrize("chunk", [1, 7, 1000, 1 << 30])
@pytest.mark.parametrize("sizes", [(0, 0, 0), (5, 0, 9), (100, 1, 333), (0, 5000, 0)])
def test_parts_arrive_whole_in_pieces_of_any_size(
    comm: Comm, monkeypatch: pytest.MonkeyPatch, chunk: int, sizes: tuple[int, ...]
) -> None:
    monkeypatch.setattr(mpi, "_CHUNK_BYTES", max(chunk, comm.size))
    own = sizes[comm.rank % len(sizes)]
    parts = [part_of(rank, sizes[rank % len(sizes)]) for rank in range(comm.size)]
    received = mpi.scatter_bytes(comm, parts if comm.rank == 0 else None)
    assert bytes(received) == part_of(comm.rank, own)
    gathered = mpi.gather_bytes(comm, part_of(comm.rank, own))
    if comm.rank == 0:
        assert gathered is not None
        assert [bytes(part) for part in gathered] == parts
    else:
        assert gathered is None


def test_all_ranks_leave_an_agreement_when_all_succeed(comm: Comm) -> None:
    with mpi.agree(comm, "quiet"):
        pass


def test_a_failure_on_one_rank_is_the_same_error_on_all(comm: Comm) -> None:
    failing = comm.size - 1
    with pytest.raises(StageError) as caught, mpi.agree(comm, "split"):
        if comm.rank == failing:
            raise GraphError("It broke", problem="p", resolution="r")
    assert isinstance(caught.value, ValueError)
    assert list(caught.value.reports) == [failing]
    assert caught.value.reports[failing].kind == "GraphError"
    assert len(set(mpi.collect(comm, str(caught.value)))) == 1
    assert f"rank {failing} on " in str(caught.value)


def test_equal_failures_of_many_ranks_are_told_once(comm: Comm) -> None:
    with pytest.raises(StageError) as caught, mpi.agree(comm, "start"):
        raise GraphError("It broke everywhere", problem="p", resolution="r")
    assert str(caught.value).count("It broke everywhere") == 1
    assert len(caught.value.reports) == comm.size


def test_an_unexpected_error_comes_with_its_traceback(comm: Comm) -> None:
    with pytest.raises(StageError, match="ZeroDivisionError") as caught, mpi.agree(comm, "x"):
        if comm.rank == 0:
            1 / 0  # noqa: B018
    assert "Traceback" in str(caught.value)
    assert "test_comm.py" in str(caught.value)


def test_an_interrupt_on_one_rank_reaches_all(comm: Comm) -> None:
    with pytest.raises(StageError, match="KeyboardInterrupt"), mpi.agree(comm, "x"):
        if comm.rank == 0:
            raise KeyboardInterrupt


def test_work_returns_its_own_result_on_each_rank(comm: Comm) -> None:
    result = mpi.run_failfast(comm, "work", lambda: comm.rank + 1, cancel=lambda: None)
    assert result == comm.rank + 1


@pytest.mark.parametrize("which", ["first", "last", "all"])
def test_a_failure_while_working_ends_all_ranks_within_a_second(comm: Comm, which: str) -> None:
    failing = {"first": {0}, "last": {comm.size - 1}, "all": set(range(comm.size))}[which]
    cancelled = []

    def work() -> None:
        if comm.rank in failing:
            time.sleep(0.1)
            raise ValueError("bad")
        for _ in range(3000):
            time.sleep(0.01)
            if cancelled:
                raise RecordingCancelledError("Cancelled", problem="p", resolution="r")

    begin = time.monotonic()
    with pytest.raises(StageError) as caught:
        mpi.run_failfast(comm, "record", work, cancel=lambda: cancelled.append(1))
    # Milliseconds, where ranks have a core each; the work would take 30 s.
    assert time.monotonic() - begin < 1.1 * max(1, comm.size / len(os.sched_getaffinity(0)))
    assert set(caught.value.reports) == failing
    assert len(set(mpi.collect(comm, str(caught.value)))) == 1


def test_an_interrupt_waits_for_the_work_it_has_cancelled(comm: Comm) -> None:
    steps: list[str] = []
    listening, cancelled = threading.Event(), threading.Event()

    def work() -> None:
        listening.wait(30)
        if comm.rank == 0:
            signal.raise_signal(signal.SIGINT)  # served by the thread that listens
        cancelled.wait(30)
        time.sleep(0.2)
        steps.append("worked to the end")
        raise RecordingCancelledError("Cancelled", problem="p", resolution="r")

    with pytest.raises(StageError, match="KeyboardInterrupt") as caught:
        mpi.run_failfast(comm, "record", work, cancel=cancelled.set, on_idle=listening.set)
    assert steps == ["worked to the end"]
    assert list(caught.value.reports) == [0]
    assert "Traceback" not in str(caught.value)


def test_what_goes_on_meanwhile_is_collective_and_ends_the_work_if_it_fails(comm: Comm) -> None:
    shared: list[list[int]] = []
    begun, cancelled = threading.Event(), threading.Event()

    def work() -> str:
        begun.set()
        cancelled.wait(30)
        return "worked to the end"

    def share() -> None:
        assert begun.wait(30)
        shared.append(mpi.collect(comm, comm.rank))
        cancelled.set()

    def fail() -> None:
        share()
        with mpi.agree(comm, "send"):
            if comm.rank == comm.size - 1:
                raise ValueError("bad")

    run = partial(mpi.run_failfast, comm, "record", work)
    assert run(cancel=lambda: pytest.fail("late"), meanwhile=share) == "worked to the end"
    cancelled.clear()
    with pytest.raises(StageError, match="bad") as caught:
        run(cancel=cancelled.set, meanwhile=fail)
    assert (caught.value.stage, list(caught.value.reports)) == ("send", [comm.size - 1])
    assert shared == 2 * [list(range(comm.size))]
    assert run(cancel=lambda: pytest.fail("late")) == "worked to the end"


def test_an_interrupt_meanwhile_waits_for_the_work_it_has_cancelled(comm: Comm) -> None:
    cancelled = threading.Event()
    steps: list[str] = []

    def work() -> None:
        cancelled.wait(30)
        time.sleep(0.2)
        steps.append("worked to the end")

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        mpi.run_failfast(comm, "record", work, cancel=cancelled.set, meanwhile=interrupt)
    assert steps == ["worked to the end"]


def test_warnings_do_not_outlive_the_work_they_belong_to(comm: Comm) -> None:
    def fail() -> None:
        raise ValueError("bad")

    for _ in range(5):
        with pytest.raises(StageError):
            mpi.run_failfast(comm, "record", fail, cancel=lambda: None)
        assert mpi.run_failfast(comm, "record", lambda: 7, cancel=lambda: pytest.fail("late")) == 7


def test_ranks_that_differ_are_refused_with_both_values(comm: Comm) -> None:
    mpi.require_same_code(comm, {"numpy": "2.0"})
    if comm.size == 1:
        return
    version = "2.1" if comm.rank == comm.size - 1 else "2.0"
    expected = rf"numpy: rank 0 has 2.0, rank {comm.size - 1} has 2.1"
    with pytest.raises(EnvironmentMismatchError, match=expected):
        mpi.require_same_code(comm, {"numpy": version})


class Clock:
    """Takes the place of the module ``time``: sleeping takes exactly what was asked for."""

    def __init__(self) -> None:
        self.now = 0.0
        self.sleeps: list[tuple[float, float]] = []

    def perf_counter(self) -> float:
        self.now += 1e-6
        return self.now

    def sleep(self, seconds: float) -> None:
        self.sleeps.append((self.now, seconds))
        self.now += seconds


class Request:
    """Is done at the third test after a time: each takes one step of several."""

    def __init__(self, clock: Clock, done_at: float) -> None:
        self._clock = clock
        self._done_at = done_at
        self._steps_left = 3

    def Test(self) -> bool:  # noqa: N802 (as in mpi4py)
        self._steps_left -= self._clock.now >= self._done_at
        return self._steps_left <= 0


class Once:
    """Collectives of one rank: each is a request that takes some seconds."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self.mpi = self
        self.rank, self.size = 0, 1
        self._clock, self._seconds = clock, seconds

    def Iallreduce(self, *_: object) -> Request:  # noqa: N802 (as in mpi4py)
        return Request(self._clock, self._clock.now + self._seconds)


@pytest.mark.parametrize("seconds", [0.0, 1e-3, 0.05, 2.0])
def test_a_wait_ends_an_eighth_or_five_milliseconds_late_at_most_and_sleeps_meanwhile(
    seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(mpi, "time", clock)
    with mpi.agree(Once(clock, seconds), "wait"):
        pass
    assert seconds <= clock.now <= seconds + min(max(seconds / 8, 3e-4), 5.2e-3)
    slept = sum(pause for _, pause in clock.sleeps)
    assert slept >= 0.9 * (seconds - 2e-4)
    assert len(clock.sleeps) <= seconds / 4e-3 + 50
