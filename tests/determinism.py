"""Compares what runs write on any ranks, byte for byte: ``python -m tests.determinism``.

By all strategies, under the MPI of the environment, MPICH or Open MPI. The trace expected is that
of one process without MPI; moments must be equal for any number of ranks.
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

from phasic_mpi import comm
from phasic_mpi.graph_io import save_graph
from phasic_mpi.models import build_model
from phasic_mpi.trace_io import save_trace
from tests.launch import phasic_mpi
from tests.recording import record_alone

GRAPH = build_model("structured-coalescent", n=20, islands=4)
THETA = ("--theta", "1,0.5", "--theta", "2,0.01", "--moments", "3")

# Each is done so many times.
REPEATS = 2

# JAX takes the memory of a small host if 64 ranks import it.
RANKS = {
    "sequential": (1, 2, 3, 8, 64),
    "vmap": (1, 2, 3, 8),
    "pmap": (1, 2, 3, 8),
    "no gather, distributed": (1, 2, 3, 8),
}


def digests(directory: Path, way: str, n_ranks: int) -> Iterator[tuple[str, str]]:
    """Runs and evaluates in a new directory; kind and digest of what was written."""
    directory.mkdir()
    save_graph(GRAPH, directory / "graph.h5")

    def start(*arguments: object) -> None:
        done = phasic_mpi(*arguments, n_ranks=n_ranks, cwd=directory, timeout=300)
        assert done.returncode == 0, f"{way} on {n_ranks} ranks: {done.stderr}"

    run = ["run", "graph.h5", "-o", "out.h5", "--cache", "cache"]
    if way in ("sequential", "vmap", "pmap"):
        start(*run, "--strategy", way, *(["--devices", 2] if way == "pmap" else []))
        yield "trace", digest(directory / "out.h5")
        if n_ranks <= 8:
            start("evaluate", "out.h5", *THETA, "-o", "moments.csv")
            yield "moments in JAX", digest(directory / "moments.csv")
    else:
        start(*run, "--no-gather")
        start("evaluate", "out.h5", "--distributed", *THETA, "-o", "moments.csv")
        yield "moments, distributed", digest(directory / "moments.csv")


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def main() -> int:
    found: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    with tempfile.TemporaryDirectory() as name:
        save_trace(record_alone(GRAPH), Path(name) / "alone.h5")
        found["trace"][digest(Path(name) / "alone.h5")] += 1
        for way, ranks in RANKS.items():
            for n_ranks in ranks:
                for repeat in range(REPEATS):
                    own = Path(name) / f"{way}-{n_ranks}-{repeat}"
                    for kind, value in digests(own, way, n_ranks):
                        found[kind][value] += 1
    table = Table(comm.library_version(), "files", "different")
    for kind, counts in found.items():
        table.add_row(kind, str(sum(counts.values())), str(len(counts)))
    Console(width=100).print(table)
    return 0 if all(len(counts) == 1 for counts in found.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
