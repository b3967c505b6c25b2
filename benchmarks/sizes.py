"""Seconds and memory from rules to moments, for structured coalescents of growing size.

    python -m benchmarks.sizes [--ranks 1] [n ...]

Each step is a program of its own: ``model`` writes the graph, ``run --no-gather`` records and
leaves the traces in an empty cache, ``evaluate`` computes the mean in one process. They use all
cores unless ``NPROC`` is set. Entries of L and U are those of distinct blocks and parts.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from phasic_mpi import manifest
from phasic_mpi.parts import divide
from phasic_mpi.scc import condense
from tests.launch import phasic_mpi

THETA = "1,0.5"


def step(
    *arguments: object, n_ranks: int | None = None, report: Path | None = None
) -> tuple[float, dict[str, Any]]:
    """Seconds by the clock of one program, start and imports included, and its report."""
    extra = [] if report is None else ["--report", report]
    begin = time.perf_counter()
    done = phasic_mpi(*arguments, *extra, n_ranks=n_ranks, timeout=3600)
    seconds = time.perf_counter() - begin
    if done.returncode:
        sys.exit(done.stderr)
    return seconds, {} if report is None else json.loads(report.read_text())


def measure(n: int, n_ranks: int) -> dict[str, float]:
    """Rows of the table for a sample of ``n`` on four islands."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        graph, traces = directory / "graph.h5", directory / "manifest.h5"
        settings = ("--set", f"n={n}", "--set", "islands=4")
        build, _ = step("model", "structured-coalescent", *settings, "-o", graph)
        cache = ("--no-gather", "-o", traces, "--cache", directory / "cache")
        record, run = step("run", graph, *cache, n_ranks=n_ranks, report=directory / "run.json")
        moments = ("evaluate", traces, "--theta", THETA)
        replay, evaluation = step(*moments, report=directory / "evaluation.json")
        n_entries = count_entries(traces)
        size = sum(file.stat().st_size for file in (directory / "cache").rglob("*.h5"))
    return {
        "vertices": run["n_vertices"],
        "edges": run["n_edges"],
        "entries of L and U": n_entries,
        "model, s": build,
        **stages("run", run["stage_seconds"], record),
        **stages("evaluate", evaluation["stage_seconds"], replay),
        "in all, s": build + record + replay,
        "in all, us per vertex": 1e6 * (build + record + replay) / run["n_vertices"],
        "in all, ns per entry": 1e9 * (build + record + replay) / n_entries,
        "cache, GiB": size / 2**30,
        "run: most memory of a rank, GiB": max(run["peak_rss_bytes"]) / 2**30,
        "evaluate: most memory of a rank, GiB": max(evaluation["peak_rss_bytes"]) / 2**30,
    }


def stages(command: str, seconds: Mapping[str, float], clock: float) -> dict[str, float]:
    """Rows of the stages that take time, and of the whole program."""
    own = {f"{command}: {stage}, s": seconds[stage] for stage in seconds if stage != "start"}
    own.pop("run: evaluate, s", None)
    return {**own, f"{command}, s": clock}


def count_entries(path: Path) -> int:
    """Off-diagonal entries of L and U of all distinct blocks, and parts of those that are cut."""
    made = manifest.load(path)
    return sum(made.n_entries(divide(condense(made.graph).distinct).units).values())


def main() -> None:
    parser = argparse.ArgumentParser(description="From rules to moments, by size")
    parser.add_argument("n", type=int, nargs="*", default=[34, 45, 60, 80])
    parser.add_argument("--ranks", type=int, default=1)
    options = parser.parse_args()
    columns = [measure(n, options.ranks) for n in options.n]
    table = Table("", *(f"n = {n}" for n in options.n))
    for row in columns[0]:
        table.add_row(row, *(show(column[row]) for column in columns))
    Console(width=110).print(table)


def show(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.3g}"


if __name__ == "__main__":
    main()
