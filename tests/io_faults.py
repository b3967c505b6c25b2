"""Refuses what programs ask of files, one request after the other: ``python -m tests.io_faults``.

Every open, write, fsync, rename and mkdir of a command, below one directory, is refused in turn, by
a library that is put before that of C (``io_faults.cpp``). What is promised: the command does all
it was asked for (a cache that cannot be written to is a warning), or ends with 1 and an error that
names the file; no file is there by half; the cache stays valid, and a rerun gives the same bytes.
"""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from phasic_mpi import manifest, segment
from phasic_mpi.graph_io import save_graph
from phasic_mpi.models import build_model
from tests.launch import ROOT, clean_environment, phasic_mpi

GRAPH = build_model("structured-coalescent", n=7, islands=2)

HOW = {
    **{errno.errorcode[code]: str(code) for code in (errno.ENOSPC, errno.EIO, errno.EACCES)},
    "short write": "short",
}

_TEMPORARY = re.compile(r"\.(.+)\.[0-9a-f]{16}\.tmp")


class Command(NamedTuple):
    """What is run.

    Attributes:
        arguments: Of the program, in the directory with ``graph.h5``.
        n_ranks: Ranks to start, None for one without a launcher.
        rank: The rank whose requests are refused.
        after: A command that is run before it, undisturbed.
        made: Directories that are there before.
        needs_cache: Whether it fails if it cannot write to its cache.
    """

    arguments: Sequence[str]
    n_ranks: int | None = None
    rank: int = 0
    after: Sequence[str] = ()
    made: Sequence[str] = ()
    needs_cache: bool = False


RUN = ("run", "graph.h5", "--cache", "cache", "--strategy", "sequential", "--min-size", "1")
COMMANDS = {
    "run": Command((*RUN, "-o", "trace.h5", "--report", "report.json")),
    "run with a cache": Command((*RUN, "-o", "trace.h5"), after=RUN),
    # Which rank makes the cache is chance.
    "run on 2 ranks, rank 1": Command(
        (*RUN, "-o", "trace.h5"), n_ranks=2, rank=1, made=("cache", "cache/rank-00001")
    ),
    "run --no-gather": Command((*RUN, "--no-gather", "-o", "manifest.h5"), needs_cache=True),
    "evaluate": Command(
        ("evaluate", "trace.h5", "--theta", "1,0.5", "-o", "moments.h5"),
        after=(*RUN, "-o", "trace.h5"),
    ),
    "cache copy": Command(("cache", "copy", "cache", "copy"), after=RUN, needs_cache=True),
}


class Request(NamedTuple):
    """What a command has asked for: an operation, and a path relative to its directory."""

    operation: str
    path: str

    @property
    def caches(self) -> bool:
        """Whether it is part of writing a segment."""
        directory, _, name = self.path.rpartition("/")
        is_directory = re.fullmatch(r"cache/rank-\d+", self.path) and self.operation != "mkdir"
        is_written = directory.startswith("cache/rank-") and (
            self.operation != "open" or _TEMPORARY.fullmatch(name)
        )
        return bool(is_directory or is_written)


def build_library(directory: Path) -> Path:
    """Compiles the library that refuses."""
    library = directory / "io_faults.so"
    source = ROOT / "tests" / "io_faults.cpp"
    command = ["g++", "-std=c++20", "-O1", "-fPIC", "-shared", "-o", library, source, "-ldl"]
    subprocess.run(command, check=True)
    return library


def noting(library: Path, directory: Path, log: Path) -> dict[str, str]:
    """Variables of a program whose requests below a directory are written to a log."""
    return {
        "LD_PRELOAD": str(library),
        "IO_FAULTS_DIRECTORY": str(directory),
        "IO_FAULTS_LOG": str(log),
    }


def noted(log: Path, directory: Path) -> list[Request]:
    """The requests in a log."""
    lines = (line.partition(" ") for line in log.read_text().splitlines())
    return [Request(operation, os.path.relpath(path, directory)) for operation, _, path in lines]


class Contents(NamedTuple):
    """Bytes by path of the files in a directory, and keys of the traces in its caches."""

    files: dict[str, bytes]
    keys: set[str]


