"""Packs sums of products that depend on each other into steps of a few fixed shapes."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from phasic_mpi.trace import Int32Array, Int64Array, pointers

# The first slots of the values hold 0 and 1, and slot 0 of the unknowns holds 0.
ZERO, ONE = 0, 1
# Stands in the place of the slot of a factor: the node is the reciprocal of its sum.
RECIPROCAL = -1

_ROWS = (4, 16, 64, 256, 1024, 4096)
_TERMS = (1, 4, 16, 64, 256)
_MOST_PRODUCTS = 16384
# A step costs as much as so many products, besides those it computes or pads.
_STEP_COST = 1000
# Shapes change where that saves more than this part of all work: each costs a compilation.
_CHANGE = 0.05


class Steps(NamedTuple):
    """Steps of one shape, one after another: each adds to a range of slots, then scales it.

    ``x[start + r] = (x[start + r] + sum_w v[left[w, r]] * x[right[w, r]]) * v[factor[r]]``

    Attributes:
        start: ``int32[n_steps]``.
        left: ``int32[n_steps, n_terms, n_rows]``, padded by ``ZERO``.
        right: ``int32[n_steps, n_terms, n_rows]``, padded by ``ZERO``.
        factor: ``int32[n_steps, n_rows]``; ``ONE`` before the last terms of a row, and in padding.
    """

    start: Int32Array
    left: Int32Array
    right: Int32Array
    factor: Int32Array


def longest(steps: tuple[Steps, ...]) -> int:
    """Rows of the longest step: so many slots beyond the last are read and written as they were."""
    return max((part.factor.shape[1] for part in steps), default=0)


def levels(n_nodes: int, source: Int64Array, target: Int64Array) -> Int64Array:
    """Length of the longest path of edges ``source -> target`` to each node; there is no cycle."""
    order = np.argsort(source, kind="stable")
    follower = target[order]
    ptr = pointers(np.bincount(source, minlength=n_nodes))
    n_waiting = np.bincount(target, minlength=n_nodes)
    level = np.zeros(n_nodes, dtype=np.int64)
    ready = np.flatnonzero(n_waiting == 0)
    depth = 0
    while ready.size:
        level[ready] = depth
        reached, counts = np.unique(
            follower[ranges(ptr[ready], ptr[ready + 1])], return_counts=True
        )
        n_waiting[reached] -= counts
        ready = reached[n_waiting[reached] == 0]
        depth += 1
    return level


def ranges(begin: Int64Array, end: Int64Array) -> Int64Array:
    """The integers from each ``begin`` to below its ``end``, one range after another."""
    ptr = pointers(end - begin)
    return np.repeat(begin - ptr[:-1], end - begin) + np.arange(ptr[-1])


@dataclass(frozen=True, eq=False)
class Waves:
    """Numbers to compute ("nodes") in order: wave by wave, in each those of most terms first.

    Attributes:
        slot: ``int64[n_nodes]``, slot of each node; those that are given, not computed, come first.
        order: ``int64[n_computed]``, the computed nodes by ascending slot.
        wave_ptr: ``int64[n_waves + 1]``, where each wave begins in ``order``.
        n_terms: ``int64[n_computed]``, by ascending slot.
        effort: ``int64[n_computed]``, as ``n_terms``, but 1 for what is only scaled.
    """

    slot: Int64Array
    order: Int64Array
    wave_ptr: Int64Array
    n_terms: Int64Array
    effort: Int64Array

    @classmethod
    def of(cls, wave: Int64Array, node: Int64Array, scaled: NDArray[np.bool_]) -> Waves:
        """Orders nodes.

        Args:
            wave: ``int64[n_computed]``, wave of each of the last nodes.
            node: ``int64[n_products]``, the node that each product belongs to.
            scaled: ``bool[n_nodes]``, whether more than a sum is asked of each node.
        """
        n_given = scaled.size - wave.size
        n_terms = np.bincount(node, minlength=scaled.size)[n_given:]
        effort = np.maximum(n_terms, scaled[n_given:])
        order = np.lexsort((-effort, wave))
        slot = np.arange(scaled.size)
        slot[n_given + order] = n_given + np.arange(order.size)
        wave_ptr = pointers(np.bincount(wave))
        return cls(slot, n_given + order, wave_ptr, n_terms[order], effort[order])

    def steps(
        self, node: Int64Array, left: Int64Array, right: Int64Array, factor: Int64Array
    ) -> tuple[Steps, ...]:
        """Steps that compute all nodes.

        Args:
            node: ``int64[n_products]``, as above; a node's products are added up in this order.
            left: ``int64[n_products]``, slot of the one factor.
            right: ``int64[n_products]``, slot of the other.
            factor: ``int64[n_nodes]``, slot that each sum is multiplied by, ``ONE`` if by none, or
                ``RECIPROCAL``.
        """
        by_slot = _stable_order(self.slot[node])
        parts = left[by_slot].astype(np.int32), right[by_slot].astype(np.int32)
        term_ptr = pointers(self.n_terms)
        return tuple(
            self._packed(segment, term_ptr, *parts, factor[self.order])
            for segment in _segments(self.effort, self.wave_ptr)
        )

    def _packed(
        self,
        segment: _Segment,
        term_ptr: Int64Array,
        left: Int32Array,
        right: Int32Array,
        factor: Int64Array,
    ) -> Steps:
        """Arrays of one segment; products and factors are given by ascending slot."""
        n_rows, n_terms = segment.n_rows, segment.n_terms
        row = segment.row[:, np.newaxis] + np.arange(n_rows)
        inside = np.arange(n_rows) < segment.filled[:, np.newaxis]
        row[~inside] = 0
        term = term_ptr[row] + segment.chunk[:, np.newaxis] * n_terms
        end = np.where(inside, term_ptr[row + 1], 0)
        shape = (len(row), n_terms, n_rows)
        columns = np.full(shape, ZERO, np.int32), np.full(shape, ZERO, np.int32)
        for index in range(n_terms):
            kept = term + index < end
            for column, source in zip(columns, (left, right), strict=True):
                column[:, index][kept] = source[(term + index)[kept]]
        last = inside & ((segment.chunk[:, np.newaxis] + 1) * n_terms >= self.effort[row])
        scale = np.where(last, factor[row], ONE).astype(np.int32)
        n_given = self.slot.size - self.order.size
        return Steps((n_given + segment.row).astype(np.int32), *columns, scale)


class _Segment(NamedTuple):
    """Consecutive steps of one shape.

    Attributes:
        n_rows: Rows that each step has.
        n_terms: Terms that each row of a step has.
        row: ``int64[n_steps]``, first row of each step.
        filled: ``int64[n_steps]``, its rows that have terms left.
        chunk: ``int64[n_steps]``, number of the chunk of terms.
    """

    n_rows: int
    n_terms: int
    row: Int64Array
    filled: Int64Array
    chunk: Int64Array


class _Groups(NamedTuple):
    """How many rows of a wave have a chunk of terms of some number, for one size of chunks."""

    wave: Int64Array
    chunk: Int64Array
    n_rows: Int64Array


def _stable_order(key: Int64Array) -> Int64Array:
    """``argsort(kind="stable")``, several times as fast: numpy sorts plain integers in vectors."""
    bits = max(key.size, 1).bit_length()
    return np.sort((key << bits) | np.arange(key.size)) & ((1 << bits) - 1)


def _segments(effort: Int64Array, wave_ptr: Int64Array) -> list[_Segment]:
    n_waves = wave_ptr.size - 1
    groups = {n_terms: _groups(effort, wave_ptr, n_terms) for n_terms in _TERMS}
    shapes = [
        (n_rows, n_terms)
        for n_terms in _TERMS
        for n_rows in _ROWS
        if n_rows * n_terms <= _MOST_PRODUCTS
    ]
    cost = np.empty((n_waves, len(shapes)))
    for column, (n_rows, n_terms) in enumerate(shapes):
        n_steps = -(-groups[n_terms].n_rows // n_rows)
        total = np.bincount(groups[n_terms].wave, weights=n_steps, minlength=n_waves)
        cost[:, column] = total * (_STEP_COST + n_rows * n_terms)
    choice = _cheapest(cost)
    borders = [0, *(np.flatnonzero(np.diff(choice)) + 1).tolist(), n_waves]
    out = []
    for begin, end in pairwise(borders):
        n_rows, n_terms = shapes[choice[begin]]
        segment = _segment(groups[n_terms], wave_ptr, begin, end, n_rows, n_terms)
        if segment.row.size:
            out.append(segment)
    return out


def _groups(effort: Int64Array, wave_ptr: Int64Array, n_terms: int) -> _Groups:
    n_chunks = -(-effort // n_terms)
    # The first row of a wave has most terms.
    most = np.zeros(wave_ptr.size - 1, dtype=np.int64)
    filled = np.diff(wave_ptr) > 0
    most[filled] = n_chunks[wave_ptr[:-1][filled]]
    ptr = pointers(most)
    wave = np.repeat(np.arange(most.size), most)
    chunk = np.arange(ptr[-1]) - ptr[:-1][wave]
    row_wave = np.repeat(np.arange(most.size), np.diff(wave_ptr))
    working = n_chunks > 0
    ending = np.bincount((ptr[row_wave] + n_chunks - 1)[working], minlength=ptr[-1])
    after = np.append(np.cumsum(ending[::-1])[::-1], 0)
    return _Groups(wave, chunk, after[:-1] - after[ptr[1:]][wave])


def _cheapest(cost: NDArray[np.float64]) -> Int64Array:
    """Shape of each wave such that work and changes of shape cost least (Viterbi)."""
    change = _CHANGE * cost.min(axis=1).sum()
    best = np.zeros(cost.shape[1])
    kept = np.empty(cost.shape, dtype=bool)
    cheapest = np.empty(len(cost), dtype=np.int64)
    for wave, row in enumerate(cost):
        cheapest[wave] = best.argmin()
        changed = best[cheapest[wave]] + change
        kept[wave] = best <= changed
        best = np.minimum(best, changed) + row
    choice = np.empty(len(cost), dtype=np.int64)
    shape = int(best.argmin())
    for wave in reversed(range(len(cost))):
        choice[wave] = shape
        shape = shape if kept[wave, shape] else int(cheapest[wave])
    return choice


def _segment(
    groups: _Groups, wave_ptr: Int64Array, begin: int, end: int, n_rows: int, n_terms: int
) -> _Segment:
    part = slice(*np.searchsorted(groups.wave, [begin, end]))
    n_steps = -(-groups.n_rows[part] // n_rows)
    group = np.repeat(np.arange(n_steps.size), n_steps)
    offset = n_rows * (np.arange(group.size) - pointers(n_steps)[group])
    return _Segment(
        n_rows,
        n_terms,
        wave_ptr[groups.wave[part]][group] + offset,
        np.minimum(groups.n_rows[part][group] - offset, n_rows),
        groups.chunk[part][group],
    )
