"""Graphs that tests make up: random strongly connected components, alone and in a row."""

import numpy as np

from phasic_mpi.graph import PhaseTypeGraph


def random_scc_edges(n: int, rng: np.random.Generator, *, degree: int = 3) -> np.ndarray:
    """Edges ``int[m, 2]`` of a random strongly connected graph on ``0..n-1``: a cycle and more."""
    cycle = rng.permutation(n)
    ring = np.column_stack([cycle, np.roll(cycle, -1)])
    extra = rng.integers(0, n, size=((degree - 1) * n, 2))
    edges = np.unique(np.concatenate([ring, extra]), axis=0)
    return edges[edges[:, 0] != edges[:, 1]]


def chain_of_sccs(
    n_blocks: int,
    block_size: int,
    seed: int,
    *,
    degree: int = 3,
    rates: tuple[float, float] = (-1.0, 1.0),
) -> PhaseTypeGraph:
    """Random strongly connected blocks in a row, the last one absorbed.

    Weights are constant, ``10 ** U(*rates)``.
    """
    rng = np.random.default_rng(seed)
    parts = []
    for block in range(n_blocks):
        first = 1 + block * block_size
        parts.append(first + random_scc_edges(block_size, rng, degree=degree))
        leaving = first + rng.integers(0, block_size, size=2)
        last = block == n_blocks - 1
        entered = first + block_size + (np.zeros(2) if last else rng.integers(0, block_size, 2))
        parts.append(np.unique(np.column_stack([leaving, entered.astype(int)]), axis=0))
    edges = np.concatenate(parts)
    return PhaseTypeGraph.from_arrays(
        n_vertices=n_blocks * block_size + 2,
        edge_source=edges[:, 0],
        edge_target=edges[:, 1],
        edge_weight=10.0 ** rng.uniform(*rates, size=len(edges)),
        start_target=[1, 2],
        start_weight=[0.25, 0.75],
    )


def random_scc(
    n: int, seed: int, *, degree: int = 3, rates: tuple[float, float] = (-1.0, 1.0)
) -> PhaseTypeGraph:
    """One random strongly connected component that ends in absorption."""
    return chain_of_sccs(1, n, seed, degree=degree, rates=rates)