class Sweep:
    """Runs one command with each of its requests refused.

    Args:
        directory: A new one, for all runs.
        library: What :func:`build_library` has made.
        command: The command.
    """

    def __init__(self, directory: Path, library: Path, command: Command) -> None:
        directory.mkdir()
        self._directory, self._library, self._command = directory, library, command
        self._n_runs = 0
        self._expected, _, self.requests = self._run({})

    def refuse(self, number: int, how: str) -> None:
        """One run with a request refused, and all checks.

        Raises:
            AssertionError: A promise was not kept.
        """
        found, done, requests = self._run({"IO_FAULTS_AT": str(number), "IO_FAULTS_HOW": how})
        request = requests[number]
        said = f"{self.requests[number]}, {how}: status {done.returncode}\n{done.stderr}"
        assert request.operation == self.requests[number].operation, said
        for name, content in found.files.items():
            assert self._expected.files.get(name) == content, f"{said}\n{name} is there"
        assert found.keys <= self._expected.keys, said
        if how == "short" or (done.returncode == 0 and not request.caches):
            assert done.returncode == 0, said
            assert found == self._expected, said
        elif request.caches and not self._command.needs_cache:
            assert done.returncode == 0, said
            assert "WARNING Cannot cache" in done.stderr, said
            assert os.strerror(int(how)) in done.stderr, said
        else:
            assert done.returncode == 1, said
            assert "Traceback" not in done.stderr, said
            assert "Resolution:" in done.stderr, said
            named = _TEMPORARY.sub(r"\1", request.path)
            assert named.rpartition("/")[2] in done.stderr, said
        assert self._rerun() == self._expected, f"{said}\na rerun gives other files"

    def _run(
        self, variables: Mapping[str, str]
    ) -> tuple[Contents, subprocess.CompletedProcess[str], list[Request]]:
        """What is there afterwards, how it ended, and what it asked for, in a new directory."""
        self._own = self._directory / f"run-{self._n_runs}"
        self._n_runs += 1
        self._own.mkdir()
        save_graph(GRAPH, self._own / "graph.h5")
        for name in self._command.made:
            (self._own / name).mkdir(mode=0o700)
        if self._command.after:
            self._start(self._command.after, {}, None)
        log = self._own.with_suffix(".log")
        log.touch()
        environment = {
            **noting(self._library, self._own, log),
            "IO_FAULTS_RANK": "" if self._command.n_ranks is None else str(self._command.rank),
            **variables,
        }
        done = self._start(self._command.arguments, environment, self._command.n_ranks)
        return contents(self._own), done, noted(log, self._own)

    def _rerun(self) -> Contents:
        """What is there after another run, undisturbed, in the same directory."""
        done = self._start(self._command.arguments, {}, self._command.n_ranks)
        assert done.returncode == 0, done.stderr
        return contents(self._own)

    def _start(
        self, arguments: Sequence[str], environment: Mapping[str, str], n_ranks: int | None
    ) -> subprocess.CompletedProcess[str]:
        return phasic_mpi(*arguments, env=environment, n_ranks=n_ranks, cwd=self._own)


def contents(directory: Path) -> Contents:
    """What is in a directory; every byte of the segments is checked.

    Which rank holds a trace may depend on what was there before, so segments count by their keys;
    a manifest has the path of its cache, and a report has times.
    """
    files: dict[str, bytes] = {}
    keys: set[str] = set()
    for path in sorted(path for path in directory.rglob("*") if path.is_file()):
        if path.parent.name.startswith("rank-") and path.suffix == ".h5":
            keys |= set(segment.read(path))
        elif path.name == "report.json":
            files[path.name] = b""
        elif path.name == "manifest.h5":
            files[path.name] = repr(sorted(manifest.load(path).checks.items())).encode()
        else:
            files[str(path.relative_to(directory))] = path.read_bytes()
    return Contents(files, keys)


def fill_a_disk(directory: Path) -> None:
    """A run on a file system of 16 KiB, with its cache and then its trace beside a larger one.

    Needs a kernel that lets users mount file systems in a namespace of their own.

    Raises:
        AssertionError: A promise was not kept, or the file system cannot be mounted.
    """
    (directory / "small").mkdir(parents=True)
    save_graph(build_model("structured-coalescent", n=12, islands=3), directory / "graph.h5")
    done = run_on_a_small_disk(directory, "--cache", "small/cache", "-o", "trace.h5")
    assert done.returncode == 0, done.stderr
    assert "WARNING Cannot cache" in done.stderr, done.stderr
    assert "No space left on device" in done.stderr, done.stderr
    done = run_on_a_small_disk(directory, "--cache", "cache", "-o", "small/trace.h5")
    assert done.returncode == 1, done.stderr
    assert "No space left on device: 'small/trace.h5'" in done.stderr, done.stderr
    assert done.stdout == "files: 0\n", done.stdout


def run_on_a_small_disk(directory: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Runs ``graph.h5``, then prints how many files are left in ``small``."""
    run = f"{sys.executable} -m phasic_mpi run graph.h5 {' '.join(options)} --strategy sequential"
    script = (
        f"mount -t tmpfs -o size=16k tmpfs small || exit 99; {run} > table; status=$?; "
        "echo files: $(find small -type f | wc -l); exit $status"
    )
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script]
    environment = clean_environment()
    return subprocess.run(
        command, cwd=directory, env=environment, capture_output=True, text=True, timeout=60
    )


def main() -> int:
    console = Console(width=100)
    broken: list[str] = []
    table = Table("command", "requests", *HOW)
    with tempfile.TemporaryDirectory() as name:
        library = build_library(Path(name))
        for title, command in COMMANDS.items():
            sweep = Sweep(Path(name) / title, library, command)
            kept: Counter[str] = Counter()
            for number, request in enumerate(sweep.requests):
                for how, code in HOW.items():
                    if code == "short" and request.operation != "write":
                        continue
                    try:
                        sweep.refuse(number, code)
                    except AssertionError as exc:
                        broken.append(f"{title}: {exc}")
                    else:
                        kept[how] += 1
            table.add_row(title, str(len(sweep.requests)), *(str(kept[how]) for how in HOW))
        try:
            fill_a_disk(Path(name) / "full")
        except AssertionError as exc:
            broken.append(f"a full disk: {exc}")
    console.print(table)
    console.print(f"{len(broken)} broke a promise")
    for line in broken:
        console.print(line)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
