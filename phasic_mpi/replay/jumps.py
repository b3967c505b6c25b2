"""Jumps of a process at one theta, drawn from the edges of the vertices it is in.

A jump is the inverse of the cumulative weights of one row of edges, ascending by weight: small
rates keep their digits beside large ones, and an edge of weight zero is never taken. The
probability of a jump is right to ``2^-52``, the spacing of uniform random numbers.
"""

from __future__ import annotations

from typing import NamedTuple, NoReturn

import jax
import jax.numpy as jnp

from phasic_mpi.errors import EvaluationError
from phasic_mpi.replay.linear import solve
from phasic_mpi.replay.probability import missing_to_one, nan_unless_probabilities
from phasic_mpi.replay.program import Program, Theta, edge_weights, initial_distribution


class JumpRows(NamedTuple):
    """Edges by source and ascending weight; row ``n_transient`` holds the initial distribution.

    As a target, ``n_transient`` is absorption.
    """

    ptr: jax.Array  # int32[n_transient + 2]
    target: jax.Array  # int32[n_edges]
    upto: jax.Array  # float64[n_edges], cumulative weight within the row
    n_halvings: jax.Array  # int32[], steps of a bisection of the longest row
    legal: jax.Array  # float64[], 1, or NaN where theta has no law


def jump_rows(program: Program, theta: Theta) -> JumpRows:
    """Sorts the edges and the initial distribution of a program at one theta.

    Raises:
        ConfigError: JAX computes in single precision.
        EvaluationError: Theta of another shape, or a derivative in theta is taken.
    """
    n = program.n_transient
    weight = _not_differentiable(edge_weights(program, theta))
    alpha = _not_differentiable(initial_distribution(program, theta))
    atom = missing_to_one(alpha.sum())
    source, weights, target = jax.lax.sort(
        (
            jnp.concatenate([program.source, jnp.full(n + 1, n, dtype=jnp.int32)]),
            jnp.concatenate([weight, alpha, atom[jnp.newaxis]]),
            jnp.concatenate([program.target, jnp.arange(n + 1, dtype=jnp.int32)]),
        ),
        num_keys=2,
    )
    ptr = jnp.searchsorted(source, jnp.arange(n + 2, dtype=jnp.int32)).astype(jnp.int32)
    legal = nan_unless_probabilities(alpha, alpha.sum())
    return JumpRows(
        ptr=ptr,
        target=target,
        upto=_sums_within_rows(source, weights),
        n_halvings=32 - jax.lax.clz(jnp.diff(ptr).max() - 1),
        legal=legal * _nan_unless_absorbed(program, weight),
    )


def _nan_unless_absorbed(program: Program, weight: jax.Array) -> jax.Array:
    """1 if every vertex can be left for absorption, else NaN: a walk without end is not begun."""
    (waiting,) = solve(program, weight, jnp.ones((1, program.n_transient)))
    return jnp.where(jnp.isfinite(waiting).all(), 1.0, jnp.nan)


def _sums_within_rows(source: jax.Array, weight: jax.Array) -> jax.Array:
    """Running sums that begin anew with every row: others' weights would cost digits."""
    first = jnp.diff(source, prepend=-1) > 0

    def add(
        before: tuple[jax.Array, jax.Array], own: tuple[jax.Array, jax.Array]
    ) -> tuple[jax.Array, jax.Array]:
        return before[0] | own[0], jnp.where(own[0], own[1], before[1] + own[1])

    sums: jax.Array = jax.lax.associative_scan(add, (first, weight))[1]
    return sums


def start(rows: JumpRows, key: jax.Array, n_samples: int) -> jax.Array:
    """Positions at time zero; absorption where theta has no law, so that no walk begins."""
    n = rows.ptr.size - 2
    uniform = jax.random.uniform(jax.random.fold_in(key, 0), (n_samples,), dtype=jnp.float64)
    first = pick(rows, jnp.full(n_samples, n, dtype=jnp.int32), uniform)
    return jnp.where(jnp.isnan(rows.legal), n, first)


def jump(rows: JumpRows, position: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Positions after one more jump and the sojourns before it; absorption is final."""
    for_sojourn, for_jump = jax.random.split(key)
    absorbed = position == rows.ptr.size - 2
    rate = rows.upto[rows.ptr[position + 1] - 1]
    sojourn = jax.random.exponential(for_sojourn, position.shape, dtype=jnp.float64) / rate
    uniform = jax.random.uniform(for_jump, position.shape, dtype=jnp.float64)
    after = jnp.where(absorbed, position, pick(rows, position, uniform))
    return after, jnp.where(absorbed, 0.0, sojourn)


def pick(rows: JumpRows, row: jax.Array, uniform: jax.Array) -> jax.Array:
    """Target of the first edge of the row whose cumulative weight exceeds its share."""
    first, last = rows.ptr[row], rows.ptr[row + 1] - 1
    share = uniform * rows.upto[last]

    def halve(_: int, ends: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        low, high = ends
        middle = (low + high) // 2
        beyond = rows.upto[middle] > share
        return jnp.minimum(jnp.where(beyond, low, middle + 1), high), jnp.where(
            beyond, middle, high
        )

    low, _ = jax.lax.fori_loop(0, rows.n_halvings, halve, (first, last))
    return rows.target[low]


@jax.custom_jvp
def _not_differentiable(array: jax.Array) -> jax.Array:
    return array


@_not_differentiable.defjvp
def _refuse_derivative(*_: object) -> NoReturn:
    raise EvaluationError(
        "Samples cannot be differentiated",
        problem="expected theta to be constant, got a derivative in theta through samples",
        resolution="differentiate moments or densities, or stop the gradient of theta",
    )
