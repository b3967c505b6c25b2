"""Ranks that fail, are killed or are stopped in every stage, and signals that are sent twice."""

import os
import signal
import time
from pathlib import Path

import pytest

from phasic_mpi.config import FAULT_VARIABLE
from tests import faults, kills
from tests.launch import ROOT, finish, launch, phasic_mpi, start

SLOW = ROOT / "tests" / "faulty_run.py"

# Machines that are shared are slow now and then; ``python -m tests.faults`` counts what takes 1 s.
LIMIT_SECONDS = 10.0


def test_forty_failures_in_random_stages_are_the_same_error_on_eight_ranks() -> None:
    results = faults.inject(40, 8, seed=1, timeout=300)
    assert max(seconds for _, seconds in results) < LIMIT_SECONDS


# Kills and stops take turns: an odd step has both.
@pytest.mark.parametrize("injection", list(faults.signals(3, seed=1))[::7], ids=str)
def test_a_rank_that_is_killed_or_stopped_in_a_stage_ends_the_run(
    tmp_path: Path, injection: faults.Injection
) -> None:
    faults.end_at(injection, 3, tmp_path / "run")


def wait_for_ranks(directory: Path, n_ranks: int) -> list[int]:
    for rank in range(n_ranks):
        kills.wait_for_rank(directory, rank)
    return [int((directory / f"pid.{rank}").read_text()) for rank in range(n_ranks)]


def test_a_run_with_a_stopped_rank_ends_with_75_and_a_rerun_goes_on(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    process = start([SLOW, "slow", tmp_path], n_ranks=3)
    numbers = wait_for_ranks(tmp_path, 3)
    os.kill(numbers[1], signal.SIGSTOP)
    done = finish(process, timeout=30)
    assert done.returncode == 75, done.stderr
    assert "Rank 1 gives no sign of life" in done.stderr
    assert "noticed by rank=2" in done.stderr
    assert kills.complete(tmp_path) == kills.expected_trace(tmp_path_factory.mktemp("expected"))


def test_a_whole_run_that_is_suspended_for_longer_than_its_deadline_goes_on(tmp_path: Path) -> None:
    process = start([SLOW, "slow", tmp_path], n_ranks=3)
    numbers = wait_for_ranks(tmp_path, 3)
    for number in numbers:
        os.kill(number, signal.SIGSTOP)
    time.sleep(faults.DEADLINE_SECONDS + 1)
    for number in numbers:
        os.kill(number, signal.SIGCONT)
    done = finish(process, timeout=60)
    assert done.returncode == 0, done.stderr


def test_ranks_wait_for_ever_without_a_deadline(tmp_path: Path) -> None:
    process = start([SLOW, "slow", tmp_path, "--deadline", "0"], n_ranks=3)
    numbers = wait_for_ranks(tmp_path, 3)
    os.kill(numbers[1], signal.SIGSTOP)
    time.sleep(faults.DEADLINE_SECONDS + 1)
    assert process.poll() is None
    os.kill(numbers[1], signal.SIGCONT)
    assert finish(process, timeout=60).returncode == 0


def test_a_second_stop_signal_more_than_five_seconds_later_ends_the_process() -> None:
    script = (
        "import sys, time; from phasic_mpi import cli, commands; "
        "commands._loader = lambda _: lambda: print('loading', flush=True) or time.sleep(60); "
        "sys.exit(cli.main(['run']))"
    )
    process = start(["-c", script])
    assert process.stdout is not None
    assert process.stdout.readline() == "loading\n"
    process.send_signal(signal.SIGUSR1)
    time.sleep(5.3)
    assert process.poll() is None
    process.send_signal(signal.SIGUSR1)
    assert finish(process, timeout=30).returncode == -signal.SIGUSR1


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("", "expected STAGE:RANK[,RANK...]:KIND"),
        ("load:0:sleep", "got 'load:0:sleep'"),
        ("load:-1:bug", "got 'load:-1:bug'"),
        ("nowhere:0:bug", "expected the stage 'nowhere' on the ranks [0]"),
        ("load:7:bug", "expected the stage 'load' on the ranks [7]"),
    ],
)
def test_a_run_that_is_asked_for_a_fault_it_does_not_have_fails(
    tmp_path: Path, fault: str, message: str
) -> None:
    done = phasic_mpi("run", "--cache", tmp_path, env={FAULT_VARIABLE: fault}, n_ranks=2)
    assert done.returncode == 1
    assert done.stderr.count(message) == 1, done.stderr
    assert "unset" in done.stderr


def test_ranks_that_are_asked_for_different_faults_do_not_start(tmp_path: Path) -> None:
    script = (
        "import os, sys; from phasic_mpi import cli; "
        f"os.environ['{FAULT_VARIABLE}'] = 'load:' + os.environ['PMI_RANK'] + ':bug'; "
        f"sys.exit(cli.main(['run', '--cache', {str(tmp_path)!r}]))"
    )
    done = launch(["-c", script], n_ranks=2)
    assert done.returncode == 1
    assert f"{FAULT_VARIABLE}: rank 0 has load:0:bug, rank 1 has load:1:bug" in done.stderr


def test_a_library_that_lets_one_thread_call_cannot_watch_ranks_and_says_so(tmp_path: Path) -> None:
    script = (
        "import mpi4py, sys; mpi4py.rc.thread_level = 'serialized'; "
        "from phasic_mpi import cli; sys.exit(cli.main(sys.argv[1:]))"
    )
    run = ["run", "--cache", tmp_path]
    done = launch(["-c", script, *run], n_ranks=2)
    assert done.returncode == 1
    assert done.stderr.count("expected an MPI library that allows calls from several") == 1
    assert launch(["-c", script, *run, "--deadline", "0"], n_ranks=2).returncode == 0


@pytest.mark.parametrize("deadline", ["x", "-1", "inf", "1,2"])
def test_a_deadline_that_is_no_number_of_seconds_is_wrong_usage(deadline: str) -> None:
    done = phasic_mpi("run", f"--deadline={deadline}")
    assert done.returncode == 2
    assert f"expected a number of seconds, got '{deadline}'" in done.stderr
