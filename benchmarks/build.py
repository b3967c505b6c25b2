"""Building graphs from rules, beside phasic's builder, and ten million edges to a file and back.

    taskset -c 0 python -m benchmarks.build [--repeats 3] [name ...]

Ours builds by a rule over whole frontiers ("vectorised") and by a callback for one state
("scalar"); phasic takes the same callback. Processes of their own build one graph each, taking
turns; the table gives medians of CPU seconds, start-up excluded, and what a build adds to the
memory. "layer" is the mean number of states that are explored at once: the narrower, the more of
the time is that of calling NumPy. "file" builds a tandem queue of ten million edges, writes it as
HDF5 and reads it back. Needs ``requirements-peers.txt``.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console
from rich.table import Table

from phasic_mpi.builder import build_graph
from phasic_mpi.graph_io import load_graph, save_graph
from phasic_mpi.models import MODELS
from phasic_mpi.models.model import Process

State = list[int] | tuple[int, ...]
Moves = list[tuple[list[int], list[float]]]
Callback = Callable[[State], Moves]

TOOLS = ("vectorised", "scalar", "phasic")
EDGES = 10_000_000
FILE_CAPACITY = 1826  # 3 edges a state


def coalescent(n: int, islands: int) -> tuple[Process, Callback]:
    def callback(state: State) -> Moves:
        if sum(state) == 1:
            return []
        moves: Moves = []
        for i, k in enumerate(state):
            if k == 0:
                continue
            fewer = list(state)
            fewer[i] -= 1
            if k > 1:
                moves.append((fewer, [k * (k - 1) / 2, 0.0]))
            for j in range(islands):
                if j != i:
                    moved = fewer.copy()
                    moved[j] += 1
                    moves.append((moved, [0.0, float(k)]))
        return moves

    return MODELS["structured-coalescent"].choose({"n": n, "islands": islands}), callback


def tandem(capacity: int) -> tuple[Process, Callback]:
    def callback(state: State) -> Moves:
        first, second = state
        if first > capacity or second > capacity:
            return []
        moves: Moves = [([first + 1, second], [1.0, 0.0, 0.0])]
        if first:
            moves.append(([first - 1, second + 1], [0.0, 1.0, 0.0]))
        if second:
            moves.append(([first, second - 1], [0.0, 0.0, 1.0]))
        return moves

    return MODELS["tandem-queue"].choose({"capacity": capacity}), callback


CASES: dict[str, Callable[[], tuple[Process, Callback]]] = {
    "tandem_31": lambda: tandem(31),
    "coal4_11": lambda: coalescent(11, 4),
    "tandem_100": lambda: tandem(100),
    "coal4_20": lambda: coalescent(20, 4),
    "tandem_316": lambda: tandem(316),
    "coal4_37": lambda: coalescent(37, 4),
    "coal4_45": lambda: coalescent(45, 4),
    "tandem_1000": lambda: tandem(1000),
}


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def builder(tool: str, process: Process, callback: Callback) -> Callable[[], Any]:
    """What builds the graph by this tool."""
    if tool == "vectorised":
        return process.graph
    if tool == "phasic":
        return partial(phasic_graph, process, callback)
    n_parameters = len(process.parameters)
    return partial(build_graph, process.initial, callback, parameters=n_parameters, per_state=True)


def measure(name: str, tool: str) -> dict[str, float]:
    """Builds one graph in this process by one tool, after a small one."""
    builder(tool, *tandem(2))()
    process, callback = CASES[name]()
    build = builder(tool, process, callback)
    before, begin = peak(), time.process_time()
    graph = build()
    seconds = time.process_time() - begin
    facts = {"seconds": seconds, "bytes": peak() - before}
    if tool == "phasic":
        return facts | {"vertices": graph.vertices_length()}
    layers: list[int] = []
    process.graph(progress=lambda explored, _: layers.append(explored))
    layer = graph.n_vertices / len(layers)
    return facts | {"vertices": graph.n_vertices, "edges": graph.n_edges, "layer": layer}


def phasic_graph(process: Process, callback: Callback) -> Any:
    import phasic

    return phasic.Graph(
        # Numbers of NumPy, which it gives to the callback, would make the callback slower.
        lambda state: callback(state.tolist()),
        ipv=[(list(process.initial), 1.0)],
        graph_cache=False,  # which would return the graph of another callback's closure
    )


def measure_file(folder: Path) -> dict[str, float]:
    """Ten million edges: built, written, read."""
    process, _ = tandem(FILE_CAPACITY)
    begin = time.perf_counter()
    graph = process.graph()
    built = time.perf_counter()
    n_bytes = save_graph(graph, folder / "graph.h5")
    written = time.perf_counter()
    again = load_graph(folder / "graph.h5")
    read = time.perf_counter()
    assert again.equals(graph)
    return {
        "vertices": graph.n_vertices,
        "edges": graph.n_edges,
        "build": built - begin,
        "write": written - built,
        "read": read - written,
        "file": n_bytes,
        "peak": peak(),
    }


def in_a_process(*arguments: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.build", *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def add_row(table: Table, name: str, repeats: int) -> None:
    runs = [[in_a_process("--child", tool, name) for tool in TOOLS] for _ in range(repeats)]
    ours, scalar, peer = (
        {key: median(run[key] for run in results) for key in results[0]}
        for results in zip(*runs, strict=True)
    )
    assert ours["vertices"] == scalar["vertices"] == peer["vertices"]
    edges = ours["edges"]
    table.add_row(
        name,
        f"{ours['vertices']:,.0f}",
        f"{edges:,.0f}",
        f"{ours['layer']:,.0f}",
        *(f"{tool['seconds']:.3f}" for tool in (ours, scalar, peer)),
        f"{edges / ours['seconds'] / 1e6:.1f}",
        f"{peer['seconds'] / ours['seconds']:.0f}x",
        f"{peer['seconds'] / scalar['seconds']:.1f}x",
        *(f"{tool['bytes'] / 1e6:,.0f}" for tool in (ours, peer)),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", nargs="*", help=f"{', '.join(CASES)}, file; all if none is given")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    names = options.name or [*CASES, "file"]
    if options.child == "file":
        with TemporaryDirectory() as folder:
            print(json.dumps(measure_file(Path(folder))))
        return
    if options.child:
        print(json.dumps(measure(names[0], options.child)))
        return
    table = Table(
        *("graph", "vertices", "edges", "layer", "ours, s", "scalar, s", "phasic, s"),
        *("M edges/s", "faster", "scalar", "ours, MB", "phasic, MB"),
        title="Building from rules; how many times faster than phasic",
    )
    for name in names:
        if name != "file":
            add_row(table, name, options.repeats)
    Console(width=140).print(table)
    if "file" in names:
        facts = in_a_process("--child", "file")
        rows = Table(*facts, title="Ten million edges; seconds and bytes")
        rows.add_row(*(f"{value:,.2f}".removesuffix(".00") for value in facts.values()))
        Console(width=140).print(rows)


if __name__ == "__main__":
    main()
