"""Cuts large blocks into parts that are recorded independently, and joins what was recorded.

A part is recorded, cached and sent like a block of its own: it is an :class:`SccBlock` whose
vertices are of three kinds (``cut.hpp`` says why that is enough).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from phasic_mpi import _core
from phasic_mpi.errors import PayloadError
from phasic_mpi.matching import fitting, require_all
from phasic_mpi.scc import SccBlock
from phasic_mpi.trace import BlockTrace

# Threads that cut one block: separators of the whole and the parts next to the last one keep few
# busy, and each thread takes four bytes per vertex.
_MOST_THREADS = 16


@dataclass(frozen=True, eq=False)
class CutBlock:
    """A block and its parts, in the order in which they are eliminated.

    Attributes:
        block: The whole block.
        parts: What is recorded in its place.
        vertex: Per part, ``int32[n_recorded]``: the vertex of the block that each of its own
            vertices, and then each one of its boundary, is.
    """

    block: SccBlock
    parts: tuple[SccBlock, ...]
    vertex: tuple[NDArray[np.int32], ...]


@dataclass(frozen=True, eq=False)
class Division:
    """What is recorded for the distinct blocks of a graph.

    Attributes:
        units: Distinct blocks that are recorded whole, and distinct parts of the others.
        cut: The blocks that are cut.
    """

    units: tuple[SccBlock, ...]
    cut: tuple[CutBlock, ...]


def divide(blocks: Sequence[SccBlock], *, n_threads: int = 1) -> Division:
    """Cuts the large blocks, if that gives no worse an elimination order; deterministic.

    Args:
        blocks: Distinct blocks.
        n_threads: Blocks to cut at the same time, at least 1; one with more than its part of all
            vertices gets several threads.
    """
    large = [block for block in blocks if block.n_vertices >= _core.CUT_VERTICES]
    large.sort(key=lambda block: -block.n_vertices)  # the last to begin takes least
    n_vertices = sum(block.n_vertices for block in large)

    def threads(block: SccBlock) -> int:
        return max(1, min(_MOST_THREADS, n_threads * block.n_vertices // n_vertices))

    with ThreadPoolExecutor(n_threads) as pool:
        pending = {block.key: pool.submit(_cut, block, threads(block)) for block in large}
    units: dict[str, SccBlock] = {}
    cut = []
    for block in blocks:
        found = pending[block.key].result() if block.key in pending else None
        if found is not None:
            cut.append(found)
        units.update((unit.key, unit) for unit in (found.parts if found else (block,)))
    return Division(units=tuple(units.values()), cut=tuple(cut))


def _cut(block: SccBlock, n_threads: int) -> CutBlock | None:
    parts, vertices = [], []
    found = _core.cut(block.row_ptr, block.col, n_threads=n_threads)
    for row_ptr, col, n_below, n_boundary, vertex in found:
        parts.append(SccBlock.from_core(row_ptr, col, n_below, n_boundary))
        vertices.append(vertex)
    return CutBlock(block, tuple(parts), tuple(vertices)) if parts else None


def join(
    cut: CutBlock, traces: Mapping[str, BlockTrace], *, col: NDArray[np.int32] | None = None
) -> BlockTrace:
    """The trace of a block from those of its parts, by key.

    Args:
        cut: The block and its parts.
        traces: Those of its parts, and others.
        col: Where its columns go, ``int32`` of as many entries as all parts have; an array of its
            own if not given.

    Raises:
        PayloadError: Traces are missing, or one does not belong to its part.
    """
    block = cut.block
    require_all(cut.parts, traces)
    recorded = []
    for part, vertex in zip(cut.parts, cut.vertex, strict=True):
        trace = fitting(part, traces[part.key])
        n_own = part.n_recorded - part.n_boundary
        recorded.append((vertex, n_own, trace.order, trace.row_ptr, trace.upper_ptr, trace.col))
    try:
        arrays = _core.join(block.row_ptr, block.col, recorded, col)
    except RuntimeError as exc:
        raise PayloadError(
            "The parts of a block cannot be joined",
            problem=f"a trace is not what its part needs: {exc}",
            context={"block": block.key, "n_vertices": block.n_vertices, "parts": len(cut.parts)},
            resolution="remove the cache (python -m phasic_mpi cache prune DIR) and run again",
        ) from exc
    return BlockTrace(block.key, block.check, *arrays)


def join_all(division: Division, traces: dict[str, BlockTrace]) -> None:
    """Replaces the traces of parts, by key, by those of their blocks, one after another.

    Raises:
        PayloadError: See :func:`join`.
    """
    last_use = {part.key: i for i, cut in enumerate(division.cut) for part in cut.parts}
    for i, cut in enumerate(division.cut):
        joined = join(cut, traces)
        for key in {part.key for part in cut.parts if last_use[part.key] == i}:
            del traces[key]
        traces[joined.key] = joined
