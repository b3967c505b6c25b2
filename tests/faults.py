"""Makes runs fail everywhere: ``python -m tests.faults [--injections 500] [--ranks 64]``.

Both parts use the fault points of :mod:`phasic_mpi.faults`. One set of ranks starts run after run,
each of which fails in a random stage on random ranks: all ranks must raise the same error, soon.
Then runs are started of which a rank is killed or stopped at the end of a stage: the launcher must
end with the status that is promised, and no process be left.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from phasic_mpi import comm as mpi
from phasic_mpi import config, faults, pipeline
from phasic_mpi.comm import Comm
from phasic_mpi.errors import StageError
from phasic_mpi.graph_io import save_graph
from phasic_mpi.models import build_model
from phasic_mpi.pipeline import Settings
from tests.kills import END_SECONDS, GRAPH, MARK, processes_of
from tests.launch import ROOT, finish, start

# In their order; a single rank neither packs nor unpacks.
FIRST_STAGES = ("start", "load", "split", "cache", "plan", "send", "record")
GATHERING_STAGES = ("fetch", "gather", "pack", "unpack", "stitch", "write", "evaluate")
LEAVING_STAGES = ("manifest", "write", "evaluate")

SMALL_GRAPH = build_model("structured-coalescent", n=7, islands=2)
SIGNAL_RANKS = 4

RAISING = ("bug", "memory", "disk")

# All ranks raise within this time after the first one has failed.
RAISE_SECONDS = 1.0

# Without a sign of life for this long, a rank counts as stopped; here, so that tests end soon.
DEADLINE_SECONDS = 3.0

# A message of a rank that was started under a launcher: what one injection came to.
_RESULT = "injection: "


class Injection(NamedTuple):
    """A fault, and whether the run that has it gathers."""

    stage: str
    ranks: list[int]
    kind: str
    gather: bool

    @staticmethod
    def draw(rng: random.Random, n_ranks: int, kinds: Sequence[str]) -> Injection:
        """A random one."""
        gather = rng.random() < 0.8
        stage = rng.choice([*FIRST_STAGES, *(GATHERING_STAGES if gather else LEAVING_STAGES)])
        n_failing = rng.choice([1, 1, 1, 2, n_ranks])
        ranks = sorted(rng.sample(range(n_ranks), min(n_failing, n_ranks)))
        return Injection(stage, ranks, rng.choice(kinds), gather)

    @property
    def variable(self) -> str:
        """What asks for it."""
        return f"{self.stage}:{','.join(map(str, self.ranks))}:{self.kind}"


def fail_on_all(comm: Comm, injection: Injection, directory: Path) -> float:
    """Collective. One run that fails; seconds from the first failure until all ranks have raised.

    Raises:
        AssertionError: The ranks did not raise the same error, or another than was injected.
    """
    cache = directory / "cache"
    settings = Settings("sequential", min_size=1, cache_dir=cache, gather=injection.gather)
    moments: list[float] = []
    point = faults.point

    def timed_point(stage: str, rank: int) -> None:
        moments.append(time.monotonic())
        point(stage, rank)

    os.environ[config.FAULT_VARIABLE] = injection.variable
    faults.point = timed_point
    failure = None
    try:
        pipeline.run(
            comm,
            lambda: SMALL_GRAPH,
            settings,
            theta=np.array([[1.0, 0.5]]) if injection.gather else None,
            output=directory / "out.h5",
        )
    except StageError as exc:
        failure = exc
    finally:
        raised = time.monotonic()
        faults.point = point
        del os.environ[config.FAULT_VARIABLE]
    assert failure is not None, f"{injection}: the run came to its end"
    assert failure.stage == injection.stage, f"{injection}: {failure}"
    assert sorted(failure.reports) == injection.ranks, f"{injection}: {failure}"
    digest = hashlib.sha256(str(failure).encode()).hexdigest()
    everyone = mpi.collect(comm, [digest, raised, moments[-1]])
    assert len({digest for digest, *_ in everyone}) == 1, f"{injection}: ranks raise other errors"
    failed = min(everyone[rank][2] for rank in injection.ranks)
    return float(max(raised for _, raised, _ in everyone) - failed)


def be_a_rank(n_injections: int, seed: int) -> None:
    """Collective. Run after run on the ranks of the launcher, which rank 0 reports line by line."""
    with mpi.open_ranks() as comm:
        directory = Path(mpi.share(comm, tempfile.mkdtemp() if comm.rank == 0 else "", str))
        rng = random.Random(seed)
        for _ in range(n_injections):
            injection = Injection.draw(rng, comm.size, RAISING)
            if comm.rank == 0:
                shutil.rmtree(directory)
                directory.mkdir()
            mpi.collect(comm, None)
            seconds = fail_on_all(comm, injection, directory)
            if comm.rank == 0:
                print(_RESULT + json.dumps([injection.variable, seconds]), flush=True)
        if comm.rank == 0:
            shutil.rmtree(directory)


def inject(n_injections: int, n_ranks: int, seed: int, timeout: float) -> list[tuple[str, float]]:
    """Starts ranks that fail so many times; the stage and the seconds of each.

    Raises:
        AssertionError: They hang, or broke a promise.
    """
    arguments = ["-m", "tests.faults", "--as-rank", "--injections", n_injections, "--seed", seed]
    process = start(arguments, n_ranks=n_ranks, cwd=ROOT)
    done = finish(process, timeout=timeout)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    lines = [line for line in done.stdout.splitlines() if line.startswith(_RESULT)]
    assert len(lines) == n_injections
    results = [json.loads(line.removeprefix(_RESULT)) for line in lines]
    return [(variable.partition(":")[0], seconds) for variable, seconds in results]


def end_at(injection: Injection, n_ranks: int, directory: Path) -> float:
    """Starts a run of which a rank is killed or stopped; seconds until no process is left.

    Raises:
        AssertionError: A promise was not kept.
    """
    directory.mkdir()
    mark = uuid.uuid4().hex
    save_graph(GRAPH, directory / "graph.h5")
    command = ["-m", "phasic_mpi", "run", directory / "graph.h5", "-o", directory / "out.h5"]
    command += ["--cache", directory / "cache", "--strategy", "sequential", "--min-size", "1"]
    command += ["--deadline", DEADLINE_SECONDS, *([] if injection.gather else ["--no-gather"])]
    env = {MARK: mark, config.FAULT_VARIABLE: injection.variable}
    begin = time.monotonic()
    done = finish(start(command, n_ranks=n_ranks, env=env), timeout=60)
    ended = time.monotonic()
    while left := processes_of(mark):
        assert time.monotonic() - ended < END_SECONDS, f"{injection}: {left} are left"
        time.sleep(0.02)
    said = f"{injection}: status {done.returncode}\n{done.stderr}"
    if injection.kind == "kill":
        assert done.returncode not in (0, os.EX_TEMPFAIL), said
    else:
        assert done.returncode == os.EX_TEMPFAIL, said
        assert "gives no sign of life" in done.stderr, said
    return time.monotonic() - begin


def signals(n_ranks: int, seed: int) -> Iterator[Injection]:
    """Every stage with a random rank that is killed, and one that is stopped."""
    rng = random.Random(seed)
    for gather, stages in ((True, GATHERING_STAGES), (False, LEAVING_STAGES)):
        for stage in [*FIRST_STAGES, *stages]:
            for kind in ("kill", "stop"):
                yield Injection(stage, [rng.randrange(n_ranks)], kind, gather)


def main() -> int:
    parser = argparse.ArgumentParser(description="Makes runs fail everywhere")
    parser.add_argument("--injections", type=int, default=500)
    parser.add_argument("--ranks", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--as-rank", action="store_true", help="used under a launcher")
    options = parser.parse_args()
    if options.as_rank:
        be_a_rank(options.injections, options.seed)
        return 0
    console = Console(width=100)
    timeout = 300 + 5.0 * options.injections
    results = inject(options.injections, options.ranks, options.seed, timeout)
    table = Table(f"raised, {options.ranks} ranks", "injections", "median, s", "longest, s")
    for stage in sorted({stage for stage, _ in results}):
        own = [seconds for each, seconds in results if each == stage]
        table.add_row(stage, str(len(own)), f"{np.median(own):.3f}", f"{max(own):.3f}")
    console.print(table)
    late = sum(seconds > RAISE_SECONDS for _, seconds in results)
    console.print(f"{len(results)} injections, {late} of them later than {RAISE_SECONDS:g} s")
    broken, ended = [], []
    with tempfile.TemporaryDirectory() as name:
        for number, injection in enumerate(signals(SIGNAL_RANKS, options.seed)):
            try:
                seconds = end_at(injection, SIGNAL_RANKS, Path(name) / str(number))
            except AssertionError as exc:
                broken.append(str(exc))
            else:
                ended.append((injection.kind, seconds))
    table = Table(f"at a stage, {SIGNAL_RANKS} ranks", "runs", "longest with its start, s")
    for kind in ("kill", "stop"):
        own = [seconds for each, seconds in ended if each == kind]
        table.add_row(kind, str(len(own)), f"{max(own, default=0):.2f}")
    console.print(table)
    console.print(f"{len(ended)} runs kept all promises, {len(broken)} broke one")
    for line in broken:
        console.print(line)
    return 1 if late or broken else 0


if __name__ == "__main__":
    sys.exit(main())
