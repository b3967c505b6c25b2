"""Processes that read hostile input, watched: for crashes, hangs, wrong errors and memory."""

from __future__ import annotations

import json
import os
import queue
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from tests.fuzz import columns, core_calls, json_text, messages

MAKERS = {
    "json": json_text.make,
    "payload": messages.make,
    "hdf5": columns.make,
    "core": core_calls.make,
}

# Of processor time, so that a busy machine makes no hang; whoever waits is given longer.
HANG_SECONDS = 10.0
WAIT_SECONDS = 60.0
START_SECONDS = 60.0

# Bytes that memory may grow by for an empty input, and for each byte of an input. Of text `[0],`
# takes most: a tuple, a float and a pointer. gzip makes up to 1032 bytes of one.
_SMALL = 64 << 20
MEMORY = {
    "json": (_SMALL, 64),
    "payload": (_SMALL, 64),
    "hdf5": (4 * _SMALL, 4 * 1032),
    "core": (_SMALL, 0),
}

FINE = ("refused", "accepted")

# Memory that a library keeps must not hide what an input takes.
INPUTS_PER_PROCESS = 500

_SHOWN = 6000  # characters of a report


class Input(NamedTuple):
    """What an input is made from: the same again each time."""

    kind: str
    seed: int

    def make(self) -> bytes:
        return MAKERS[self.kind](random.Random(f"{self.kind} {self.seed}"))

    def __str__(self) -> str:
        return f"{self.kind}:{self.seed}"


class Reading(NamedTuple):
    """What came of an input: verdict ("refused", "accepted", or what is wrong) and figures."""

    input: Input
    verdict: str
    detail: str
    seconds: float
    n_bytes: int
    growth: int

    @property
    def is_finding(self) -> bool:
        return self.verdict not in FINE


class Worker:
    """Reads inputs in a process of its own, which is started again when it has ended."""

    def __init__(self, directory: Path, environment: Mapping[str, str], reader: str) -> None:
        directory.mkdir(parents=True)
        self._directory = directory
        self._environment = environment
        self._reader = reader
        self._process: subprocess.Popen[str] | None = None
        self._n_read = 0

    def read(self, one: Input) -> Reading:
        """Has an input read; ends the process if it takes too long."""
        path = self._directory / "input"
        content = one.make()
        path.write_bytes(content)
        if self._n_read >= INPUTS_PER_PROCESS:
            self.close()
        if self._process is None:
            self._start()
        self._n_read += 1
        answer, is_late = self._ask(f"{one.kind} {path}", WAIT_SECONDS)
        if not answer:
            verdict, detail = "hang" if is_late else "crash", self._last_words()
            seconds, growth = HANG_SECONDS if is_late else 0.0, 0
            self.close()
        else:
            verdict, detail, seconds, growth = json.loads(answer)
            base, per_byte = MEMORY[one.kind]
            if growth > base + per_byte * len(content):
                verdict, detail = "memory", f"{growth} bytes in memory for {len(content)}"
        return Reading(one, verdict, detail, seconds, len(content), growth)

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
        self._process = None

    def _start(self) -> None:
        with (self._directory / "stderr").open("wb") as errors:
            self._process = subprocess.Popen(
                # -P: the package is the one of the environment, not that of the directory.
                [sys.executable, "-P", "-m", "tests.fuzz.worker", self._reader],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=self._environment,
                cwd=self._directory,
                text=True,
            )
        self._n_read = 0
        answer, _ = self._ask("", START_SECONDS)
        if not answer:
            raise RuntimeError(f"a worker does not start: {self._last_words()}")

    def _ask(self, question: str, wait_seconds: float) -> tuple[str, bool]:
        """The answer, if there is one, and whether the process was ended because it was late."""
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        answered, late = threading.Event(), threading.Event()
        watch = threading.Thread(target=_end_if_late, args=(process, wait_seconds, answered, late))
        watch.start()
        try:
            print(question, file=process.stdin, flush=True)
            return process.stdout.readline(), late.is_set()
        except BrokenPipeError:
            return "", False
        finally:
            answered.set()
            watch.join()

    def _last_words(self) -> str:
        """How the process ended and what it said, such as the report of a sanitizer."""
        assert self._process is not None
        said = (self._directory / "stderr").read_text("utf-8", "replace")
        return f"status {self._process.wait()}: {said[:_SHOWN]}"


def _end_if_late(
    process: subprocess.Popen[str],
    wait_seconds: float,
    answered: threading.Event,
    late: threading.Event,
) -> None:
    begin, deadline = _processor_seconds(process), time.monotonic() + wait_seconds
    while not answered.wait(0.2):
        used = _processor_seconds(process) - begin
        if used > HANG_SECONDS or time.monotonic() > deadline:
            late.set()
            process.kill()
            return


def _processor_seconds(process: subprocess.Popen[str]) -> float:
    """What the process has used; it is not waited for before its last words are read."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def read_all(
    inputs: Iterable[Input],
    directory: Path,
    environment: Mapping[str, str],
    *,
    n_workers: int,
    reader: str = "tests.fuzz.readers:read",
) -> Iterator[Reading]:
    """Has all inputs read, by several processes."""
    workers = [Worker(directory / str(i), environment, reader) for i in range(n_workers)]
    idle: queue.SimpleQueue[Worker] = queue.SimpleQueue()
    for worker in workers:
        idle.put(worker)

    def read(one: Input) -> Reading:
        worker = idle.get()
        try:
            return worker.read(one)
        finally:
            idle.put(worker)

    try:
        with ThreadPoolExecutor(n_workers) as threads:
            yield from threads.map(read, inputs)
    finally:
        for worker in workers:
            worker.close()
