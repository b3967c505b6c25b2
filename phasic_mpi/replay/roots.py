"""Where an increasing function crosses zero, for many functions at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

_MOST_STEPS = 200
_PRECISION = 2.0**-50
# Newton steps that are so small and no longer shrink are rounding.
_ROUNDING = 1e-8


class _Search(NamedTuple):
    step: jax.Array
    lower: jax.Array
    upper: jax.Array
    point: jax.Array
    moved: jax.Array  # by the last step
    done: jax.Array


def increasing_root(
    value: Callable[[jax.Array], jax.Array],
    slope: Callable[[jax.Array], jax.Array],
    lower: jax.Array,
    upper: jax.Array,
) -> jax.Array:
    """Solves ``value(x) = 0`` elementwise between positive bounds.

    Newton's method within a bracket that every step narrows; where it would leave the bracket, the
    geometric mean of the bounds is next, so that roots of any magnitude are found. Differentiable
    to any order in what ``value`` closes over.

    Args:
        value: Increasing functions, ``float64[n] -> float64[n]``.
        slope: Their derivatives; need not be differentiable.
        lower: ``float64[n]``, positive, where values are not positive.
        upper: ``float64[n]``, where values are not negative.

    Returns:
        ``float64[n]``, to a relative 1e-15; NaN where values or bounds are NaN.
    """

    def search(function: Callable[[jax.Array], jax.Array], begin: jax.Array) -> jax.Array:
        def advance(at: _Search) -> _Search:
            residual = function(at.point)
            low = jnp.where(residual <= 0, at.point, at.lower)
            high = jnp.where(residual >= 0, at.point, at.upper)
            newton = at.point - residual / slope(at.point)
            inside = (newton > low) & (newton < high)
            new = jnp.where(inside, newton, jnp.sqrt(low) * jnp.sqrt(high))
            moved = jnp.abs(new - at.point)
            stalled = (moved <= _ROUNDING * at.point) & (moved >= at.moved)
            close = (moved <= _PRECISION * at.point) | (high - low <= _PRECISION * high)
            unknown = jnp.isnan(residual)
            point = jnp.where(at.done, at.point, jnp.where(unknown, jnp.nan, new))
            return _Search(
                at.step + 1, low, high, point, moved, at.done | stalled | close | unknown
            )

        def unfinished(at: _Search) -> jax.Array:
            return (at.step < _MOST_STEPS) & ~at.done.all()

        first = _Search(jnp.int32(0), lower, upper, begin, upper, jnp.isnan(begin))
        end = jax.lax.while_loop(unfinished, advance, first)
        return jnp.where(end.done, end.point, jnp.nan)

    def tangent(linear: Callable[[jax.Array], jax.Array], right: jax.Array) -> jax.Array:
        return right / linear(jnp.ones_like(right))

    root: jax.Array = jax.lax.custom_root(value, jnp.sqrt(lower) * jnp.sqrt(upper), search, tangent)
    return root
