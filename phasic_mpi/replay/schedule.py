"""The order in which XLA eliminates and solves: what may be computed at once, and from what.

Everything is a sum of products of what earlier waves hold, so XLA only gathers, and writes ranges
(:mod:`phasic_mpi.replay.waves`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from phasic_mpi.replay.elimination import Nodes, Rows, elimination, rows_of
from phasic_mpi.replay.waves import ONE, RECIPROCAL, Products, Steps, Waves, levels, longest
from phasic_mpi.trace import EliminationTrace, Int32Array, Int64Array


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
    rows = rows_of(trace)
    nodes = Nodes.of(rows)
    products, wave, factor = elimination(rows, nodes)
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


def _sweep(
    rows: Rows, nodes: Nodes, slot: Int32Array, *, transposed: bool, step_cost: int
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
