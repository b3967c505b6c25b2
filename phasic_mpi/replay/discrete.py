"""Discrete phase-type distributions: edge weights are probabilities of one step.

Self-loops are dropped when a graph is read. What the weights out of a vertex lack to 1 is the
probability of staying there for the step, so the transition matrix between transient vertices is
``P = I - M`` with ``M = diag(row sums) - W``. Everything but that difference is computed from sums
of non-negative numbers.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from phasic_mpi.errors import EvaluationError
from phasic_mpi.evaluate import require_moments
from phasic_mpi.replay.edges import apply_edges, powers
from phasic_mpi.replay.linear import solve
from phasic_mpi.replay.probability import missing_to_one, nan_unless_probabilities
from phasic_mpi.replay.program import (
    Program,
    Theta,
    edge_weights,
    exit_rates,
    initial_distribution,
    rates_out,
)


def discrete_pmf(program: Program, theta: Theta, n_steps: int) -> jax.Array:
    """Probabilities of absorption after exactly 0, 1, ..., ``n_steps`` steps.

    ``p_0 = 1 - alpha 1``, ``p_k = alpha P^(k-1) M 1`` (Neuts 1975; Bladt and Nielsen 2017). Costs
    ``n_steps`` passes over the edges.

    Args:
        program: See :func:`load_program`.
        theta: ``float64[n_parameters]``, or a mapping of the parameters' names to numbers.
        n_steps: Highest number of steps, at least 0; static under ``jit``.

    Returns:
        ``float64[n_steps + 1]``. NaN at a theta at which a weight or an initial probability is
        negative or not finite, or those out of one vertex sum to more than 1 (by more than
        ``graph.MASS_TOLERANCE``). Where a vertex cannot be left, they sum to less than 1.

    Raises:
        ConfigError: JAX computes in single precision.
        EvaluationError: Theta of another shape, or ``n_steps`` below 0.
    """
    _require_steps(n_steps)
    chain = _chain(program, theta)
    exits = exit_rates(program, chain.weight)
    absorbed = powers(program, chain.weight, chain.stay, chain.alpha, exits, n_steps)
    return jnp.concatenate([chain.atom[jnp.newaxis], absorbed])


def discrete_cdf(program: Program, theta: Theta, n_steps: int) -> jax.Array:
    """Probabilities of absorption within 0, 1, ..., ``n_steps`` steps; ``float64[n_steps + 1]``.

    Running sums of :func:`discrete_pmf`, which see for arguments and errors; rounding may bring the
    last ones above 1 by a few units of the last place.
    """
    return jnp.cumsum(discrete_pmf(program, theta, n_steps))


def discrete_moments(program: Program, theta: Theta, n_moments: int) -> jax.Array:
    """Raw moments of the number of steps until absorption, an atom at zero counted as zero.

    Factorial moments ``k! alpha P^(k-1) M^-k 1`` (Bladt and Nielsen 2017) become raw
    ones with Stirling numbers of the second kind, all of them positive. One solve per moment.

    Args:
        program: See :func:`load_program`.
        theta: ``float64[n_parameters]``, or a mapping of the parameters' names to numbers.
        n_moments: Highest moment, at least 1; static under ``jit``.

    Returns:
        ``float64[n_moments]``; NaN as in :func:`discrete_pmf`, and where a vertex cannot be left.

    Raises:
        ConfigError: JAX computes in single precision.
        EvaluationError: Theta of another shape, or ``n_moments`` below 1.
    """
    require_moments(n_moments)
    chain = _chain(program, theta)
    rhs = jnp.ones(program.n_transient)
    factorial_moments = []
    for power in range(1, n_moments + 1):
        (solution,) = solve(program, chain.weight, power * rhs[jnp.newaxis])
        factorial_moments.append((chain.alpha * solution).sum())
        rhs = chain.stay * solution + apply_edges(program, chain.weight, solution)
    return (_stirling_numbers(n_moments) * jnp.stack(factorial_moments)).sum(axis=-1)


class _Chain(NamedTuple):
    """A chain at one theta; its start is NaN if its probabilities are illegal."""

    alpha: jax.Array  # float64[n_transient]
    atom: jax.Array  # float64[], probability of no step at all
    weight: jax.Array  # float64[n_weights]
    stay: jax.Array  # float64[n_transient]


def _chain(program: Program, theta: Theta) -> _Chain:
    weight = edge_weights(program, theta)
    alpha = initial_distribution(program, theta)
    leaving = rates_out(program, weight)
    legal = nan_unless_probabilities(weight, leaving)
    legal = legal * nan_unless_probabilities(alpha, alpha.sum())
    return _Chain(
        alpha=legal * alpha,
        atom=legal * missing_to_one(alpha.sum()),
        weight=weight,
        stay=missing_to_one(leaving),
    )


def _require_steps(n_steps: int) -> None:
    if n_steps < 0:
        raise EvaluationError(
            "Probabilities of steps cannot be computed",
            problem=f"expected n_steps of at least 0, got {n_steps}",
            resolution="ask for 0 to n_steps steps",
        )


def _stirling_numbers(n: int) -> jax.Array:
    """Stirling numbers of the second kind, ``S(i + 1, j + 1)`` in row ``i``, column ``j``."""
    rows = [[1] + [0] * (n - 1)]
    for _ in range(n - 1):
        above = rows[-1]
        rows.append([(j + 1) * above[j] + (above[j - 1] if j else 0) for j in range(n)])
    return jnp.array(rows, dtype=jnp.float64)
