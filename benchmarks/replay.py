"""Replay of the mean beside KLU's refactorisation and solve of the same matrix.

    NPROC=1 taskset -c 0 python -m benchmarks.replay [--repeats 5] [name ...]

Both work on one core, as the command above has it, and take turns. "one" is one theta, "batch" the
time per theta of a batch: first the compiled kernel, timed below JAX as KLU is, then a call of the
jitted solve, with what JAX takes for a call and for the memory of its result. Medians of times, and
of KLU's time by ours turn by turn; below each size their geometric means.
Needs ``requirements-peers.txt``.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import geometric_mean
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table
from scipy import sparse

from benchmarks.klu import Klu
from phasic_mpi import ffi
from phasic_mpi.graph import PhaseTypeGraph
from phasic_mpi.models import build_model
from phasic_mpi.replay.program import Program, edge_weights, load_program
from tests.graphs import chain_of_sccs
from tests.recording import record_alone

# A batch has as many theta, or as many as need so many bytes of operands and solutions.
BATCH = 1000
BATCH_BYTES = 400e6
# A single call is repeated for so long within each turn.
TURN_SECONDS = 0.05

Case = tuple[Callable[[], PhaseTypeGraph], list[float]]


def coalescent(n: int, islands: int) -> Case:
    return lambda: build_model("structured-coalescent", n=n, islands=islands), [1.0, 0.5]


def tandem(capacity: int) -> Case:
    return lambda: build_model("tandem-queue", capacity=capacity), [0.9, 1.0, 1.0]


def chain(n_blocks: int) -> Case:
    return lambda: chain_of_sccs(n_blocks, 40, 1), []


def epidemic(size: int) -> Case:
    """SIS among two types of ``size`` each, the first infected a little more."""
    settings = {"sizes": [size, size], "infected": [1, 1], "contact": "1.2,1.2;1.1,1.1"}
    return lambda: build_model("sis", **settings), [1.0, 1.0]


CASES: dict[int, dict[str, Case]] = {
    200: {
        "coal2_19": coalescent(19, 2),
        "coal3_9": coalescent(9, 3),
        "coal4_6": coalescent(6, 4),
        "tandem_13": tandem(13),
        "sis2_13": epidemic(13),
        "chain_5x40": chain(5),
    },
    2_000: {
        "coal2_64": coalescent(64, 2),
        "coal3_21": coalescent(21, 3),
        "coal4_13": coalescent(13, 4),
        "tandem_44": tandem(44),
        "sis2_44": epidemic(44),
        "chain_50x40": chain(50),
    },
    20_000: {
        "coal2_200": coalescent(200, 2),
        "coal3_48": coalescent(48, 3),
        "coal4_25": coalescent(25, 4),
        "tandem_141": tandem(141),
        "sis2_141": epidemic(141),
        "chain_500x40": chain(500),
    },
}


def matrix_of(program: Program, weight: np.ndarray) -> sparse.csc_matrix:
    n = program.n_transient
    source, target = np.asarray(program.source), np.asarray(program.target)
    inner = target < n
    rates = sparse.coo_matrix((weight[inner], (source[inner], target[inner])), shape=(n, n))
    return sparse.csc_matrix(sparse.diags(np.bincount(source, weights=weight, minlength=n)) - rates)


def seconds_per_call(call: Callable[[], object]) -> float:
    n_calls, begin = 0, time.perf_counter()
    while n_calls == 0 or time.perf_counter() - begin < TURN_SECONDS:
        call()
        n_calls += 1
    return (time.perf_counter() - begin) / n_calls


class Times(NamedTuple):
    """Seconds per theta, and KLU's time by each of ours."""

    klu: float
    ours: list[float]
    ratios: list[float]


def measure(case: Case, repeats: int) -> tuple[int, Times]:
    """Transient vertices; medians over turns."""
    build, theta = case
    program = load_program(record_alone(build()))
    n = program.n_transient
    weight = np.asarray(edge_weights(program, jnp.array(theta)))
    size = 8 * max(1, min(BATCH, int(BATCH_BYTES / (8 * (weight.size + n)))) // 8)
    weights = weight * np.random.default_rng(1).uniform(0.9, 1.1, (size, 1))

    def solve(weight: jax.Array, right: jax.Array) -> jax.Array:
        none = jnp.zeros((0, n))
        return ffi.solve(program.plan, weight, jnp.zeros(n), none, right, transposed=False)

    one, batch = jax.jit(solve), jax.jit(jax.vmap(solve, (0, None)))
    first, many, right = jnp.array(weight), jnp.array(weights), jnp.ones((1, n))
    klu = Klu(matrix_of(program, weight))

    def refactor() -> None:
        klu.x[:] = 1.0
        klu.refactor_and_solve()

    works: list[Callable[[], float]] = [
        lambda: seconds_per_call(refactor),
        lambda: program.plan.time_solves(weight[np.newaxis], TURN_SECONDS),
        lambda: seconds_per_call(lambda: one(first, right).block_until_ready()),
        lambda: program.plan.time_solves(weights, TURN_SECONDS) / size,
        lambda: seconds_per_call(lambda: batch(many, right).block_until_ready()) / size,
    ]
    for work in works:
        work()
    turns = np.array([[work() for work in works] for _ in range(repeats)])
    seconds, ratios = np.median(turns, axis=0), np.median(turns[:, :1] / turns[:, 1:], axis=0)
    return n, Times(seconds[0], seconds[1:].tolist(), ratios.tolist())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("names", nargs="*", help="graphs; all if none is given")
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    table = Table("graph", "vertices", "KLU us")
    for kind in ("one", "one, JAX", "batch", "batch, JAX"):
        table.add_column(f"{kind} us")
        table.add_column("KLU / it")
    for size, cases in CASES.items():
        ratios = []
        for name, case in cases.items():
            if options.names and name not in options.names:
                continue
            n, times = measure(case, options.repeats)
            ratios.append(times.ratios)
            cells = [f"{times.klu * 1e6:.1f}"]
            for seconds, ratio in zip(times.ours, times.ratios, strict=True):
                cells += [f"{seconds * 1e6:.1f}", f"{ratio:.2f}"]
            table.add_row(name, f"{n:,}", *cells)
        if ratios:
            means = [f"{geometric_mean(column):.2f}" for column in zip(*ratios, strict=True)]
            cells = [cell for mean in means for cell in ("", mean)]
            table.add_row(f"about {size:,}", "", "", *cells, end_section=True)
    Console(width=160).print(table)


if __name__ == "__main__":
    main()
