"""The run on 1 and 2 ranks: seconds of each stage, efficiency of recording, what Amdahl leaves.

    python -m benchmarks.scaling [--ranks 1 2] [--repeats 3] [--n 45] [--islands 4]

Runs of different numbers of ranks take turns; the table gives medians. Each starts with empty
caches. The efficiency of recording compares the summed work with what the slowest rank took.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from phasic_mpi.graph_io import save_graph
from phasic_mpi.models import build_model
from tests.launch import phasic_mpi

# Stages whose work is spread over the ranks; all others rank 0 does alone or waits in.
PARALLEL = ("record",)


def run(directory: Path, n_ranks: int) -> dict[str, Any]:
    """The report of one run with empty caches, one thread per rank."""
    with tempfile.TemporaryDirectory(dir=directory) as cache:
        done = phasic_mpi(
            *("run", directory / "graph.h5", "-o", Path(cache) / "trace.h5", "--cache", cache),
            *("--strategy", "sequential", "--format", "json", "--log-level", "warning"),
            n_ranks=n_ranks,
            timeout=600,
            env={"NPROC": "1"},
        )
    if done.returncode:
        sys.exit(done.stderr)
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def medians(reports: list[dict[str, Any]]) -> dict[str, float]:
    """Seconds of each stage, and what ranks spent in theirs, over repeated runs."""
    stages = {
        name: median(report["stage_seconds"][name] for report in reports)
        for name in reports[0]["stage_seconds"]
    }
    for name in ("record_seconds", "keep_seconds"):
        stages[f"{name} (sum)"] = median(sum(report[name]) for report in reports)
        stages[f"{name} (most)"] = median(max(report[name]) for report in reports)
    return stages


def main() -> None:
    parser = argparse.ArgumentParser(description="The run on several numbers of ranks")
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--n", type=int, default=45)
    parser.add_argument("--islands", type=int, default=4)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        graph = build_model("structured-coalescent", n=options.n, islands=options.islands)
        save_graph(graph, directory / "graph.h5")
        turns = [[run(directory, n) for n in options.ranks] for _ in range(options.repeats)]
    columns = [medians(list(reports)) for reports in zip(*turns, strict=True)]
    table = Table("stage", *(f"{n} ranks, s" for n in options.ranks))
    for stage in columns[0]:
        table.add_row(stage, *(f"{column[stage]:.3f}" for column in columns))
    walls = [sum(report["stage_seconds"].values()) for report in turns[0]]
    memory = [max(report["peak_rss_bytes"]) / 2**30 for report in turns[0]]
    table.add_row("all stages", *(f"{wall:.3f}" for wall in walls))
    table.add_row("peak memory of rank 0, GiB", *(f"{gib:.2f}" for gib in memory))
    console = Console(width=110)
    console.print(table)
    one = columns[0]
    for n, column in zip(options.ranks[1:], columns[1:], strict=True):
        efficiency = one["record"] / (n * column["record"])
        console.print(f"{n} ranks: efficiency of the recording stage {efficiency:.2f}")
    serial = sum(value for stage, value in one.items() if stage in turns[0][0]["stage_seconds"])
    share = 1 - sum(one[stage] for stage in PARALLEL) / serial
    limit = 1 / (share + (1 - share) / 64)
    console.print(
        f"serial share on rank 0: {share:.0%}; Amdahl allows {limit:.1f}x on 64 ranks, "
        f"{1 / share:.1f}x on any number"
    )


if __name__ == "__main__":
    main()
