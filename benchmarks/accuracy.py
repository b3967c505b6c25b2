"""Largest relative error of any component of the expected times, ours beside sparse LU programs.

    python -m benchmarks.accuracy

The answers come from elimination in 60 digits (``tests/reference.py``). SuperLU, KLU, UMFPACK and
PARDISO get the assembled matrix, as they must; ours gets the rates. Needs
``requirements-peers.txt``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

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

try:
    import kvxopt
    import kvxopt.klu
    import kvxopt.umfpack
    import pypardiso
except ImportError as exc:
    sys.exit(f"{exc}: pip install -r benchmarks/requirements-peers.txt")

Vector = NDArray[np.float64]
Solver = Callable[[sparse.csc_matrix, Vector], Vector]


def superlu(matrix: sparse.csc_matrix, right: Vector) -> Vector:
    return splu(matrix).solve(right)


def pardiso(matrix: sparse.csc_matrix, right: Vector) -> Vector:
    return pypardiso.spsolve(matrix.tocsr(), right)


def with_kvxopt(solve: Callable[[kvxopt.spmatrix, kvxopt.matrix], None]) -> Solver:
    def run(matrix: sparse.csc_matrix, right: Vector) -> Vector:
        entries = matrix.tocoo()
        rows, columns = (index.tolist() for index in (entries.row, entries.col))
        packed = kvxopt.spmatrix(entries.data.tolist(), rows, columns, matrix.shape)
        solution = kvxopt.matrix(right)
        solve(packed, solution)
        return np.array(solution).ravel()

    return run


PEERS: dict[str, Solver] = {
    "SuperLU": superlu,
    "KLU": with_kvxopt(kvxopt.klu.linsolve),
    "UMFPACK": with_kvxopt(kvxopt.umfpack.linsolve),
    "PARDISO": pardiso,
}

CASES: dict[str, tuple[Callable[[], PhaseTypeGraph], list[float]]] = {
    "chain_50x40, rates 10^U(-6,6)": (lambda: chain_of_sccs(50, 40, 1, rates=(-6, 6)), []),
    "coalescent, theta 1e6, 1e-6": (
        lambda: build_model("structured-coalescent", n=20, islands=3),
        [1e6, 1e-6],
    ),
    "coalescent, theta 1e-6, 1e6": (
        lambda: build_model("structured-coalescent", n=20, islands=3),
        [1e-6, 1e6],
    ),
    **{
        f"tandem_{capacity}, load 0.5": (
            lambda capacity=capacity: build_model("tandem-queue", capacity=capacity),
            [0.5, 1.0, 1.0],
        )
        for capacity in (20, 45, 60, 80)
    },
}


def errors(graph: PhaseTypeGraph, theta: list[float]) -> list[float]:
    """Ours first, then that of each peer."""
    expected = reference.expected_times(graph, theta)
    matrix, _, transient = reference.sub_intensity(graph, theta)
    wanted = [expected[vertex] for vertex in transient]
    ours = expected_rewards(record_alone(graph), theta)[transient]
    solutions = [ours, *(solve(matrix, np.ones(transient.size)) for solve in PEERS.values())]
    return [reference.largest_relative_error(solution, wanted) for solution in solutions]


def text(error: float) -> str:
    return f"{error:.0%}" if 0.01 < error < 100 else f"{error:.0e}"


def main() -> None:
    table = Table("case", "vertices", "phasic_mpi", *PEERS)
    for name, (build, theta) in CASES.items():
        graph = build()
        table.add_row(name, f"{graph.n_vertices:,}", *map(text, errors(graph, theta)))
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
