"""The two-locus ancestral process with descendant counts: record, mean and exact gradient.

    NPROC=1 taskset -c 0 python -m benchmarks.two_locus [--repeats 5] [n ...]

The graph is that of the bundled model `two-locus` with `descendants=1`; another process builds it.
Times are from the graph in memory to the numbers, without the start of Python and JAX. "compile" is
what XLA takes for the function of mean and gradient; a compiled function serves any theta and
program of the same shape. Medians; memory is the peak of the process after the first of these,
Python and JAX included, and what it grew by from the graph on.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import jax
import jax.numpy as jnp
from rich.console import Console
from rich.table import Table

from phasic_mpi.graph import PhaseTypeGraph
from phasic_mpi.graph_io import load_graph, save_graph
from phasic_mpi.models import build_model
from phasic_mpi.replay import load_program, moments
from tests.recording import record_alone

THETA = [1.0, 0.5]  # coalescence per pair, recombination per lineage


def measure(graph: PhaseTypeGraph, repeats: int) -> dict[str, float]:
    """Seconds and bytes of this process."""
    theta = jnp.array(THETA) + 0.0
    theta.block_until_ready()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    seconds: dict[str, list[float]] = {"record": [], "compile": [], "replay": []}

    def timed(name: str, call: Callable[..., Any], *arguments: Any) -> Any:
        begin = time.perf_counter()
        out = jax.block_until_ready(call(*arguments))
        seconds[name].append(time.perf_counter() - begin)
        return out

    for _ in range(repeats):
        program = timed("record", lambda: load_program(record_alone(graph)))
        function = jax.jit(jax.value_and_grad(lambda t, p: moments(p, t, 1)[0]))
        value = timed("compile", function.lower(theta, program).compile)
        mean, gradient = timed("replay", value, theta, program)
        if len(seconds["replay"]) == 1:
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    # The mean has the dimension of time: Euler's theorem on homogeneous functions.
    assert abs(float(gradient @ theta + mean)) < 1e-12 * float(mean)
    return {
        "vertices": graph.n_vertices,
        "edges": graph.n_edges,
        "mean": float(mean),
        **{name: median(times) for name, times in seconds.items()},
        "peak": peak,
        "grown": peak - before,
    }


def in_a_process(*arguments: str | Path | int) -> str:
    command = [sys.executable, "-m", "benchmarks.two_locus", *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("n", type=int, nargs="*", default=[8, 10])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--build", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.build is not None:
        save_graph(build_model("two-locus", n=options.n[0], descendants=1), options.build)
        return
    if options.measure is not None:
        jax.config.update("jax_enable_x64", True)
        print(json.dumps(measure(load_graph(options.measure), options.repeats)))
        return
    table = Table(
        *("n", "vertices", "edges", "record", "replay", "compile", "peak", "grown"),
        title="Two-locus ancestral process: mean and gradient",
    )
    with TemporaryDirectory() as folder:
        for n in options.n:
            path = Path(folder) / f"{n}.h5"
            in_a_process(n, "--build", path)
            row = json.loads(in_a_process("--measure", path, "--repeats", options.repeats))
            table.add_row(
                str(n),
                str(row["vertices"]),
                str(row["edges"]),
                *(f"{row[name]:.3f} s" for name in ("record", "replay", "compile")),
                *(f"{row[name] / 1e6:.0f} MB" for name in ("peak", "grown")),
            )
    Console().print(table)


if __name__ == "__main__":
    main()
