"""A disk that refuses at any moment costs nothing but what could not be written."""

import re
from pathlib import Path

import pytest

from tests import io_faults
from tests.io_faults import COMMANDS, HOW, Sweep, noted, noting
from tests.launch import ROOT, launch


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return io_faults.build_library(tmp_path_factory.mktemp("library"))


def test_every_request_of_a_run_that_is_refused_is_a_named_error_or_a_warning(
    tmp_path: Path, library: Path
) -> None:
    sweep = Sweep(tmp_path / "sweep", library, COMMANDS["run"])
    assert {request.operation for request in sweep.requests} == {
        *("open", "write", "fsync", "rename", "mkdir")
    }
    codes = [HOW[name] for name in ("EIO", "ENOSPC", "EACCES")]
    for number in range(len(sweep.requests)):
        sweep.refuse(number, codes[number % len(codes)])


def test_writes_that_take_half_of_what_they_are_given_are_continued(
    tmp_path: Path, library: Path
) -> None:
    sweep = Sweep(tmp_path / "sweep", library, COMMANDS["run"])
    writes = [n for n, request in enumerate(sweep.requests) if request.operation == "write"]
    assert len(writes) == 3  # a segment, the trace and the report
    for number in writes:
        sweep.refuse(number, HOW["short write"])


def test_a_run_whose_traces_stay_in_the_cache_fails_if_one_cannot_be_written(
    tmp_path: Path, library: Path
) -> None:
    sweep = Sweep(tmp_path / "sweep", library, COMMANDS["run --no-gather"])
    for number in (n for n, request in enumerate(sweep.requests) if request.caches):
        sweep.refuse(number, HOW["ENOSPC"])


def test_a_key_is_announced_after_its_file_and_its_directory_have_been_synced(
    tmp_path: Path, library: Path
) -> None:
    own = tmp_path / "run"
    own.mkdir()
    log = tmp_path / "log"
    program = [ROOT / "tests" / "faulty_run.py", "slow", own]
    done = launch(program, env=noting(library, own, log))
    assert done.returncode == 0, done.stderr
    rank = "cache/rank-00000"
    steps = []
    for operation, path in noted(log, own):
        if path.startswith((rank, "kept")) and operation != "open":
            kind = re.sub(r"rank-00000/\..*\.tmp", "TEMPORARY", path).rpartition("/")[2]
            steps.append((operation, re.sub(r"[0-9a-f]{64}\.h5", "SEGMENT", kind)))
    committed = [
        ("write", "TEMPORARY"),
        ("fsync", "TEMPORARY"),
        ("rename", "SEGMENT"),
        ("fsync", "rank-00000"),
        ("write", "kept.0"),
    ]
    assert steps == [("mkdir", "rank-00000"), *(committed * 8)]
