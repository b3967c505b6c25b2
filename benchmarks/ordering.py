"""Elimination orders against METIS and SuiteSparse AMD: fill and products of L and U, and time.

    taskset -c 0 python -m benchmarks.ordering [--repeats 5] [name ...]

All order each strongly connected component by itself; entries, products and seconds are sums over
them. "chosen" is what recording uses: Markowitz's order for small blocks, the better of minimum
degree and nested dissection for large ones. METIS (nested dissection) comes with pymetis; AMD is
the library in the wheel of kvxopt, called through ctypes (``requirements-peers.txt``).
"""

from __future__ import annotations

import ctypes
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.options import names_and_repeats
from phasic_mpi import _core
from phasic_mpi.models import build_model
from phasic_mpi.scc import SccBlock, condense

Blocks = Sequence[SccBlock]
Order = NDArray[np.int32]
Job = Callable[[], Order]  # orders one block; all that is not ordering was done before


def block_of(n: int, source: NDArray[np.int64], target: NDArray[np.int64]) -> SccBlock:
    """The block with these edges; repeated ones count once, self-loops not at all."""
    edge = np.unique((source * n + target)[source != target])
    row_ptr = np.concatenate([[0], np.cumsum(np.bincount(edge // n, minlength=n))])
    return SccBlock.build(row_ptr, edge % n)


def lattice(state: NDArray[np.int64], moves: Sequence[Sequence[int]]) -> SccBlock:
    """States ``int64[n, d]`` >= 0, joined by every move that ends in another one of them."""
    size = state.max(axis=0) + 2
    number = np.full(size, -1)
    number[tuple(state.T)] = np.arange(len(state))
    target = np.stack([number[tuple((state + move).T % size[:, None])] for move in moves])
    move, source = np.nonzero(target >= 0)
    return block_of(len(state), source, target[move, source])


def grid(*sizes: int) -> NDArray[np.int64]:
    """All integer points ``0 <= x_i < sizes[i]``."""
    return np.stack([axis.ravel() for axis in np.indices(sizes)], axis=1)


def model(name: str, **settings: Any) -> Blocks:
    """All blocks of a bundled model, once for each place where they occur."""
    condensation = condense(build_model(name, **settings))
    return [condensation.distinct[index] for index in condensation.block_pattern if index >= 0]


def largest(blocks: Blocks) -> Blocks:
    """The block with the most vertices."""
    return [max(blocks, key=lambda block: block.n_vertices)]


def random_sccs(n_blocks: int, size: int, seed: int = 1) -> Blocks:
    """A ring through all vertices and two more random edges for each."""
    rng = np.random.default_rng(seed)
    blocks = []
    for _ in range(n_blocks):
        ring = rng.permutation(size)
        extra = rng.integers(0, size, (2, 2 * size))
        source, target = np.concatenate([[ring, np.roll(ring, -1)], extra], axis=1)
        blocks.append(block_of(size, source, target))
    return blocks


CASES: dict[str, Callable[[], Blocks]] = {
    "coal2_100": lambda: model("structured-coalescent", n=100, islands=2),
    "coal3_48": lambda: model("structured-coalescent", n=48, islands=3),
    "coal3_48 largest": lambda: largest(model("structured-coalescent", n=48, islands=3)),
    "coal4_25": lambda: model("structured-coalescent", n=25, islands=4),
    "coal4_45": lambda: model("structured-coalescent", n=45, islands=4),
    "coal4_45 largest": lambda: largest(model("structured-coalescent", n=45, islands=4)),
    "tandem_45": lambda: model("tandem-queue", capacity=45),
    "tandem_141": lambda: model("tandem-queue", capacity=141),
    "tandem_447": lambda: model("tandem-queue", capacity=447),
    "sis2_141": lambda: model("sis", sizes=[141, 141]),
    "sirs2_15": lambda: model("sir", sizes=[15, 15], waning=1),
    "random_50x40": lambda: random_sccs(50, 40),
    "chain_1000000": lambda: [lattice(grid(1_000_000), [(1,), (-1,)])],
}


def load_amd() -> Callable[[SccBlock], Job]:
    """Returns what makes jobs for SuiteSparse's ``amd_order`` with its default settings."""
    try:
        libraries = Path(str(distribution("kvxopt").locate_file("kvxopt.libs")))
    except PackageNotFoundError:
        sys.exit("SuiteSparse AMD was not found: pip install -r benchmarks/requirements-peers.txt")
    (path,) = libraries.glob("libamd-*")
    amd_order = ctypes.CDLL(str(path)).amd_order
    pointer = ctypes.POINTER(ctypes.c_int32)
    amd_order.argtypes = [ctypes.c_int32, *[pointer] * 3, *[ctypes.c_void_p] * 2]

    def job(block: SccBlock) -> Job:
        n, row_ptr = block.n_vertices, block.row_ptr.astype(np.int32)
        order = np.empty(n, dtype=np.int32)
        arrays = [array.ctypes.data_as(pointer) for array in (row_ptr, block.col, order)]

        def run() -> Order:
            status = amd_order(n, *arrays, None, None)
            if status != 0:
                sys.exit(f"amd_order returned {status} for a block of {n} vertices")
            return order

        return run

    return job


def load_metis() -> Callable[[SccBlock], Job]:
    """Returns what makes jobs for METIS's ``NodeND`` with its default settings."""
    try:
        import pymetis
    except ImportError:
        sys.exit("METIS was not found: pip install -r benchmarks/requirements-peers.txt")

    def job(block: SccBlock) -> Job:
        n = block.n_vertices
        source = np.repeat(np.arange(n), np.diff(block.row_ptr))
        both = block_of(n, np.append(source, block.col), np.append(block.col, source))
        graph = pymetis.CSRAdjacency(both.row_ptr.astype(np.int32), both.col)
        return lambda: np.asarray(pymetis.nested_dissection(graph)[0], dtype=np.int32)

    return job


def core_job(order_block: Callable[[NDArray[np.int64], Order], Order]) -> Callable[..., Job]:
    """Returns what makes jobs for a function of our core."""
    return lambda block: partial(order_block, block.row_ptr, block.col)


def load_methods() -> dict[str, Callable[[SccBlock], Job]]:
    """All that is compared; the first one is what others are measured by."""
    return {
        "chosen": core_job(_core.elimination_order),
        "minimum degree": core_job(_core.minimum_degree_order),
        "METIS": load_metis(),
        "AMD": load_amd(),
    }


def costs(blocks: Blocks, jobs: Sequence[Job]) -> tuple[int, int]:
    """Entries of L + U, the diagonal counted once, and products of the elimination."""
    counts = [
        _core.count_cost(block.row_ptr, block.col, job())
        for block, job in zip(blocks, jobs, strict=True)
    ]
    n_entries = sum(block.n_vertices for block in blocks) + sum(count[0] for count in counts)
    return n_entries, sum(count[1] for count in counts)


def seconds(jobs: Sequence[Job]) -> float:
    """Processor time of all jobs, one after the other; they have one thread."""
    begin = time.process_time()
    for job in jobs:
        job()
    return time.process_time() - begin


def compare(
    name: str, blocks: Blocks, methods: dict[str, Callable[[SccBlock], Job]], repeats: int
) -> str:
    """A line for each method. Passes take turns, so that drift of the machine hits all of them."""
    jobs = [[make(block) for block in blocks] for make in methods.values()]
    times = [[seconds(own) for own in jobs] for _ in range(repeats)]
    n_vertices = sum(block.n_vertices for block in blocks)
    n_edges = sum(block.n_edges for block in blocks)
    lines = [f"{name}: {n_vertices:,} vertices, {n_edges:,} edges"]
    base: tuple[float, ...] = ()
    for method, own, column in zip(methods, jobs, zip(*times, strict=True), strict=True):
        row = (*costs(blocks, own), median(column))
        base = base or row
        ratios = [value / first for value, first in zip(row, base, strict=True)]
        lines.append(
            f"  {method:16}{row[0]:14,}{ratios[0]:7.3f}{row[1]:14.4g}{ratios[1]:7.3f}"
            f"{row[2]:10.4f}{ratios[2]:7.2f}"
        )
    return "\n".join(lines)


def main() -> None:
    """Prints the table, a graph as soon as it is known."""
    names, repeats = names_and_repeats("Elimination orders against METIS and AMD", CASES, repeats=5)
    methods = load_methods()
    columns = f"{'nnz(L+U)':>14}{'ratio':>7}{'products':>14}{'ratio':>7}{'seconds':>10}{'ratio':>7}"
    print(f"{'':18}{columns}")
    for name in names:
        print(compare(name, CASES[name](), methods, repeats), flush=True)


if __name__ == "__main__":
    main()
