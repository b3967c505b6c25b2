"""Replay of one theta on large blocks, beside PARDISO and KLU on the same matrix.

    NPROC=1 taskset -c 0 python -m benchmarks.large_blocks [--repeats 5] [--exact] [name ...]

Factor and solve: seconds of the processor's time on one core, medians; all take turns, and ratios
are medians over turns. "apart" is ours without supernodes. A flop is a multiplication or an
addition, of those that the pattern of the trace needs. "--exact" compares all expected times with
elimination in extended precision, which takes minutes. "--threads" compares one thread with all
that JAX has instead, by the clock, without peers: for an idle machine, without NPROC and taskset.
Needs ``requirements-peers.txt``.
"""

from __future__ import annotations

import argparse
import importlib
import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy import sparse

from benchmarks.extended import expected_times
from benchmarks.klu import Klu
from benchmarks.replay import Case, coalescent, matrix_of, tandem
from phasic_mpi import _core, ffi
from phasic_mpi.models import build_model
from phasic_mpi.replay.program import edge_weights, load_program
from phasic_mpi.trace import EliminationTrace
from tests.recording import record_alone

Vector = NDArray[np.float64]


def sirs(size: int) -> Case:
    """SIRS among two types: four dimensions, one component."""
    return lambda: build_model("sir", sizes=[size, size], waning=1), [1.0, 1.0, 0.5]


CASES: dict[str, Case] = {
    "tandem_141": tandem(141),
    "tandem_447": tandem(447),
    "sirs2_15": sirs(15),
    "coal4_25": coalescent(25, 4),
    "coal4_45": coalescent(45, 4),
}

# Refactoring by KLU takes minutes where it has more entries than this.
MOST_FOR_KLU = 3e7


class Pardiso:
    """A matrix, analysed once, with the settings that pypardiso has by default."""

    def __init__(self, matrix: sparse.csc_matrix) -> None:
        self._solver = importlib.import_module("pypardiso").PyPardisoSolver()
        self._matrix = matrix.tocsr()
        self._matrix.sort_indices()
        self._right = np.ones(matrix.shape[0])
        self._call(11)

    def _call(self, phase: int) -> Vector:
        self._solver.set_phase(phase)
        return np.asarray(self._solver._call_pardiso(self._matrix, self._right)).ravel()

    def refactor_and_solve(self) -> Vector:
        self._call(22)
        return self._call(33)


class System(NamedTuple):
    """A trace at one theta."""

    trace: EliminationTrace
    weight: Vector
    matrix: sparse.csc_matrix

    @property
    def n_flops(self) -> int:
        """Multiplications and additions that the elimination of all blocks takes."""
        per_pattern = np.append(self.trace.core().count_updates(), 0)
        return 2 * int(per_pattern[self.trace.block_pattern].sum())

    def plan(self, supernodes: bool | None) -> _core.Plan:
        return _core.Plan(self.trace.core(), np.unique(self.trace.edge_slot), supernodes)


def prepare(case: Case) -> System:
    build, theta = case
    trace = record_alone(build())
    program = load_program(trace)
    weight = np.asarray(edge_weights(program, jnp.array(theta)))
    return System(trace, weight, matrix_of(program, weight))


def solver(system: System, supernodes: bool | None = None) -> Callable[[], jax.Array]:
    """Factors and solves for the expected times through JAX."""
    n, plan = system.trace.n_transient, system.plan(supernodes)
    none = jnp.zeros((0, n))

    @jax.jit
    def solve(weight: jax.Array, right: jax.Array) -> jax.Array:
        return ffi.solve(plan, weight, jnp.zeros(n), none, right, transposed=False)

    weight, right = jnp.array(system.weight), jnp.ones((1, n))
    return lambda: solve(weight, right).block_until_ready()


def processor_seconds(work: Callable[[], object]) -> float:
    begin = time.process_time()
    work()
    return time.process_time() - begin


def compare(system: System, repeats: int) -> list[str]:
    """Cells of a row: seconds of ours, apart, PARDISO and KLU, and their ratios to ours."""
    weights = system.weight[np.newaxis]
    plans = [system.plan(supernodes) for supernodes in (None, False)]
    works: list[Callable[[], object]] = [
        lambda: plans[0].time_solves(weights, 0.0),
        lambda: plans[1].time_solves(weights, 0.0),
        Pardiso(system.matrix).refactor_and_solve,
    ]
    if system.trace.col.size <= MOST_FOR_KLU:
        works.append(Klu(system.matrix).refactor_and_solve)
    for work in works:
        work()
    turns = np.array([[processor_seconds(work) for work in works] for _ in range(repeats)])
    seconds, ratios = np.median(turns, axis=0), np.median(turns[:, 1:] / turns[:, :1], axis=0)
    cells = [f"{seconds[0]:.4f}", f"{seconds[0] * 1e9 / system.n_flops:.3f}"]
    for second, ratio in zip(seconds[1:], ratios, strict=True):
        cells += [f"{second:.4f}", f"{ratio:.2f}"]
    return cells + ["-"] * (8 - len(cells))


def errors(system: System) -> list[str]:
    """Largest relative errors of the expected times, ours and PARDISO's."""
    exact = expected_times(system.trace, system.weight)
    answers = [np.asarray(solver(system)()).ravel(), Pardiso(system.matrix).refactor_and_solve()]
    return [f"{float(np.abs(answer / exact - 1).max()):.1e}" for answer in answers]


def print_comparison(systems: dict[str, System], repeats: int, exact: bool) -> None:
    table = Table("graph", "vertices", "nnz", "flops", "ours s", "ns/flop")
    for peer in ("apart", "PARDISO", "KLU"):
        table.add_column(f"{peer} s")
        table.add_column("/ ours")
    table.add_column("our error")
    table.add_column("PARDISO's")
    for name, system in systems.items():
        sizes = [f"{system.trace.n_transient:,}", f"{system.trace.col.size:,}"]
        cells = compare(system, repeats) + (errors(system) if exact else ["-", "-"])
        table.add_row(name, *sizes, f"{system.n_flops:.2e}", *cells)
    Console(width=180).print(table)


def print_threads(systems: dict[str, System], repeats: int) -> None:
    """One thread, without JAX, and all that JAX has."""
    table = Table("graph", "one thread s", "all threads s", "ratio")
    for name, system in systems.items():
        solve, plan = solver(system), system.plan(None)
        solve()
        turns = []
        for _ in range(repeats):
            one = plan.time_solves(system.weight[np.newaxis], 0.0)
            begin = time.perf_counter()
            solve()
            turns.append((one, time.perf_counter() - begin))
        one, every = np.median(turns, axis=0)
        ratio = np.median([first / second for first, second in turns])
        table.add_row(name, f"{one:.4f}", f"{every:.4f}", f"{ratio:.2f}")
    Console(width=120).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--exact", action="store_true")
    parser.add_argument("--threads", action="store_true")
    parser.add_argument("names", nargs="*", help="graphs; all if none is given")
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    names = options.names or list(CASES)
    systems = {name: prepare(CASES[name]) for name in names}
    if options.threads:
        print_threads(systems, options.repeats)
    else:
        print_comparison(systems, options.repeats, options.exact)


if __name__ == "__main__":
    main()
