"""Probabilities at one theta: what is missing to 1, and what makes them illegal."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from phasic_mpi.graph import MASS_TOLERANCE


def missing_to_one(total: jax.Array) -> jax.Array:
    """``1 - total``, and 0 where rounding has brought the total above 1.

    The derivative is -1 everywhere: a total of exactly 1 is no corner.
    """
    missing = 1.0 - total
    return missing + jax.lax.stop_gradient(jnp.maximum(-missing, 0.0))


def nan_unless_probabilities(parts: jax.Array, total: jax.Array) -> jax.Array:
    """1 if all parts are finite and at least 0 and all totals at most 1, else NaN; ``float64[]``.

    A total may exceed 1 by ``graph.MASS_TOLERANCE``, for rounding. Results are multiplied by this
    factor, so that their derivatives are NaN as well.
    """
    legal = (jnp.isfinite(parts) & (parts >= 0)).all() & (total <= 1.0 + MASS_TOLERANCE).all()
    return jnp.where(legal, 1.0, jnp.nan)
