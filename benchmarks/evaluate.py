"""Evaluation at 10,000 theta on 1 and 2 ranks: seconds of each stage, efficiency of computing.

    python -m benchmarks.evaluate [--ranks 1 2] [--repeats 5] [--n 13] [--islands 4]
                                  [-- OPTIONS OF EVALUATE]

One thread per rank. Evaluations on different numbers of ranks take turns; the table gives medians.
The efficiency of computing, scattering and gathering leaves out what any number of ranks spends
once: starting Python, loading JAX, compiling.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from phasic_mpi.models import build_model
from phasic_mpi.trace_io import save_trace
from tests.launch import phasic_mpi
from tests.recording import record_alone

# Stages whose work is spread over the ranks, or there because it is.
PARALLEL = ("scatter", "compute", "gather")


def run(directory: Path, n_ranks: int, options: list[str]) -> dict[str, Any]:
    """The report of one evaluation, one thread per rank, and its seconds from start to end."""
    report = directory / "report.json"
    begin = time.perf_counter()
    done = phasic_mpi(
        *("evaluate", directory / "trace.h5", "--theta-file", directory / "theta.npy"),
        *("-o", directory / f"{n_ranks}.h5", "--report", report, *options),
        n_ranks=n_ranks,
        timeout=600,
        env={"NPROC": "1"},
    )
    seconds = time.perf_counter() - begin
    if done.returncode:
        sys.exit(done.stderr)
    facts: dict[str, Any] = json.loads(report.read_text())
    return facts | {"seconds": seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description="Evaluation on several numbers of ranks")
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--theta", type=int, default=10_000)
    parser.add_argument("--n", type=int, default=13)
    parser.add_argument("--islands", type=int, default=4)
    parser.add_argument("options", nargs="*", help="of evaluate, behind --")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        graph = build_model("structured-coalescent", n=options.n, islands=options.islands)
        save_trace(record_alone(graph), directory / "trace.h5")
        rows = np.random.default_rng(1).uniform(0.1, 2, (options.theta, graph.n_parameters))
        np.save(directory / "theta.npy", rows)
        turns = [
            [run(directory, n, options.options) for n in options.ranks]
            for _ in range(options.repeats)
        ]
        images = {(directory / f"{n}.h5").read_bytes() for n in options.ranks}
    columns = list(zip(*turns, strict=True))
    table = Table("stage", *(f"{n} ranks, s" for n in options.ranks))
    stages = {
        stage: [median(report["stage_seconds"][stage] for report in column) for column in columns]
        for stage in turns[0][0]["stage_seconds"]
    }
    stages["from start to end"] = [median(r["seconds"] for r in column) for column in columns]
    for stage, seconds in stages.items():
        table.add_row(stage, *(f"{value:.3f}" for value in seconds))
    cpu = [median(max(r["compute_cpu_seconds"]) for r in column) for column in columns]
    table.add_row("CPU seconds of computing, most", *(f"{value:.3f}" for value in cpu))
    cores = [
        median(sum(r["compute_cpu_seconds"]) / sum(r["compute_seconds"]) for r in column)
        for column in columns
    ]
    table.add_row("part of a core that each had", *(f"{part:.2f}" for part in cores))
    memory = [max(max(r["peak_rss_bytes"]) for r in column) / 2**20 for column in columns]
    table.add_row("most memory of a rank, MiB", *(f"{mib:.0f}" for mib in memory))
    console = Console(width=110)
    console.print(table)
    first = turns[0][0]
    console.print(
        f"{graph.n_vertices:,} vertices, {first['n_theta']:,} theta, calls of {first['n_rows']}; "
        f"results are {'equal' if len(images) == 1 else 'DIFFERENT'}"
    )
    parallel = [sum(stages[stage][index] for stage in PARALLEL) for index in range(len(columns))]
    whole = stages["from start to end"]
    for index, n in enumerate(options.ranks[1:], 1):
        share = options.ranks[0] / n
        console.print(
            f"{n} ranks: efficiency {share * parallel[0] / parallel[index]:.2f} of computing "
            f"({share * cpu[0] / cpu[index]:.2f} by CPU time, which others on the machine do not "
            f"change), {share * whole[0] / whole[index]:.2f} from start to end"
        )


if __name__ == "__main__":
    main()
