"""Recording time and memory, ours beside phasic's two recorders, on the same graphs.

    python -m benchmarks.record [--repeats 3] [name ...]

"first mean" is everything from a built graph to its mean: phasic eliminates with its C recorder; we
split, record, stitch and replay once. "record" is the same without the replay, beside phasic's
Python recorder, which takes acyclic graphs only. Processes of their own measure each tool, taking
turns; in each several passes on a graph built anew, start-up excluded. The table gives medians.
Memory is what the first pass adds to the peak of the process. Needs ``requirements-peers.txt``.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from statistics import median

import numpy as np
from rich.console import Console
from rich.table import Table

from phasic_mpi.graph import PhaseTypeGraph
from phasic_mpi.models import build_model
from tests.graphs import chain_of_sccs

# A process measures so many passes, each on a graph built anew, unless they take so long.
PASSES = 9
# Means that differ by more are shown; benchmarks/accuracy.py says who is right.
AGREEMENT = 1e-9
PATIENCE_SECONDS = 2.0

# phasic's C recorder ends with a segmentation fault, or not at all, on graphs beyond its means.
TIMEOUT_SECONDS = 300

Case = tuple[Callable[[], PhaseTypeGraph], list[float]]


def coalescent(n: int, islands: int) -> Case:
    return lambda: build_model("structured-coalescent", n=n, islands=islands), [1.0, 0.5]


CYCLIC: dict[str, Case] = {
    "coal2_64": coalescent(64, 2),
    "coal3_21": coalescent(21, 3),
    "coal3_30": coalescent(30, 3),
    "coal4_13": coalescent(13, 4),
    "tandem_44": (lambda: build_model("tandem-queue", capacity=44), [0.9, 1.0, 1.0]),
    "chain_50x40": (lambda: chain_of_sccs(50, 40, 1), [1.0]),
}
ACYCLIC: dict[str, Case] = {
    "sir_62": (lambda: build_model("sir", sizes=62), [2.0, 1.0]),
    "sir_110": (lambda: build_model("sir", sizes=110), [2.0, 1.0]),
}
CASES = CYCLIC | ACYCLIC


def measure(name: str, tool: str) -> dict[str, float]:
    """Runs one tool on one graph in this process."""
    build, theta = CASES[name]
    graph = build()
    work = {"ours": ours, "ours-record": ours_record, "phasic-c": phasic_c, "phasic-py": phasic_py}
    work[tool](build_model("kingman", n=4), [1.0])()  # warms up
    seconds: list[float] = []
    while len(seconds) < PASSES and sum(seconds) < PATIENCE_SECONDS:
        job = work[tool](graph, theta)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        begin = time.perf_counter()
        mean = job()
        seconds.append(time.perf_counter() - begin)
        if len(seconds) == 1:
            grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return {"seconds": median(seconds), "mib": grown / 1024, "mean": mean}


def ours(graph: PhaseTypeGraph, theta: list[float]) -> Callable[[], float]:
    from phasic_mpi.evaluate import moments
    from tests.recording import record_alone

    return lambda: float(moments(record_alone(graph), theta[: graph.n_parameters], 1)[0, 0])


def ours_record(graph: PhaseTypeGraph, theta: list[float]) -> Callable[[], float]:
    from tests.recording import record_alone

    del theta

    def job() -> float:
        record_alone(graph)
        return math.nan

    return job


def phasic_graph(graph: PhaseTypeGraph, theta: list[float]):
    import phasic

    fields = graph.serialize()
    if graph.state_length == 0:  # phasic wants at least one integer
        fields.update(states=np.arange(graph.n_vertices)[:, np.newaxis], state_length=1)
    if graph.n_parameters == 0:  # constant edges, the way phasic writes them
        fields.update(param_edges=fields["edges"], edges=np.zeros((0, 3)), param_length=1)
        fields["start_param_edges"] = np.zeros((0, 2))
    built = phasic.Graph.from_serialized(fields)
    built.update_weights(theta)
    return built


def phasic_c(graph: PhaseTypeGraph, theta: list[float]) -> Callable[[], float]:
    built = phasic_graph(graph, theta)
    return lambda: float(built.expectation())


def phasic_py(graph: PhaseTypeGraph, theta: list[float]) -> Callable[[], float]:
    from phasic.trace_elimination import record_elimination_trace

    built = phasic_graph(graph, theta)

    def job() -> float:
        record_elimination_trace(built, theta_dim=len(theta))
        return math.nan

    return job


def in_process(name: str, tool: str) -> dict[str, float] | str:
    """The measurement, or how the process ended instead."""
    command = [sys.executable, "-m", "benchmarks.record", "--child", tool, name]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return f"> {TIMEOUT_SECONDS} s"
    if done.returncode < 0:
        return f"killed by signal {-done.returncode}"
    if done.returncode:
        return done.stderr.strip().splitlines()[-1][:40]
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def compare(name: str, tools: tuple[str, str], repeats: int) -> tuple[list[str], float]:
    """Cells of one row of a table, and how many times faster ours is."""
    runs = [[in_process(name, tool) for tool in tools] for _ in range(repeats)]
    cells, medians = [], []
    for results in zip(*runs, strict=True):
        failed = [result for result in results if isinstance(result, str)]
        if failed:
            cells += [failed[0], ""]
            continue
        medians.append({key: median(result[key] for result in results) for key in results[0]})
        cells += [f"{1e3 * medians[-1]['seconds']:.2f}", f"{medians[-1]['mib']:.1f}"]
    if len(medians) < 2:
        return [name, *cells, "", ""], math.nan
    mine, theirs = medians
    if abs(theirs["mean"] / mine["mean"] - 1) > AGREEMENT:
        cells[2] += f" (mean {theirs['mean']:.4g}, ours {mine['mean']:.4g})"
    faster = theirs["seconds"] / mine["seconds"]
    smaller = theirs["mib"] / mine["mib"] if mine["mib"] else math.inf
    return [name, *cells, f"{faster:,.0f}x", f"{smaller:,.0f}x"], faster


def print_table(title: str, names: list[str], tools: tuple[str, str], repeats: int) -> None:
    columns = [f"{tool} {unit}" for tool in ("ours", "phasic") for unit in ("ms", "MiB")]
    table = Table("graph", *columns, "faster", "smaller", title=title)
    ratios = []
    for name in names:
        cells, faster = compare(name, tools, repeats)
        table.add_row(*cells)
        if not math.isnan(faster):
            ratios.append(faster)
    if ratios:
        mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
        table.add_row("geometric mean", "", "", "", "", f"{mean:,.0f}x", "")
    Console(width=110).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description="Recording beside phasic")
    parser.add_argument("names", nargs="*", metavar="name", help=", ".join(CASES))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--child", metavar="TOOL", help="measure one tool in this process")
    options = parser.parse_args()
    names = options.names or list(CASES)
    if options.child:
        print(json.dumps(measure(names[0], options.child)))
        return
    c_tools, python_tools = ("ours", "phasic-c"), ("ours-record", "phasic-py")
    for title, cases, tools in (
        ("first mean: ours beside phasic's C recorder, cyclic graphs", CYCLIC, c_tools),
        ("first mean: ours beside phasic's C recorder, acyclic graphs", ACYCLIC, c_tools),
        ("record: ours beside phasic's Python recorder, acyclic graphs", ACYCLIC, python_tools),
    ):
        chosen = [name for name in names if name in cases]
        if chosen:
            print_table(title, chosen, tools, options.repeats)


if __name__ == "__main__":
    main()
