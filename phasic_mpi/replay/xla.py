"""Factorisation and solves by XLA alone: gathers, products and sums, on any device.

Values and unknowns lie slot by slot, all theta of a slot side by side, so a gather reads rows. One
theta takes 8 bytes (16 if complex) per entry of L and U, per edge between blocks and twice per
vertex, all of it at once, and as much as the unknowns, two per vertex and right-hand side; batches
beyond the memory of the device go through ``jax.lax.map(..., batch_size=...)``.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from phasic_mpi.replay.schedule import Schedule
from phasic_mpi.replay.waves import ONE, ZERO, Steps
from phasic_mpi.trace import Int32Array

# A schedule holds arrays of JAX inside of functions; on the host it is built of numpy's.
Indices = jax.Array | Int32Array

# Numbers per slot from which terms are written out, and how many: compilation takes time for each.
_MANY = 64
_WRITTEN_OUT = 16
# Smallest normal number: the reciprocal of anything smaller may overflow.
_SMALLEST = float(np.finfo(np.float64).tiny)


@jax.jit
def factor(schedule: Schedule, weight: jax.Array, shift: jax.Array) -> jax.Array:
    """Eliminates ``M + diag(shift)``.

    A pivot is a sum: of what is left in its row and the rate of leaving the block (Grassmann,
    Taksar and Heyman 1985). The order of additions is that of the schedule, another one only for
    batches of 64 systems and more; no addition depends on which thread comes first.

    Args:
        schedule: Of :func:`phasic_mpi.replay.schedule.build_schedule`.
        weight: ``float64[n_weights]``.
        shift: ``float64[n_transient]`` or complex128.

    Returns:
        ``[n_slots]``, for :func:`solve`; spoiled if a weight is negative or not finite, or a
        vertex cannot be left at these weights.
    """
    values: jax.Array = _factor(schedule, weight[:, np.newaxis], shift[:, np.newaxis])
    return values[:, 0]


@partial(jax.jit, static_argnames="transposed")
def solve(
    schedule: Schedule,
    values: jax.Array,
    multiplier: jax.Array,
    rhs: jax.Array,
    *,
    transposed: bool,
) -> jax.Array:
    """Solves as :func:`phasic_mpi.ffi.solve` does, with ``values`` of :func:`factor`."""
    run = _solve_transposed if transposed else _solve
    solution: jax.Array = run(
        schedule,
        values[:, np.newaxis],
        multiplier[..., np.newaxis, np.newaxis],
        rhs[..., np.newaxis, np.newaxis],
    )
    return solution[..., 0, 0]


@jax.custom_batching.custom_vmap
def _factor(schedule: Schedule, weight: jax.Array, shift: jax.Array) -> jax.Array:
    """``[n_slots, n_theta]`` of ``[n_weights, n_theta]`` and ``[n_transient, n_theta]``.

    Either may have one column for all theta.
    """
    n_theta = max(weight.shape[1], shift.shape[1])
    weight = jnp.broadcast_to(weight, (weight.shape[0], n_theta))
    constant = jnp.broadcast_to(jnp.array([[0.0], [1.0]]), (2, n_theta))
    given = jnp.concatenate([constant, weight]).astype(shift.dtype)
    leaving = shift + _take(given, schedule.exit_weight)
    values = _take(jnp.concatenate([given, leaving]), schedule.origin)
    values = _run(schedule.steps, None, values)
    largest = _magnitude(_take(values, schedule.inverse))
    legal = ((weight >= 0) & (weight < jnp.inf)).all(axis=0)
    left = ((largest > 0) & (largest <= 1 / _SMALLEST)).all(axis=0)
    # The unknowns of the second substitution are taken over from the first by this factor.
    return values.at[ONE].set(jnp.where(legal & left, 1.0, jnp.nan))


@_factor.def_vmap
def _factor_batch(
    size: int, batched: Any, schedule: Schedule, weight: jax.Array, shift: jax.Array
) -> tuple[jax.Array, bool]:
    n_theta = max(weight.shape[-1], shift.shape[-1])
    fold = partial(_folded, size=size, axis=1, width=n_theta)
    values = _factor(schedule, fold(weight, batched[1]), fold(shift, batched[2]))
    return _unfolded(values, size, axis=1), True


def _substituted(
    schedule: Schedule,
    values: jax.Array,
    multiplier: jax.Array,
    rhs: jax.Array,
    *,
    transposed: bool,
) -> jax.Array:
    """``[n_steps, n_transient, n_theta, n_rhs]`` of operands of this shape.

    ``multiplier`` and ``rhs`` may have one column for all theta, all right-hand sides or both.
    """
    sweep = schedule.transposed if transposed else schedule.forward
    n_rhs = max(multiplier.shape[3], rhs.shape[3])
    zero = jnp.zeros((rhs.shape[1], values.shape[1], n_rhs), dtype=rhs.dtype)

    def step(previous: jax.Array, at: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        rhs, multiplier = at
        right = rhs + multiplier * previous + zero
        right = jnp.concatenate([right, zero[:1]])
        unknown = _run(sweep.steps, values[..., jnp.newaxis], _take(right, sweep.origin))
        solution = _take(unknown, sweep.solution)
        return solution, solution

    # The first step has none before it.
    before = ((0, 1) if transposed else (1, 0), (0, 0), (0, 0), (0, 0))
    steps = (rhs, jnp.pad(multiplier, before))
    return jax.lax.scan(step, zero, steps, reverse=transposed)[1]


def _substituted_batch(
    size: int,
    batched: Any,
    schedule: Schedule,
    values: jax.Array,
    multiplier: jax.Array,
    rhs: jax.Array,
    *,
    transposed: bool,
) -> tuple[jax.Array, bool]:
    """Right-hand sides of the same values lie side by side, and share what is read of these."""
    if batched[1]:
        axis, width = 2, values.shape[-1]
        values = _folded(values, True, size=size, axis=1, width=width)
    else:
        axis, width = 3, max(multiplier.shape[-1], rhs.shape[-1])
    fold = partial(_folded, size=size, axis=axis, width=width)
    run = _solve_transposed if transposed else _solve
    solution = run(schedule, values, fold(multiplier, batched[2]), fold(rhs, batched[3]))
    return _unfolded(solution, size, axis=axis), True


_solve = jax.custom_batching.custom_vmap(partial(_substituted, transposed=False))
_solve.def_vmap(partial(_substituted_batch, transposed=False))
_solve_transposed = jax.custom_batching.custom_vmap(partial(_substituted, transposed=True))
_solve_transposed.def_vmap(partial(_substituted_batch, transposed=True))


def _folded(array: jax.Array, batched: bool, *, size: int, axis: int, width: int) -> jax.Array:
    """Merges a leading batch of ``size`` into an axis of ``width``; a shared column stays one."""
    if not batched:
        if array.shape[axis] == 1:
            return array
        array = jnp.broadcast_to(array, (size, *array.shape))
    shape = list(array.shape)
    shape[axis + 1] = width
    array = jnp.moveaxis(jnp.broadcast_to(array, shape), 0, axis)
    return array.reshape(*shape[1 : axis + 1], size * width, *shape[axis + 2 :])


def _unfolded(array: jax.Array, size: int, *, axis: int) -> jax.Array:
    """Takes a batch of ``size`` out of an axis, to the front."""
    shape = array.shape
    array = array.reshape(*shape[:axis], size, shape[axis] // size, *shape[axis + 1 :])
    return jnp.moveaxis(array, axis, 0)


def _take(array: jax.Array, index: Indices) -> jax.Array:
    return array.at[index].get(mode="promise_in_bounds")


def _run(steps: tuple[Steps, ...], values: jax.Array | None, unknown: jax.Array) -> jax.Array:
    """Takes the steps; an elimination has no ``values`` but those that it computes."""

    def step(unknown: jax.Array, at: Steps) -> tuple[jax.Array, None]:
        source = unknown if values is None else values
        total = jax.lax.dynamic_slice_in_dim(unknown, at.start, at.factor.shape[0])
        total = total + _sum_of_products(source, at.left, unknown, at.right)
        if values is None:
            scaled = total * _take(source, jnp.maximum(at.factor, ZERO))
            reciprocal = jnp.expand_dims(at.factor < 0, range(1, total.ndim))
            total = jnp.where(reciprocal, _reciprocal(total), scaled)
        else:
            total = total * _take(source, at.factor)
        return jax.lax.dynamic_update_slice_in_dim(unknown, total, at.start, 0), None

    for part in steps:
        unknown, _ = jax.lax.scan(step, unknown, part)
    return unknown


def _sum_of_products(a: jax.Array, left: Indices, b: jax.Array, right: Indices) -> jax.Array:
    """Products of slots of ``a`` and ``b``, ``[n_terms, n_rows]`` of each, added up over the terms.

    Many theta are worked on side by side while terms are written out, a few at a time; a few theta
    are faster in a reduction.
    """
    n_terms = left.shape[0]
    n_parts = n_terms // min(n_terms, _WRITTEN_OUT if b[0].size >= _MANY else 1)
    total: Any = 0.0
    for begin in range(0, n_terms, n_parts):
        part = slice(begin, begin + n_parts)
        total = total + _take(a, left[part]) * _take(b, right[part])
    summed: jax.Array = total.sum(axis=0)
    return summed


def _magnitude(pivot: jax.Array) -> jax.Array:
    """Of complex numbers squared: pivots lie between the rates and ``|s|``, far from overflow."""
    return pivot.real**2 + pivot.imag**2 if jnp.iscomplexobj(pivot) else pivot


def _reciprocal(pivot: jax.Array) -> jax.Array:
    return pivot.conj() / _magnitude(pivot) if jnp.iscomplexobj(pivot) else 1.0 / pivot
