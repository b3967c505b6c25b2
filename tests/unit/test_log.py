"""Log lines: whole, on stderr, and from the ranks that should speak."""

import logging
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from phasic_mpi import log

pytestmark = pytest.mark.usefixtures("untouched_logger")


def lines_at(level: str, *, rank: int, size: int, capfd: pytest.CaptureFixture[str]) -> list[str]:
    """What comes out when a rank says one thing at each level."""
    log.configure(level, rank=rank, size=size)
    logger = log.get_logger()
    for name in log.LEVELS:
        logger.log(logging.getLevelNamesMapping()[name.upper()], "a thing at %s", name)
    captured = capfd.readouterr()
    assert captured.out == ""
    return captured.err.splitlines()


@pytest.mark.parametrize(
    ("level", "rank", "spoken"),
    [
        ("debug", 0, ["debug", "info", "warning", "error"]),
        ("info", 0, ["info", "warning", "error"]),
        ("warning", 0, ["warning", "error"]),
        ("error", 0, ["error"]),
        ("debug", 2, ["debug", "info", "warning", "error"]),
        ("info", 2, ["warning", "error"]),
        ("warning", 2, ["warning", "error"]),
        ("error", 2, ["error"]),
    ],
)
def test_rank_0_speaks_for_all_and_others_only_warn(
    capfd: pytest.CaptureFixture[str], level: str, rank: int, spoken: list[str]
) -> None:
    lines = lines_at(level, rank=rank, size=3, capfd=capfd)
    assert lines == [f"[rank {rank}/3] {name.upper()} a thing at {name}" for name in spoken]


def test_a_single_process_does_not_name_itself(capfd: pytest.CaptureFixture[str]) -> None:
    assert lines_at("error", rank=0, size=1, capfd=capfd) == ["ERROR a thing at error"]


def test_loggers_of_the_modules_speak_through_that_of_the_package(
    capfd: pytest.CaptureFixture[str],
) -> None:
    log.configure("info", rank=0, size=1)
    logging.getLogger("phasic_mpi.record").info("chosen")
    assert capfd.readouterr().err == "INFO chosen\n"


def test_configuring_twice_says_things_once(capfd: pytest.CaptureFixture[str]) -> None:
    log.configure("info", rank=0, size=1)
    log.configure("info", rank=0, size=2)
    log.get_logger().info("once")
    assert capfd.readouterr().err == "[rank 0/2] INFO once\n"


def test_a_line_is_one_system_call_and_any_text_can_be_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[tuple[int, bytes]] = []

    def write(descriptor: int, data: bytes) -> int:
        calls.append((descriptor, data))
        return len(data)

    monkeypatch.setattr(os, "write", write)
    log.write_line("grün \udc80\nsecond")
    assert calls == [(2, "grün \\udc80\nsecond\n".encode())]


def test_a_closed_stderr_does_not_end_the_run() -> None:
    code = (
        "import os; from phasic_mpi import log; log.configure('info', rank=0, size=1); "
        "os.close(2); log.get_logger().error('unheard'); print('alive')"
    )
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True)
    assert done.stdout == b"alive\n"


def test_importing_the_package_configures_no_log() -> None:
    code = "import logging, phasic_mpi.log; print(logging.getLogger('phasic_mpi').handlers)"
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True)
    assert done.stdout == b"[]\n"


def test_draining_waits_until_what_was_written_has_been_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reader, writer = os.pipe()
    monkeypatch.setattr(log, "_STDERR", writer)
    log.write_line("heard")
    threading.Timer(0.2, os.read, (reader, 100)).start()
    begin = time.monotonic()
    log.drain()
    assert 0.15 < time.monotonic() - begin < 1.5
    monkeypatch.setattr(log, "_LONGEST_DRAIN_SECONDS", 0.1)
    log.write_line("unheard")
    log.drain()
    assert os.read(reader, 100) == b"unheard\n"


def test_files_are_not_drained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with (tmp_path / "errors").open("wb") as file:
        monkeypatch.setattr(log, "_STDERR", file.fileno())
        log.write_line("kept")
        log.drain()
    assert (tmp_path / "errors").read_text() == "kept\n"
