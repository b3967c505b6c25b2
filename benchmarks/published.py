"""Published cases, from rules to numbers on one core.

    NPROC=1 taskset -c 0 python -m benchmarks.published [--repeats 5] [--check] [name ...]

"rabbits": 1,000 rabbits on two islands, their mean time to extinction; Roikjer, Hobolth and Munch
(2022) publish 2 minutes. "isolation": the joint site frequency spectrum of isolation with migration
for 7 + 7 samples, published with 35 s on one core, and 15 minutes on twelve for the program of Kern
and Hey (2017). Each run is a process of its own; the tables give medians of CPU and wall seconds
by stage. "start" is Python and its imports, "prepare" the map between the epochs, the rewards and
the number of terms. ``--check`` simulates the spectrum with msprime.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from phasic_mpi.graph import PhaseTypeGraph
from phasic_mpi.models import build_model
from phasic_mpi.models.isolation_with_migration import joint_spectrum, vertices_before
from phasic_mpi.replay import Epoch, Program, choose_method, epochs, load_program, moments
from tests.recording import record_alone

STAGES = ("start", "build", "record", "load", "prepare", "compile", "evaluate")

N_RABBITS = 1000
RABBITS = (1.0, 2.0, 4.0)  # jump, floods of either island
N = 7  # samples from each population
SINCE = (1.0, 1.0, 0.5, 0.5)  # coalescence and migration on either island
SPLIT, BEFORE = 1.0, 1.0
SHOWN = ((0, 1), (1, 0), (1, 1), (0, 7), (3, 4), (6, 7))  # entries of the spectrum

N_TREES = 20_000


class Stopwatch:
    """CPU and wall seconds of each stage of this process."""

    def __init__(self) -> None:
        self.seconds = {"start": (time.process_time(), time.time() - _born())}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        cpu, wall = time.process_time(), time.perf_counter()
        yield
        self.seconds[name] = (time.process_time() - cpu, time.perf_counter() - wall)


def _born() -> float:
    """When this process began, in seconds since 1970."""
    with open("/proc/self/stat") as stat, open("/proc/uptime") as uptime:
        ticks = int(stat.read().rpartition(")")[2].split()[19])
        return time.time() - float(uptime.read().split()[0]) + ticks / 100


def rabbits(watch: Stopwatch) -> dict[str, Any]:
    with watch.stage("build"):
        graph = build_model("rabbits", n=N_RABBITS)
    program = programs_of(watch, [graph])[0]
    theta = jnp.array(RABBITS)
    mean = run(watch, lambda theta, program: moments(program, theta, 1)[0], theta, program)
    return {"vertices": [graph.n_vertices], "mean": float(mean)}


def isolation(watch: Stopwatch) -> dict[str, Any]:
    with watch.stage("build"):
        graphs = [
            build_model("isolation-with-migration", n1=N, n2=N, epoch=epoch) for epoch in (1, 2)
        ]
    programs = programs_of(watch, graphs)
    since, before = jnp.array(SINCE), jnp.array([BEFORE])
    with watch.stage("prepare"):
        onward = vertices_before(*(graph.states for graph in graphs))
        rewards = [joint_spectrum(graph.states, N, N) for graph in graphs]
        how = choose_method(programs[0], since, SPLIT)
        history = [Epoch(programs[0], since, SPLIT, onward, how), Epoch(programs[1], before)]
    spectrum = run(watch, epochs.expected_rewards, history, rewards).sum(axis=0)
    return {
        "vertices": [graph.n_vertices for graph in graphs],
        "branch length": float(spectrum.sum()),
        **{f"({i}, {j})": float(spectrum[i, j]) for i, j in SHOWN},
        "spectrum": np.asarray(spectrum).tolist(),
    }


CASES: dict[str, Callable[[Stopwatch], dict[str, Any]]] = {
    "rabbits": rabbits,
    "isolation": isolation,
}


def programs_of(watch: Stopwatch, graphs: list[PhaseTypeGraph]) -> list[Program]:
    with watch.stage("record"):
        traces = [record_alone(graph) for graph in graphs]
    with watch.stage("load"):
        return [load_program(trace) for trace in traces]


def run(watch: Stopwatch, function: Callable[..., jax.Array], *arguments: Any) -> jax.Array:
    with watch.stage("compile"):
        compiled = jax.jit(function).lower(*arguments).compile()
    with watch.stage("evaluate"):
        return compiled(*arguments).block_until_ready()


def in_a_process(name: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.published", "--child", name]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def show(console: Console, name: str, runs: list[dict[str, Any]]) -> None:
    table = Table("", *STAGES, "total", "without start", title=f"{name}, seconds")
    for column, kind in enumerate(("CPU", "wall")):
        rows = [[run["seconds"].get(s, (0.0, 0.0))[column] for s in STAGES] for run in runs]
        medians = [median(stage) for stage in zip(*rows, strict=True)]
        totals = [median(sum(row) for row in rows), median(sum(row[1:]) for row in rows)]
        table.add_row(kind, *(f"{value:.2f}" for value in [*medians, *totals]))
    console.print(table)
    console.print(f"peak memory {median(run['peak'] for run in runs) / 1e6:.0f} MB")
    for key, value in runs[0]["facts"].items():
        if key != "spectrum":
            console.print(f"{key}: {value}", highlight=False)


def check(console: Console, spectrum: NDArray[np.float64]) -> None:
    """The spectrum beside that of simulated trees."""
    import msprime

    demography = msprime.Demography()
    for name, size in zip("ABC", (1 / SINCE[0], 1 / SINCE[1], 1 / BEFORE), strict=True):
        demography.add_population(name=name, initial_size=size)
    demography.set_migration_rate("A", "B", SINCE[2])
    demography.set_migration_rate("B", "A", SINCE[3])
    demography.add_population_split(time=SPLIT, derived=["A", "B"], ancestral="C")
    trees = msprime.sim_ancestry(
        {"A": N, "B": N}, demography=demography, ploidy=1, num_replicates=N_TREES, random_seed=1
    )
    samples = [list(range(N)), list(range(N, 2 * N))]
    options: dict[str, Any] = {"mode": "branch", "polarised": True}
    simulated = np.array([tree.allele_frequency_spectrum(samples, **options) for tree in trees])
    error = simulated.std(axis=0) / np.sqrt(N_TREES)
    seen = error > 0
    deviation = np.abs(simulated.mean(axis=0) - spectrum)[seen] / error[seen]
    typical = np.sqrt((deviation**2).mean())
    console.print(
        f"msprime, {N_TREES:,} trees: largest of {seen.sum()} deviations "
        f"{deviation.max():.2f} standard errors, root mean square {typical:.2f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", nargs="*", help=f"{', '.join(CASES)}; all if none is given")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--check", action="store_true", help="beside msprime")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        watch = Stopwatch()
        jax.config.update("jax_enable_x64", True)
        facts = CASES[options.child](watch)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps({"seconds": watch.seconds, "facts": facts, "peak": peak}))
        return
    console = Console(width=120)
    for name in options.name or CASES:
        runs = [in_a_process(name) for _ in range(options.repeats)]
        show(console, name, runs)
        if options.check and name == "isolation":
            check(console, np.array(runs[0]["facts"]["spectrum"]))


if __name__ == "__main__":
    main()
