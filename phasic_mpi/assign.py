"""Plans which rank records, and which rank fetches, each distinct block."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from phasic_mpi.errors import StoreError
from phasic_mpi.scc import SccBlock

# Blocks of fewer vertices travel together: one message each would cost more than their recording.
MIN_SIZE = 50

# One round of Scatterv or Gatherv moves at most this many bytes over all ranks.
ROUND_BYTES = 1 << 28

# Blocks go out in so many rounds, unless those were short: ranks read some while others are packed.
ROUNDS = 4
_SHORT_ROUND_BYTES = 1 << 23

# One unit of estimated_cost takes 6 to 10 ns, on parts of separators, and 5 to 30 ns elsewhere.
SECONDS_PER_COST = 8e-9

# Cost of a block besides its edges and entries.
_BLOCK_COST = 300.0

# Text of one edge in a payload, "[123456,123457,1]," at most, of one state in that of a part, and
# what surrounds them.
_EDGE_BYTES = 28
_STATE_BYTES = 4
_BLOCK_BYTES = 512

Name = TypeVar("Name", int, str)


@dataclass(frozen=True)
class Assignment:
    """Who does what; blocks are named by their index among those to record.

    Attributes:
        record: Per rank, the blocks it records.
        fetch: Per rank, the keys of the blocks it reads from its cache.
        scatter: Rounds that send the blocks to record: per round, per rank, blocks.
        loads: Per rank, the estimated cost of what it records.
    """

    record: tuple[tuple[int, ...], ...]
    fetch: tuple[tuple[str, ...], ...]
    scatter: tuple[tuple[tuple[int, ...], ...], ...]
    loads: tuple[float, ...]

    @property
    def balance(self) -> float:
        """Largest by mean load: 1 is even; 1 too if there is nothing to record."""
        mean = sum(self.loads) / len(self.loads)
        return max(self.loads) / mean if mean > 0 else 1.0


def estimated_cost(block: SccBlock) -> float:
    """Estimated cost of recording, in units of :data:`SECONDS_PER_COST`; about an entry of L and U.

    What fills in around a part of a separator is nearly full; reading its edges counts as well,
    where it is small. Elsewhere it is taken to grow with
    ``m (2 + n^(1/3))``, as minimum degree fills a lattice of two dimensions to about ``m n^0.25``,
    of three to ``m n^0.38``, and with the boundary of a part. Graphs of many kinds are met within a
    factor of two.
    """
    n, n_boundary = block.n_recorded, block.n_boundary
    n_own = n - n_boundary
    if block.n_below:
        fill = n_own * (n_own + 2 * n_boundary)
        return float(_BLOCK_COST + 0.9 * fill + 6.0 * block.n_edges)
    return float(_BLOCK_COST + 1.5 * block.n_edges * (2.0 + np.cbrt(n)) + 0.5 * n_own * n_boundary)


def payload_bytes(block: SccBlock) -> int:
    """Bytes of the payload of a block, at most."""
    n_states = block.n_vertices if block.is_part else 0
    return _BLOCK_BYTES + _EDGE_BYTES * block.n_edges + _STATE_BYTES * n_states


def plan(
    blocks: Sequence[SccBlock],
    held: Sequence[Mapping[str, str]],
    *,
    min_size: int = MIN_SIZE,
    round_bytes: int = ROUND_BYTES,
) -> Assignment:
    """Deals out distinct blocks by longest processing time (Graham 1969).

    Held blocks stay with a holder, the one that has fewest so far. Deterministic.

    Args:
        blocks: Distinct blocks, or parts of them.
        held: Per rank, the check of each key in its cache.
        min_size: Blocks of fewer vertices share units of at least this many vertices.
        round_bytes: Bytes that one round may move; a single block may exceed it, alone.

    Raises:
        StoreError: A cache holds a key of the graph with another check.
    """
    fetch, missing = _split_held(blocks, held)
    record, loads = _deal(_units(blocks, missing, min_size), len(held))
    sizes = dict(enumerate(map(payload_bytes, blocks)))
    n_bytes = sum(sizes[index] for rank in record for index in rank)
    limit = min(round_bytes, max(_SHORT_ROUND_BYTES, n_bytes // ROUNDS))
    return Assignment(
        record=tuple(map(tuple, record)),
        fetch=tuple(map(tuple, fetch)),
        scatter=rounds(record, sizes, limit),
        loads=tuple(loads),
    )


def _split_held(
    blocks: Sequence[SccBlock], held: Sequence[Mapping[str, str]]
) -> tuple[list[list[str]], list[int]]:
    fetch: list[list[str]] = [[] for _ in held]
    missing = []
    for index, block in enumerate(blocks):
        holders = [rank for rank, keys in enumerate(held) if block.key in keys]
        for rank in holders:
            _require_same(block, held[rank][block.key], rank)
        if holders:
            fetch[min(holders, key=lambda rank: (len(fetch[rank]), rank))].append(block.key)
        else:
            missing.append(index)
    return fetch, missing


def _require_same(block: SccBlock, check: str, rank: int) -> None:
    if check != block.check:
        raise StoreError(
            "A cache holds another block under the same key",
            problem=f"expected the check {block.check}, got {check}",
            context={
                "rank": rank,
                "block": block.key,
                "n_vertices": block.n_vertices,
                "n_edges": block.n_edges,
            },
            resolution="remove the entry (python -m phasic_mpi cache verify DIR finds it) and run "
            "again; two patterns with one SHA-256 would be a discovery",
        )


def _units(
    blocks: Sequence[SccBlock], missing: Iterable[int], min_size: int
) -> list[tuple[float, list[int]]]:
    """Units of work with their cost: single blocks, or several small ones together."""
    units = []
    small: list[int] = []
    n_small = 0
    for index in missing:
        if blocks[index].n_vertices >= min_size:
            units.append([index])
            continue
        small.append(index)
        n_small += blocks[index].n_vertices
        if n_small >= min_size:
            units.append(small)
            small, n_small = [], 0
    if small:
        units.append(small)
    return [(sum(estimated_cost(blocks[index]) for index in unit), unit) for unit in units]


def _deal(
    units: list[tuple[float, list[int]]], n_ranks: int
) -> tuple[list[list[int]], list[float]]:
    """Gives each unit, dearest first, to the rank with the least load."""
    record: list[list[int]] = [[] for _ in range(n_ranks)]
    # Of equal loads the last rank comes first: rank 0 has the serial stages to do as well.
    queue = [(0.0, -rank) for rank in range(n_ranks)]
    heapq.heapify(queue)
    for cost, unit in sorted(units, key=lambda entry: (-entry[0], entry[1])):
        load, negative = queue[0]
        heapq.heapreplace(queue, (load + cost, negative))
        record[-negative].extend(unit)
    loads = [0.0] * n_ranks
    for load, negative in queue:
        loads[-negative] = load
    return record, loads


def rounds(
    dealt: Sequence[Sequence[Name]], sizes: Mapping[Name, int], limit: int
) -> tuple[tuple[tuple[Name, ...], ...], ...]:
    """Cuts what each rank sends or gets into rounds of at most ``limit`` bytes over all ranks.

    Args:
        dealt: Per rank, what travels.
        sizes: Bytes of each thing; one that alone exceeds the limit has a round of its own.
        limit: Bytes that one round may move.

    Returns:
        Per round, per rank, what travels.
    """
    cut: list[list[list[Name]]] = []
    spent = limit
    for position in range(max(map(len, dealt), default=0)):
        for rank, names in enumerate(dealt):
            if position >= len(names):
                continue
            size = sizes[names[position]]
            if spent + size > limit or not cut:
                cut.append([[] for _ in dealt])
                spent = 0
            cut[-1][rank].append(names[position])
            spent += size
    return tuple(tuple(tuple(names) for names in per_rank) for per_rank in cut)
