"""Poisson probabilities to nearly all digits, for means that ``exp(-mean)`` cannot hold."""

from __future__ import annotations

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

# What the terms that are left out may add up to.
TAIL = 2.0**-53

_SERIES_FROM = 16
_STIRLING_SERIES = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188)
_NEAR = 0.15


def _stirling_error(n: int) -> float:
    return math.lgamma(n + 1) - (n * math.log(n) - n) - math.log(2 * math.pi * n) / 2


_STIRLING_TABLE = np.array([0.0, *map(_stirling_error, range(1, _SERIES_FROM))])


def pmf(n: jax.Array, mean: jax.Array) -> jax.Array:
    """Probability of ``n`` at ``mean``, by Loader's saddle point expansion (2000).

    ``exp(-d(n) - mean D((n - mean) / mean)) / sqrt(2 pi n)``, with the error ``d`` of Stirling's
    formula and ``D(u) = (1 + u) log(1 + u) - u``: no large numbers cancel.

    Args:
        n: ``float64[...]``, whole numbers of at least 0.
        mean: ``float64[...]``, at least 0.
    """
    positive = jnp.where(mean > 0, mean, 1.0)
    whole = jnp.where(n > 0, n, 1.0)
    exponent = _stirling(whole) + positive * _deviance((whole - positive) / positive)
    at_many = jnp.exp(-exponent) / jnp.sqrt(2 * jnp.pi * whole)
    probability = jnp.where(n > 0, at_many, jnp.exp(-positive))
    return jnp.where(mean > 0, probability, jnp.where(n > 0, 0.0, 1.0))


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def exceedances(n_terms: int, mean: jax.Array) -> jax.Array:
    """Probabilities of more than ``k`` for ``k = 0..n_terms - 1``; ``float64[..., n_terms]``.

    Added up from the far end, so that the small ones keep their digits; what lies beyond
    ``n_terms`` is left out.
    """
    above = pmf(jnp.arange(1.0, n_terms + 1), jnp.asarray(mean)[..., jnp.newaxis])
    return jax.lax.cumsum(above, axis=above.ndim - 1, reverse=True)


@exceedances.defjvp
def _exceedances_jvp(
    n_terms: int, primals: tuple[jax.Array], tangents: tuple[jax.Array]
) -> tuple[jax.Array, jax.Array]:
    """``d P(N > k) / d mean = P(N = k)``: the sum of derivatives telescopes."""
    (mean,), (direction,) = primals, tangents
    slope = pmf(jnp.arange(0.0, n_terms), jnp.asarray(mean)[..., jnp.newaxis])
    return exceedances(n_terms, mean), slope * jnp.asarray(direction)[..., jnp.newaxis]


def _stirling(n: jax.Array) -> jax.Array:
    square = 1.0 / (n * n)
    series = jnp.zeros_like(n)
    for coefficient in reversed(_STIRLING_SERIES):
        series = series * square + coefficient
    small = jnp.minimum(n, _SERIES_FROM - 1).astype(jnp.int32)
    return jnp.where(n < _SERIES_FROM, jnp.asarray(_STIRLING_TABLE)[small], series / n)


def _deviance(u: jax.Array) -> jax.Array:
    near = jnp.where(jnp.abs(u) < _NEAR, u, 0.0)
    series = jnp.zeros_like(u)
    for power in range(21, 1, -1):
        series = series * near + (-1) ** power / (power * (power - 1))
    far = jnp.where(jnp.abs(u) < _NEAR, 1.0, u)
    return jnp.where(jnp.abs(u) < _NEAR, series * near * near, (1.0 + far) * jnp.log1p(far) - far)


def tail_bound(n: jax.Array, mean: jax.Array) -> jax.Array:
    """Chernoff's bound of the probability of ``n`` or more."""
    above = jnp.where(n > mean, (n - mean) / jnp.where(mean > 0, mean, 1.0), 0.0)
    return jnp.where(mean > 0, jnp.exp(-mean * _deviance(above)), 0.0)


def n_terms(mean: float) -> int:
    """Fewest terms from 0 on that leave out at most :data:`TAIL`, by Chernoff's bound."""
    if mean == 0.0:
        return 1

    def enough(n: int) -> bool:
        u = (n - mean) / mean
        return n > mean and mean * ((1 + u) * math.log1p(u) - u) >= -math.log(TAIL)

    upper = math.ceil(mean) + 64
    while not enough(upper):
        upper += math.ceil(math.sqrt(mean)) + 64
    lower = math.floor(mean)
    while upper - lower > 1:
        middle = (lower + upper) // 2
        lower, upper = (lower, middle) if enough(middle) else (middle, upper)
    return upper
