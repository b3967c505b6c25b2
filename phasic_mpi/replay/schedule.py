"""The order in which XLA eliminates and solves: what may be computed at once, and from what.

Pivot k can be eliminated once every pivot of its rows of L and its column of U has been. All that
have then the same rank form a level of three waves: rows of U with the rates of leaving, pivots,
columns of L. Everything is a sum of products of what earlier waves hold, so XLA only gathers, and
writes ranges (:mod:`phasic_mpi.replay.waves`).
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from phasic_mpi.errors import GraphError
from phasic_mpi.replay.waves import (
    ONE,
    RECIPROCAL,
    Products,
    Steps,
    Waves,
    levels,
    longest,
    ranges,
)
from phasic_mpi.trace import EliminationTrace, Int32Array, Int64Array, pointers

# So many products of the elimination are looked up at once.
_AT_ONCE = 1 << 19


class Sweep(NamedTuple):
    """Two substitutions of all blocks, from the sinks to the sources or, transposed, back.

    Attributes:
        origin: ``int32[n_slots]``, position of the right-hand side that each unknown begins with;
            ``n_transient`` stands for 0.
        steps: What is added to the unknowns.
        solution: ``int32[n_transient]``, unknown that ends as the solution at each position.
    """

    origin: Int32Array
    steps: tuple[Steps, ...]
    solution: Int32Array


class Schedule(NamedTuple):
    """Index arrays of a factorisation and of solves with it; about 8 bytes per product.

    Attributes:
        origin: ``int32[n_slots]``, what each value begins with: an index into 0, 1, the weights
            and the rates of leaving the blocks at once, shift included, one after another.
        exit_weight: ``int32[n_transient]``, weight of the exit rate at each position, as such an
            index.
        steps: The elimination.
        inverse: ``int32[n_transient]``, value that holds each reciprocal of a pivot.
        forward: The solve.
        transposed: The transposed solve.
    """

    origin: Int32Array
    exit_weight: Int32Array
    steps: tuple[Steps, ...]
    inverse: Int32Array
    forward: Sweep
    transposed: Sweep


class _Rows(NamedTuple):
    """L and U of all blocks; rows are numbered in the order of elimination.

    Attributes:
        position: ``int64[n]``, position of the vertex that each row belongs to.
        row_ptr: ``int64[n + 1]``, where the entries of each row begin.
        row: ``int64[n_entries]``.
        col: ``int64[n_entries]``, without the diagonal.
        off_row: ``int64[n_off]``, row that each edge between blocks leaves.
        off_col: ``int64[n_off]``, row that it leads to.
    """

    position: Int64Array
    row_ptr: Int64Array
    row: Int64Array
    col: Int64Array
    off_row: Int64Array
    off_col: Int64Array


class _Nodes(NamedTuple):
    """Numbers of the values: 0, 1 and the edges between blocks are given, the others computed."""

    off: Int64Array
    entry: Int64Array
    leaving: Int64Array
    pivot: Int64Array

    @classmethod
    def of(cls, rows: _Rows) -> _Nodes:
        sizes = [2, rows.off_row.size, rows.row.size, rows.position.size, rows.position.size]
        _, *parts = np.split(np.arange(sum(sizes)), pointers(sizes)[1:-1])
        return cls(*parts)

    @property
    def size(self) -> int:
        """Number of nodes."""
        return 2 + sum(part.size for part in self)


def build_schedule(trace: EliminationTrace, weight_slot: Int64Array, *, step_cost: int) -> Schedule:
    """Schedules a trace.

    Args:
        trace: The trace.
        weight_slot: ``int64[n_weights]``, slot of the trace that each weight goes to.
        step_cost: Products that a step of the device costs as much as: few and wide steps with much
            padding if it is high.

    Raises:
        GraphError: The pattern lacks an entry that the elimination fills in.
    """
    rows = _rows(trace)
    nodes = _Nodes.of(rows)
    products, wave, factor = _elimination(rows, nodes)
    waves = Waves.of(wave, np.diff(products.ptr), factor != ONE)
    slot = waves.slot
    index = np.zeros(trace.n_slots, dtype=np.int64)
    index[weight_slot] = 2 + np.arange(weight_slot.size)
    steps = waves.steps(
        Products(products.ptr, slot[products.left], slot[products.right]),
        np.where(factor == RECIPROCAL, RECIPROCAL, slot[factor]),
        step_cost=step_cost,
    )
    origin = np.zeros(slot.size + longest(steps), dtype=np.int64)
    origin[ONE] = ONE
    origin[slot[nodes.off]] = index[trace.first_off_slot : trace.first_exit_slot]
    origin[slot[nodes.entry]] = index[: trace.n_entries]
    origin[slot[nodes.leaving]] = 2 + weight_slot.size + rows.position
    inverse = np.empty(trace.n_transient, dtype=np.int64)
    inverse[rows.position] = slot[nodes.pivot]
    return Schedule(
        origin.astype(np.int32),
        index[trace.first_exit_slot :].astype(np.int32),
        steps,
        inverse.astype(np.int32),
        _sweep(rows, nodes, slot, transposed=False, step_cost=step_cost),
        _sweep(rows, nodes, slot, transposed=True, step_cost=step_cost),
    )


def _rows(trace: EliminationTrace) -> _Rows:
    n, first = trace.n_transient, trace.block_ptr[:-1]
    block = np.repeat(np.arange(trace.n_blocks), np.diff(trace.block_ptr))
    position = np.arange(n)
    n_entries = np.zeros(n, dtype=np.int64)
    patterned = trace.block_pattern[block] >= 0
    pattern_row = (trace.pattern_ptr[trace.block_pattern[block]] + position - first[block])[
        patterned
    ]
    position[patterned] = first[block[patterned]] + trace.order[pattern_row]
    n_entries[patterned] = np.diff(trace.row_ptr)[pattern_row]
    row = np.repeat(np.arange(n), n_entries)
    col = trace.col[ranges(trace.row_ptr[pattern_row], trace.row_ptr[pattern_row + 1])]
    row_of = np.empty(n, dtype=np.int64)
    row_of[position] = np.arange(n)
    off_position = np.repeat(np.arange(n), np.diff(trace.off_ptr))
    return _Rows(
        position,
        pointers(n_entries),
        row,
        first[block[row]] + col,
        row_of[off_position],
        row_of[trace.off_col],
    )


def _elimination(rows: _Rows, nodes: _Nodes) -> tuple[Products, Int64Array, Int64Array]:
    """Products of the elimination; wave of each node that is computed; factor of each node."""
    lower = rows.col < rows.row
    earlier, later = np.minimum(rows.row, rows.col), np.maximum(rows.row, rows.col)
    level = levels(rows.position.size, earlier, later)
    wave = np.concatenate([3 * level[earlier] + 2 * lower, 3 * level, 3 * level + 1])
    below, above = np.flatnonzero(lower), np.flatnonzero(~lower)
    factor = np.full(nodes.size, ONE)
    factor[nodes.entry[below]] = nodes.pivot[rows.col[below]]
    factor[nodes.pivot] = RECIPROCAL
    updates = _updates(rows, nodes, below)
    # Rates of leaving, then pivots.
    sums = Products.of(
        nodes.size,
        np.concatenate(
            [
                nodes.leaving[rows.off_row],
                nodes.leaving[rows.row[below]],
                nodes.pivot,
                nodes.pivot[rows.row[above]],
            ]
        ),
        np.concatenate([nodes.off, nodes.entry[below], nodes.leaving, nodes.entry[above]]),
        np.concatenate(
            [
                np.full(nodes.off.size, ONE),
                nodes.leaving[rows.col[below]],
                np.full(nodes.pivot.size + above.size, ONE),
            ]
        ),
    )
    # Entries come before the others among the nodes, and no node is in both.
    products = Products(
        updates.ptr + sums.ptr,
        np.concatenate([updates.left, sums.left]),
        np.concatenate([updates.right, sums.right]),
    )
    return products, wave, factor


def _updates(rows: _Rows, nodes: _Nodes, below: Int64Array) -> Products:
    """``a_ij += l_ik u_kj`` for all i, k, j, without jumps from i back to i."""
    n = rows.position.size
    upper_ptr = rows.row_ptr[:-1] + np.bincount(rows.row[below], minlength=n)
    n_products = np.zeros(n, dtype=np.int64)
    np.add.at(n_products, rows.row[below], (rows.row_ptr[1:] - upper_ptr)[rows.col[below]])
    # Some whole rows at a time: what they need stays in the cache.
    done = pointers(n_products)
    borders = np.unique(np.searchsorted(done[:-1], np.arange(0, done[-1] + _AT_ONCE, _AT_ONCE)))
    counts = np.zeros(nodes.size, dtype=np.int64)
    parts = [np.zeros((2, 0), dtype=np.int32)]
    for begin, end in pairwise(borders):
        entries = slice(rows.row_ptr[begin], rows.row_ptr[end])
        some = below[slice(*np.searchsorted(below, [entries.start, entries.stop]))]
        target, factors = _updates_of(rows, upper_ptr, entries, some)
        counts[nodes.entry[entries]] = np.bincount(target, minlength=entries.stop - entries.start)
        parts.append(nodes.entry[factors].astype(np.int32))
    return Products(pointers(counts), *np.concatenate(parts, axis=1))


def _updates_of(
    rows: _Rows, upper_ptr: Int64Array, entries: slice, below: Int64Array
) -> tuple[Int64Array, Int64Array]:
    """Updates of the entries of some rows, ``below`` those of L: entry, counted from the first of
    them, ascending; ``int64[2, n_updates]``, the entries of L and U whose product is added.
    """
    n, pivot = rows.position.size, rows.col[below]
    left = np.repeat(below, rows.row_ptr[pivot + 1] - upper_ptr[pivot])
    right = ranges(upper_ptr[pivot], rows.row_ptr[pivot + 1])
    kept = rows.row[left] != rows.col[right]
    left, right = left[kept], right[kept]
    key = rows.row[entries] * n + rows.col[entries]
    wanted = rows.row[left] * n + rows.col[right]
    target = np.searchsorted(key, wanted)
    if target.size and (target.max() == key.size or (key[target] != wanted).any()):
        raise GraphError(
            "Trace cannot be replayed",
            problem="expected an entry wherever the elimination fills in, but the pattern of L and "
            "U lacks one",
            context={"n_entries": rows.row.size},
            resolution="record the trace again; do not edit its arrays",
        )
    # A stable sort by target, several times as fast: numpy sorts plain integers in vectors.
    bits = int(target.size).bit_length()
    order = np.sort((target << bits) | np.arange(target.size)) & ((1 << bits) - 1)
    return target[order], np.stack([left[order], right[order]])


def _sweep(
    rows: _Rows, nodes: _Nodes, slot: Int32Array, *, transposed: bool, step_cost: int
) -> Sweep:
    """Both substitutions: row i is unknown 1 + i of the one and 1 + n + i of the other."""
    n = rows.position.size
    first, second = 1 + np.arange(n), 1 + n + np.arange(n)
    lower = rows.col < rows.row
    below, above = np.flatnonzero(lower), np.flatnonzero(~lower)
    # From the source of each product to the node that it is added to, as edges lead.
    off = (rows.off_row, rows.off_col)
    eliminated, substituted = (below, above)
    row, col = rows.row, rows.col
    if transposed:
        off, row, col = off[::-1], col, row
        eliminated, substituted = (above, below)
    node = np.concatenate([first[off[0]], first[row[eliminated]], second, second[row[substituted]]])
    right = np.concatenate(
        [second[off[1]], first[col[eliminated]], first, second[col[substituted]]]
    )
    left = np.concatenate(
        [nodes.off, nodes.entry[eliminated], np.full(n, ONE), nodes.entry[substituted]]
    )
    factor = np.full(1 + 2 * n, ONE)
    factor[first if transposed else second] = slot[nodes.pivot]
    level = levels(1 + 2 * n, right, node)
    products = Products.of(1 + 2 * n, node, slot[left], right)
    waves = Waves.of(level[1:], np.diff(products.ptr), factor != ONE)
    products = products._replace(right=waves.slot[products.right])
    steps = waves.steps(products, factor, step_cost=step_cost)
    origin = np.full(1 + 2 * n + longest(steps), n)
    origin[waves.slot[first]] = rows.position
    solution = np.empty(n, dtype=np.int64)
    solution[rows.position] = waves.slot[second]
    return Sweep(
        origin.astype(np.int32),
        steps,
        solution.astype(np.int32),
    )
