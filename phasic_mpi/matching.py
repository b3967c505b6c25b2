"""Whether the traces at hand are those of the blocks they are meant for."""

from __future__ import annotations

from collections.abc import Container, Sequence

import numpy as np

from phasic_mpi.errors import PayloadError
from phasic_mpi.scc import SccBlock
from phasic_mpi.trace import BlockTrace

_NAMED_BLOCKS = 5
_KEY_DIGITS = 12

_FACTS = ("key", "check", "n_vertices", "n_edges", "size of row_ptr", "size of upper_ptr")
_FACTS_WITHIN = ("last row_ptr", "number of edge_slot out of range")


def require_all(blocks: Sequence[SccBlock], traces: Container[str]) -> None:
    """Refuses traces, given by their keys, that lack one of a block.

    Raises:
        PayloadError: Traces are missing; the first few blocks are named.
    """
    missing = [block for block in blocks if block.key not in traces]
    if missing:
        named = ", ".join(
            f"{block.key[:_KEY_DIGITS]} ({block.n_vertices} vertices, {block.n_edges} edges)"
            for block in missing[:_NAMED_BLOCKS]
        )
        more = len(missing) - _NAMED_BLOCKS
        raise PayloadError(
            "Traces cannot be put together",
            problem=f"expected a trace for each of {len(blocks)} distinct blocks, but "
            f"{len(missing)} are missing: {named}" + (f" and {more} more" if more > 0 else ""),
            context={"n_distinct": len(blocks), "n_missing": len(missing)},
            resolution="record the missing blocks of this condensation and pass their traces",
        )


def fitting(block: SccBlock, trace: BlockTrace) -> BlockTrace:
    """Returns the trace if it is one of this block.

    Raises:
        PayloadError: Keys, sizes or slots are not those of the block.
    """
    for name, expected, actual in _misfits(block, trace):
        raise PayloadError(
            "Trace does not belong to its block",
            problem=f"{name}: expected {expected}, got {actual}",
            context={
                "block": block.key,
                "n_vertices": block.n_vertices,
                "n_edges": block.n_edges,
            },
            resolution="record the block again; if it came out of a cache, run 'python -m "
            "phasic_mpi cache verify' on that directory",
        )
    return trace


def _misfits(block: SccBlock, trace: BlockTrace) -> list[tuple[str, object, object]]:
    """Name, expected and actual value of what differs; none if sizes and slots are right too."""
    n, n_edges, n_entries = block.n_recorded, block.n_placed, trace.col.size
    sizes = (trace.order.size, trace.edge_slot.size, trace.row_ptr.size, trace.upper_ptr.size)
    names: tuple[str, ...] = _FACTS
    expected: tuple[object, ...] = (block.key, block.check, n, n_edges, n + 1, n)
    actual: tuple[object, ...] = (trace.key, trace.check, *sizes)
    if expected == actual:
        # As unsigned numbers, negative slots are out of range at the other end.
        n_outside = int(np.count_nonzero(trace.edge_slot.view(np.uint64) >= n_entries))
        names = _FACTS_WITHIN
        expected, actual = (n_entries, 0), (int(trace.row_ptr[-1]), n_outside)
        if expected == actual:
            return []
    facts = zip(names, expected, actual, strict=True)
    return [fact for fact in facts if fact[1] != fact[2]]
