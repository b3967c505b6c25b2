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
_ZERO = np.int32(ZERO)

_ROWS = (4, 16, 64, 256, 1024, 4096)
_TERMS = (1, 4, 16, 64, 256)
_MOST_PRODUCTS = 16384
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


class Products(NamedTuple):
    """Products that add up to numbers ("nodes"), a node's one after another in the order of adding.

    Attributes:
        ptr: ``int64[n_nodes + 1]``, first product of each node.
        left: ``int32[n_products]``, node or slot of the one factor.
        right: ``int32[n_products]``, of the other.
    """

    ptr: Int64Array
    left: Int32Array
    right: Int32Array

    @classmethod
    def of(cls, n_nodes: int, node: Int64Array, left: Int64Array, right: Int64Array) -> Products:
        """Groups products by their nodes."""
        order = np.argsort(node, kind="stable")
        ptr = pointers(np.bincount(node, minlength=n_nodes))
        return cls(ptr, left[order].astype(np.int32), right[order].astype(np.int32))


@dataclass(frozen=True, eq=False)
class Waves:
    """Nodes in the order of computation: wave by wave, in each those of most terms first.

    Attributes:
        slot: ``int32[n_nodes]``, slot of each node; those that are given, not computed, come first.
        order: ``int64[n_computed]``, the computed nodes by ascending slot.
        wave_ptr: ``int64[n_waves + 1]``, where each wave begins in ``order``.
        effort: ``int64[n_computed]``, terms by ascending slot; 1 for what is only scaled.
    """

    slot: Int32Array
    order: Int64Array
    wave_ptr: Int64Array
    effort: Int64Array

    @classmethod
    def of(cls, wave: Int64Array, n_terms: Int64Array, scaled: NDArray[np.bool_]) -> Waves:
        """Orders nodes.

        Args:
            wave: ``int64[n_computed]``, wave of each of the last nodes.
            n_terms: ``int64[n_nodes]``, products of each node.
            scaled: ``bool[n_nodes]``, whether more than a sum is asked of each node.
        """
        n_given = n_terms.size - wave.size
        effort = np.maximum(n_terms, scaled)[n_given:]
        order = np.lexsort((-effort, wave))
        slot = np.arange(n_terms.size, dtype=np.int32)
        slot[n_given + order] = slot[n_given:].copy()
        return cls(slot, n_given + order, pointers(np.bincount(wave)), effort[order])

    def steps(self, products: Products, factor: Int64Array, *, step_cost: int) -> tuple[Steps, ...]:
        """Steps that compute all nodes.

        Args:
            products: Of all nodes, by slots.
            factor: ``int64[n_nodes]``, slot that each sum is multiplied by, ``ONE`` if by none, or
                ``RECIPROCAL``.
            step_cost: Products that a step costs as much as, besides those it computes or pads.
        """
        padded = Products(
            products.ptr, np.append(products.left, _ZERO), np.append(products.right, _ZERO)
        )
        segments = _segments(self.effort, self.wave_ptr, step_cost)
        return tuple(self._packed(segment, padded, factor) for segment in segments)

    def _packed(self, segment: _Segment, products: Products, factor: Int64Array) -> Steps:
        """Arrays of one segment; the last product stands for none."""
        n_rows, n_terms = segment.n_rows, segment.n_terms
        row = segment.row[:, np.newaxis] + np.arange(n_rows)
        inside = np.arange(n_rows) < segment.filled[:, np.newaxis]
        row[~inside] = 0
        node = self.order[row]
        term = products.ptr[node] + segment.chunk[:, np.newaxis] * n_terms
        end = np.where(inside, products.ptr[node + 1], 0)
        left = np.empty((len(row), n_terms, n_rows), dtype=np.int32)
        right = np.empty_like(left)
        for index in range(n_terms):
            found = np.where(term + index < end, term + index, products.left.size - 1)
            left[:, index] = products.left[found]
            right[:, index] = products.right[found]
        last = inside & ((segment.chunk[:, np.newaxis] + 1) * n_terms >= self.effort[row])
        scale = np.where(last, factor[node], ONE).astype(np.int32)
        n_given = self.slot.size - self.order.size
        return Steps((n_given + segment.row).astype(np.int32), left, right, scale)


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


def _segments(effort: Int64Array, wave_ptr: Int64Array, step_cost: int) -> list[_Segment]:
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
        cost[:, column] = total * (step_cost + n_rows * n_terms)
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
