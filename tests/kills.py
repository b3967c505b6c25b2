"""Kills processes of runs at random moments: ``python -m tests.kills [--kills 200]``.

Each kill starts a run on four ranks with an empty cache, ends one of its processes (the launcher,
its proxy or a rank) with SIGKILL, and checks what is promised: the launcher ends with a status
other than 0, and every process is gone within five seconds; what had been committed is there and
whole; a rerun gives the trace of an undisturbed run and records no committed block again.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
import uuid
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from phasic_mpi import segment, store
from phasic_mpi.graph_io import save_graph
from phasic_mpi.models import build_model
from phasic_mpi.scc import condense
from phasic_mpi.trace_io import save_trace
from tests.launch import ROOT, finish, phasic_mpi, start
from tests.recording import record_alone

GRAPH = build_model("structured-coalescent", n=9, islands=3)
N_RANKS = 4

# A rank that dies ends the others in milliseconds; starting and ending Python takes the rest.
END_SECONDS = 5.0

MARK = "PHASIC_MPI_TESTS_MARK"


class Kill(NamedTuple):
    """One kill: the program that was hit, after how long, and what was there afterwards."""

    victim: str
    moment: float
    end_seconds: float
    n_committed: int


def expected_trace(directory: Path) -> bytes:
    """The trace file of an undisturbed run."""
    save_trace(record_alone(GRAPH), directory / "expected.h5")
    return (directory / "expected.h5").read_bytes()


def kill_once(directory: Path, seed: int, expected: bytes) -> Kill | None:
    """One kill in a new directory, and all checks; None if the run ended before it was hit.

    Raises:
        AssertionError: A promise was not kept.
    """
    directory.mkdir()
    rng = random.Random(seed)
    mark = uuid.uuid4().hex
    begin = time.monotonic()
    process = start(
        [ROOT / "tests" / "faulty_run.py", "slow", directory], n_ranks=N_RANKS, env={MARK: mark}
    )
    if rng.random() < 0.7:  # most of the others hit the start of the ranks
        wait_for_rank(directory, rng.randrange(N_RANKS))
    time.sleep(rng.uniform(0, 1.0))
    marked = processes_of(mark)
    if process.poll() is not None or not marked:
        finish(process, timeout=30)
        return None
    victim = rng.choice(sorted(marked))
    moment = time.monotonic() - begin
    os.kill(victim, signal.SIGKILL)
    hit = time.monotonic()
    done = finish(process, timeout=30)
    assert done.returncode != 0, f"{marked[victim]} was killed, and the launcher ended with 0"
    while left := processes_of(mark):
        assert time.monotonic() - hit < END_SECONDS, f"after {marked[victim]}, {left} are left"
        time.sleep(0.02)
    end_seconds = time.monotonic() - hit
    committed = {line for path in directory.glob("kept.*") for line in path.read_text().split()}
    held = keys_held(directory)  # reads every byte: nothing is torn
    assert committed <= held, f"after {marked[victim]}, {len(committed - held)} traces are lost"
    assert complete(directory) == expected, f"after {marked[victim]}, the trace is another one"
    return Kill(marked[victim], moment, end_seconds, len(held))


def processes_of(mark: str) -> dict[int, str]:
    """Name by number of all living processes whose environment bears this mark."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if f"{MARK}={mark}".encode() in (path / "environ").read_bytes():
                found[int(path.name)] = (path / "comm").read_text().strip()
        except OSError:  # it has ended meanwhile, or belongs to another user
            continue
    return found


def wait_for_rank(directory: Path, rank: int) -> None:
    """Waits until a rank has begun to record."""
    path = directory / f"pid.{rank}"
    deadline = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < deadline, "the rank does not come to record"
        time.sleep(0.01)


def keys_held(directory: Path) -> set[str]:
    """Keys of all traces in the cache, every byte of them read and checked."""
    paths = store.all_segments(directory / "cache") if (directory / "cache").exists() else []
    return {key for path in paths for key in segment.read(path)}


def complete(directory: Path) -> bytes:
    """Reruns to the end, with other ranks, and returns the trace file."""
    n_held = len(keys_held(directory))
    save_graph(GRAPH, directory / "graph.h5")
    done = phasic_mpi(
        *("run", directory / "graph.h5", "-o", directory / "trace.h5", "--format", "json"),
        *("--cache", directory / "cache"),
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["n_cache_hits"] == n_held
    assert report["n_recorded"] == len(condense(GRAPH).distinct) - n_held
    return (directory / "trace.h5").read_bytes()


def main() -> int:
    parser = argparse.ArgumentParser(description="Kills processes of runs at random moments")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    kills: list[Kill] = []
    n_late, broken = 0, []
    with tempfile.TemporaryDirectory() as name:
        expected = expected_trace(Path(name))
        seed = options.seed
        while len(kills) + len(broken) < options.kills:
            directory = Path(name) / str(seed)
            try:
                kill = kill_once(directory, seed, expected)
            except AssertionError as exc:
                broken.append(f"seed {seed}: {exc}")
            else:
                n_late += kill is None
                kills += [] if kill is None else [kill]
            seed += 1
    _print(kills, n_late, broken)
    return 1 if broken else 0


def _print(kills: list[Kill], n_late: int, broken: list[str]) -> None:
    table = Table("killed", "kills", "longest until all had ended, s", "with traces committed")
    for victim, n in Counter(kill.victim for kill in kills).most_common():
        own = [kill for kill in kills if kill.victim == victim]
        longest = max(kill.end_seconds for kill in own)
        table.add_row(victim, str(n), f"{longest:.2f}", str(sum(k.n_committed > 0 for k in own)))
    console = Console(width=100)
    console.print(table)
    console.print(
        f"{len(kills)} kills kept all promises, {len(broken)} broke one; "
        f"{n_late} runs had ended before they were hit"
    )
    for line in broken:
        console.print(line)


if __name__ == "__main__":
    sys.exit(main())
