"""What an elimination of all blocks adds up, and in which waves: the products behind each number.

Pivot k can be eliminated once every pivot of its row of L and its column of U has been. All that
have then the same rank form a level of three waves: rows of U with the rates of leaving, pivots,
columns of L.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from phasic_mpi.errors import GraphError
from phasic_mpi.replay.waves import ONE, RECIPROCAL, Products, levels, ranges
from phasic_mpi.trace import EliminationTrace, Int64Array, pointers

# So many products of the elimination are looked up at once.
_AT_ONCE = 1 << 19


class Rows(NamedTuple):
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


class Nodes(NamedTuple):
    """Numbers of the values: 0, 1 and the edges between blocks are given, the others computed."""

    off: Int64Array
    entry: Int64Array
    leaving: Int64Array
    pivot: Int64Array

    @classmethod
    def of(cls, rows: Rows) -> Nodes:
        sizes = [2, rows.off_row.size, rows.row.size, rows.position.size, rows.position.size]
        _, *parts = np.split(np.arange(sum(sizes)), pointers(sizes)[1:-1])
        return cls(*parts)

    @property
    def size(self) -> int:
        """Number of nodes."""
        return 2 + sum(part.size for part in self)


def rows_of(trace: EliminationTrace) -> Rows:
    """Rows of all blocks of a trace, block after block."""
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
    return Rows(
        position,
        pointers(n_entries),
        row,
        first[block[row]] + col,
        row_of[off_position],
        row_of[trace.off_col],
    )


def elimination(rows: Rows, nodes: Nodes) -> tuple[Products, Int64Array, Int64Array]:
    """Products of each node, wave of each that is computed, and what each sum is multiplied by.

    Raises:
        GraphError: The pattern lacks an entry that the elimination fills in.
    """
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


def _updates(rows: Rows, nodes: Nodes, below: Int64Array) -> Products:
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
    rows: Rows, upper_ptr: Int64Array, entries: slice, below: Int64Array
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
