"""The backend "xla" on JAX's default device beside "ffi" on the CPUs of the same machine.

    python -m benchmarks.backends [--repeats 3] [--seconds 60] [--most 10000] [name ...]

A call computes the mean for a batch of theta under ``jit`` and ``vmap``; theta scales the
weights, so that graphs without parameters do, too. Each backend has a process of its own. Medians
of calls; compilation stands apart. A batch is left out if it needs more than half of the memory,
or if the batch before it took a tenth of ``--seconds``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from statistics import median

import jax
import jax.numpy as jnp
from rich.console import Console
from rich.table import Table

from benchmarks.replay import CASES, Case
from phasic_mpi.replay.linear import solve
from phasic_mpi.replay.program import BACKENDS, Program, edge_weights, load_program
from tests.recording import record_alone

Row = dict[str, float | int | str]


def mean(program: Program, weight: jax.Array, scale: jax.Array) -> jax.Array:
    """Sum of the expected times to absorption from all vertices."""
    return solve(program, weight * scale, jnp.ones((1, program.n_transient))).sum()


def bytes_per_theta(program: Program) -> int:
    """What weights, values and unknowns take, with one copy of each."""
    numbers = program.constant.size + 2 * program.n_transient
    if program.schedule is not None:
        numbers += program.schedule.origin.size + program.schedule.forward.origin.size
    return 2 * 8 * numbers


def memory() -> int:
    """Bytes of the default device."""
    statistics = jax.devices()[0].memory_stats() or {}
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return int(statistics.get("bytes_limit", machine))


def measure(name: str, case: Case, backend: str, options: argparse.Namespace) -> Iterator[Row]:
    """One row per size of the batch."""
    build, theta = case
    trace = record_alone(build())
    begin = time.perf_counter()
    program = jax.block_until_ready(load_program(trace, backend))
    load = time.perf_counter() - begin
    weight = edge_weights(program, jnp.array(theta))
    call = jax.jit(jax.vmap(mean, (None, None, 0)))
    seconds, n_theta = 0.0, 1
    while n_theta <= options.most and seconds < options.seconds / 10:
        if n_theta * bytes_per_theta(program) > memory() / 2:
            return
        scales = jnp.linspace(0.9, 1.1, n_theta)
        begin = time.perf_counter()
        compiled = call.lower(program, weight, scales).compile()
        compiling = time.perf_counter() - begin
        times = []
        for _ in range(1 + options.repeats):
            begin = time.perf_counter()
            compiled(program, weight, scales).block_until_ready()
            times.append(time.perf_counter() - begin)
        seconds = median(times[1:])
        yield {
            "name": name,
            "vertices": program.n_transient,
            "theta": n_theta,
            "load": load,
            "compile": compiling,
            "seconds": seconds,
            "device": jax.devices()[0].device_kind,
        }
        n_theta *= 10


def measured(backend: str, arguments: list[str]) -> list[Row]:
    """The rows of a backend, by a process of its own."""
    platform = {"JAX_PLATFORMS": "cpu"} if backend == "ffi" else {}
    command = [sys.executable, "-m", "benchmarks.backends", "--backend", backend, *arguments]
    done = subprocess.run(
        command, env={**os.environ, **platform}, stdout=subprocess.PIPE, text=True, check=True
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def show(rows: dict[str, list[Row]]) -> None:
    console = Console(width=120)
    for backend in BACKENDS:
        console.print(
            f"{backend}: {', '.join(sorted({str(row['device']) for row in rows[backend]}))}"
        )
    table = Table(
        "graph", "vertices", "theta", "ffi ms", "xla ms", "ffi / xla", "load s", "compile s"
    )
    compiled = {(row["name"], row["theta"]): row for row in rows["ffi"]}
    for row in rows["xla"]:
        other = compiled.get((row["name"], row["theta"]))
        texts = [str(row["name"]), f"{row['vertices']:,}", f"{row['theta']:,}"]
        texts += ["", f"{row['seconds'] * 1e3:.2f}", ""]
        if other is not None:
            texts[3] = f"{other['seconds'] * 1e3:.2f}"
            texts[5] = f"{other['seconds'] / row['seconds']:.3f}"
        table.add_row(*texts, f"{row['load']:.2f}", f"{row['compile']:.2f}")
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--most", type=int, default=10_000, help="theta in the largest batch")
    parser.add_argument("--backend", choices=BACKENDS, help="measure this one only, print JSON")
    parser.add_argument("names", nargs="*", help="graphs; all if none is given")
    options = parser.parse_args()
    if options.backend is None:
        show({backend: measured(backend, sys.argv[1:]) for backend in BACKENDS})
        return
    jax.config.update("jax_enable_x64", True)
    for cases in CASES.values():
        for name, case in cases.items():
            if not options.names or name in options.names:
                for row in measure(name, case, options.backend, options):
                    print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
