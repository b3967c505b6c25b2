"""Calls of the compiled core with arrays that no caller should give it."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from phasic_mpi import _core
from phasic_mpi.errors import GraphError
from phasic_mpi.scc import SccBlock, condense
from phasic_mpi.trace import EliminationTrace
from tests.fuzz import examples, messages
from tests.graphs import random_scc
from tests.recording import record_alone

_HOSTILE = (-1, 0, 1, 2, 3, (1 << 31) - 1, -(1 << 31), 1 << 62, (1 << 63) - 1, -(1 << 63))
_ARRAYS = ("block_ptr", "block_pattern", "value_ptr", "pattern_ptr", "order", "row_ptr")
_ARRAYS += ("upper_ptr", "col", "off_ptr", "off_col")


@cache
def _traces() -> tuple[EliminationTrace, ...]:
    return tuple(map(record_alone, examples.graphs()))


@cache
def _cut_block() -> tuple[SccBlock, list[Any]]:
    """A block with its recorded parts, as ``_core.join`` takes them."""
    (block,) = condense(random_scc(60, 1)).distinct
    parts = []
    for rows, columns, n_below, n_boundary, vertex in _core.cut(block.row_ptr, block.col, 10):
        store = _core.BlockStore()
        handle = store.put(rows, columns, n_below, n_boundary)
        store.record(handle)
        order, *pointers, entries, _ = store.take(handle)
        parts.append((vertex, order.size - n_boundary, order, *pointers, entries))
    return block, parts


def _spoilt(array: np.ndarray, rng: random.Random) -> np.ndarray:
    """The array, most of the time; or with other numbers, or of another length."""
    kind = rng.random()
    if kind < 0.5 or not array.size:
        return array
    array = array.copy()
    if kind < 0.6:
        return np.resize(array, array.size + rng.choice((-1, 1, 5)))
    for _ in range(rng.choice((1, 1, 2, 4))):
        index = rng.randrange(array.size)
        near = int(array[index]) + rng.choice((-2, -1, 1, 2))
        value = near if rng.random() < 0.5 else rng.choice(_HOSTILE)
        limits = np.iinfo(array.dtype)
        array[index] = min(max(value, limits.min), limits.max)
    return array


def _spoilt_block(rng: random.Random) -> tuple[np.ndarray, np.ndarray]:
    block = rng.choice(messages.blocks())
    return _spoilt(block.row_ptr, rng), _spoilt(block.col, rng)


def _condense(rng: random.Random) -> None:
    graph = rng.choice(examples.graphs())
    n = graph.n_vertices + rng.choice((0, 0, 0, -1, 1, -graph.n_vertices, -1 << 31))
    source, target = _spoilt(graph.param_source, rng), _spoilt(graph.param_target, rng)
    _core.condense(n, source, target)
    _core.trapped_vertices(n, source, target)


def _order(rng: random.Random) -> None:
    block = _spoilt_block(rng)
    find = rng.choice((_core.elimination_order, _core.minimum_degree_order))
    order = _spoilt(find(*block), rng)
    rng.choice((_core.predict_cost, _core.count_cost))(*block, order)


def _cut(rng: random.Random) -> None:
    leaf = rng.choice((-1, 0, 1, 3, 10, (1 << 31) - 1))
    if rng.random() < 0.5:
        _core.dissect(*_spoilt_block(rng), leaf)
    else:
        _core.cut(*_spoilt_block(rng), leaf, rng.choice((0, 1, 2)))


def _record(rng: random.Random) -> None:
    store = _core.BlockStore()
    block = rng.choice(messages.blocks())
    sides = [n + rng.choice((0, 0, 0, 1, -1)) for n in (block.n_below, block.n_boundary)]
    sides = rng.choice((sides, sides, sides, [(1 << 31) - 1] * 2, [-(1 << 31)] * 2))
    spoilt = (_spoilt(block.row_ptr, rng), _spoilt(block.col, rng), *sides)
    _core.is_valid_block(*spoilt)
    handle = store.put(*spoilt)
    store.record(handle + rng.choice((0, 0, 0, 1)))
    store.take(handle)


def _join(rng: random.Random) -> None:
    block, parts = _cut_block()
    parts = list(parts)
    for _ in range(rng.choice((1, 2))):
        at = rng.randrange(len(parts))
        vertex, n_own, *arrays = parts[at]
        n_own += rng.choice((0, 0, 1, -1, 1 << 29))
        parts[at] = (_spoilt(vertex, rng), n_own, *(_spoilt(array, rng) for array in arrays))
    if rng.random() < 0.2:
        parts.pop(rng.randrange(len(parts)))
    _core.join(_spoilt(block.row_ptr, rng), _spoilt(block.col, rng), parts)


def _replay(rng: random.Random) -> None:
    whole = rng.choice(_traces())
    arrays = {name: getattr(whole, name) for name in _ARRAYS}
    for name in rng.sample(_ARRAYS, rng.choice((0, 1, 2))):
        arrays[name] = _spoilt(arrays[name], rng)
    trace = _core.Trace(**arrays)
    trace.count_updates()
    slot = np.unique(whole.edge_slot)
    off = np.arange(whole.first_off_slot, whole.first_exit_slot)
    slot = _spoilt(np.union1d(slot, off), rng)
    supernodes = rng.choice((None, True, False))
    plan = _core.Plan(trace, slot, supernodes=supernodes)
    plan.fewest_jumps(_spoilt(np.arange(3, dtype=np.int32), rng))
    plan.time_solves(np.ones((rng.choice((0, 1, 9)), slot.size)), 0.0)
    kept = _core.FactorPlan(trace, slot, supernodes=supernodes)
    factor = kept.factor(np.ones(slot.size + rng.choice((0, 0, 1, -1))), rng.choice((0, 1, 3)))
    x = np.ones(whole.n_transient + rng.choice((0, 0, 1, -1)))
    factor.solve(x, transpose=rng.random() < 0.5)


_CALLS: tuple[Callable[[random.Random], None], ...] = (
    _condense,
    _order,
    _cut,
    _record,
    _join,
    _replay,
)


def make(rng: random.Random) -> bytes:
    """What one series of calls is made from."""
    return rng.randbytes(8)


def call(content: bytes) -> None:
    """Makes the calls.

    Raises:
        GraphError: The core has refused an argument, as it should.
    """
    rng = random.Random(content)
    try:
        rng.choice(_CALLS)(rng)
    except (ValueError, RuntimeError) as exc:
        raise GraphError(
            "The core refuses", problem=str(exc), resolution="give what it documents"
        ) from exc
