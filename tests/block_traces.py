"""Blocks and their traces by plain elimination on Python sets, for tests of what handles traces."""

import numpy as np

from phasic_mpi.scc import SccBlock
from phasic_mpi.trace import BlockTrace


def random_block(n: int, seed: int, *, n_extra: int | None = None) -> SccBlock:
    """A ring of ``n`` vertices with ``n_extra`` random chords, by default ``n``."""
    rng = np.random.default_rng(seed)
    ring = rng.permutation(n)
    pairs = set(zip(ring.tolist(), np.roll(ring, -1).tolist(), strict=True))
    pairs |= {tuple(pair) for pair in rng.integers(0, n, (n if n_extra is None else n_extra, 2))}
    edges = sorted((int(u), int(v)) for u, v in pairs if u != v)
    counts = np.bincount([u for u, _ in edges], minlength=n)
    row_ptr = np.concatenate([[0], np.cumsum(counts)])
    return SccBlock.build(row_ptr, np.array([v for _, v in edges], dtype=np.int32))


def plain_trace(block: SccBlock, seed: int = 0, order: np.ndarray | None = None) -> BlockTrace:
    """Trace of ``block`` under a given or a random order: right-looking elimination on sets."""
    n = block.n_vertices
    if order is None:
        order = np.random.default_rng(seed).permutation(n).astype(np.int32)
    place = np.argsort(order)
    rows = [
        {int(place[v]) for v in block.col[block.row_ptr[u] : block.row_ptr[u + 1]]} for u in order
    ]
    for k in range(n):
        later = {column for column in rows[k] if column > k}
        for i in range(k + 1, n):
            if k in rows[i]:
                rows[i] |= later - {i}
    sizes = [len(row) for row in rows]
    row_ptr = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    below = [sum(column < i for column in row) for i, row in enumerate(rows)]
    entry = {
        (i, column): int(row_ptr[i]) + k
        for i, row in enumerate(rows)
        for k, column in enumerate(sorted(row))
    }
    source = np.repeat(np.arange(n), np.diff(block.row_ptr))
    slots = [entry[place[u], place[v]] for u, v in zip(source, block.col, strict=True)]
    return BlockTrace(
        key=block.key,
        check=block.check,
        order=order,
        row_ptr=row_ptr,
        upper_ptr=row_ptr[:-1] + np.array(below, dtype=np.int64),
        col=np.array([column for row in rows for column in sorted(row)], dtype=np.int32),
        edge_slot=np.array(slots, dtype=np.int64),
    )
