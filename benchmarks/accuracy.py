"""Largest relative error of any component of the expected times, ours beside sparse LU programs.

    python -m benchmarks.accuracy [--peers SuperLU KLU UMFPACK PARDISO]

The answers come from elimination in 60 digits (``tests/reference.py``). SuperLU, KLU, UMFPACK and
PARDISO get the assembled matrix, as they must; ours gets the rates. Needs
``requirements-peers.txt``: a peer that is missing is an error, unless ``--peers`` leaves it out.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy import sparse
from scipy.sparse.linalg import splu

from phasic_mpi.evaluate import expected_rewards
from phasic_mpi.graph import PhaseTypeGraph
from phasic_mpi.models import build_model
from tests import reference
from tests.graphs import chain_of_sccs
from tests.recording import record_alone

Vector = NDArray[np.float64]
Solver = Callable[[sparse.csc_matrix, Vector], Vector]


def superlu() -> Solver:
    return lambda matrix, right: splu(matrix).solve(right)


def pardiso() -> Solver:
    pypardiso = importlib.import_module("pypardiso")
    return lambda matrix, right: pypardiso.spsolve(matrix.tocsr(), right)


def suitesparse(name: str) -> Solver:
    """A program of SuiteSparse by its module in kvxopt."""
    kvxopt = importlib.import_module("kvxopt")
    program = importlib.import_module(f"kvxopt.{name}")

    def solve(matrix: sparse.csc_matrix, right: Vector) -> Vector:
        entries = matrix.tocoo()
        rows, columns = (index.tolist() for index in (entries.row, entries.col))
        packed = kvxopt.spmatrix(entries.data.tolist(), rows, columns, matrix.shape)
        solution = kvxopt.matrix(right)
        program.linsolve(packed, solution)
        return np.array(solution).ravel()

    return solve


# Called once, so that only the peers that were asked for are imported.
PEERS: dict[str, Callable[[], Solver]] = {
    "SuperLU": superlu,
    "KLU": lambda: suitesparse("klu"),
    "UMFPACK": lambda: suitesparse("umfpack"),
    "PARDISO": pardiso,
}

Build = Callable[[], PhaseTypeGraph]


def chain(seed: int) -> Build:
    return partial(chain_of_sccs, 50, 40, seed, rates=(-6, 6))


COALESCENT: Build = partial(build_model, "structured-coalescent", n=20, islands=3)

# One graph is one draw: what LU loses on a chain differs by four orders of magnitude between seeds.
CASES: dict[str, tuple[list[Build], list[float]]] = {
    "chain_50x40, rates 10^U(-6,6), seed 1": ([chain(1)], []),
    "the same, median of seeds 1 to 10": ([chain(seed) for seed in range(1, 11)], []),
    "coalescent, theta 1e6, 1e-6": ([COALESCENT], [1e6, 1e-6]),
    "coalescent, theta 1e-6, 1e6": ([COALESCENT], [1e-6, 1e6]),
    **{
        f"tandem_{capacity}, load 0.5": (
            [partial(build_model, "tandem-queue", capacity=capacity)],
            [0.5, 1.0, 1.0],
        )
        for capacity in (20, 45, 60, 80)
    },
}


def load(names: list[str]) -> dict[str, Solver]:
    """The solvers of those names; ends the program if one is missing."""
    solvers = {}
    for name in names:
        try:
            solvers[name] = PEERS[name]()
        except ImportError as exc:
            others = " ".join(other for other in names if other != name)
            sys.exit(
                f"{name}: {exc}. Install it with pip install -r "
                f"benchmarks/requirements-peers.txt, or leave it out with --peers {others}"
            )
    return solvers


def errors(graph: PhaseTypeGraph, theta: list[float], solvers: dict[str, Solver]) -> list[float]:
    """Ours first, then that of each peer."""
    expected, _, _ = reference.expected_times(graph, theta)
    matrix, _, transient = reference.sub_intensity(graph, theta)
    wanted = [expected[vertex] for vertex in transient]
    ours = expected_rewards(record_alone(graph), theta)[transient]
    solutions = [ours, *(solve(matrix, np.ones(transient.size)) for solve in solvers.values())]
    return [reference.largest_relative_error(solution, wanted) for solution in solutions]


def text(error: float) -> str:
    return f"{error:.0%}" if 0.01 < error < 100 else f"{error:.0e}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=list(PEERS), metavar="PEER")
    solvers = load(parser.parse_args().peers)
    table = Table("case", "vertices", "phasic_mpi", *solvers)
    for name, (builds, theta) in CASES.items():
        graphs = [build() for build in builds]
        found = np.median([errors(graph, theta, solvers) for graph in graphs], axis=0)
        table.add_row(name, f"{graphs[0].n_vertices:,}", *map(text, found.tolist()))
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
