"""Moments of rewards accumulated until absorption, and what else follows from solves."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from phasic_mpi.errors import EvaluationError
from phasic_mpi.evaluate import require_moments
from phasic_mpi.replay.linear import solve, solve_transposed
from phasic_mpi.replay.program import (
    Program,
    Theta,
    edge_weights,
    exit_rates,
    initial_distribution,
    reward_by_position,
)


def moments(
    program: Program, theta: Theta, n_moments: int, rewards: jax.Array | None = None
) -> jax.Array:
    """Raw moments of the reward accumulated until absorption.

    ``E[Y^k] = k! alpha (M^-1 R)^k 1`` (van Loan 1978; Bladt and Nielsen 2017, section 8).

    Args:
        program: See :func:`load_program`.
        theta: ``float64[n_parameters]``, or a mapping of the parameters' names to numbers.
        n_moments: Highest moment, at least 1.
        rewards: ``float64[n_vertices]``, reward per unit of time; 1 everywhere (the time to
            absorption) if not given.

    Returns:
        ``float64[n_moments]``; NaN at a theta at which a weight is negative or not finite, or a
        vertex cannot be left.

    Raises:
        ConfigError: JAX computes in single precision.
        EvaluationError: Theta or rewards of another shape, or ``n_moments`` below 1.
    """
    require_moments(n_moments)
    weight = edge_weights(program, theta)
    reward = reward_by_position(program, rewards)
    rhs = jnp.zeros((n_moments, program.n_transient)).at[0].set(reward)
    # The factorial goes in step by step, so that no intermediate is k! too small.
    power = jnp.arange(2.0, n_moments + 1)[:, jnp.newaxis]
    solution = solve(program, weight, rhs, multiplier=power * reward)
    return _sums(initial_distribution(program, theta) * solution)


def expected_rewards(program: Program, theta: Theta, rewards: jax.Array | None = None) -> jax.Array:
    """Expected reward until absorption from every vertex; ``float64[n_vertices]``.

    Zero at absorbing vertices; the starting vertex holds the mean over the initial distribution.
    Without rewards this is the expected waiting time. Arguments and errors as in :func:`moments`.
    """
    reward = reward_by_position(program, rewards)
    (solution,) = solve(program, edge_weights(program, theta), reward[jnp.newaxis])
    mean = _sums(initial_distribution(program, theta) * solution)
    return jnp.zeros(program.n_vertices).at[program.vertex].set(solution).at[0].set(mean)


def expected_visits(program: Program, theta: Theta) -> jax.Array:
    """Expected time spent in every vertex before absorption; ``float64[n_vertices]``.

    ``alpha M^-1``, the gradient of the mean reward in the rewards: one transposed solve. Arguments
    and errors as in :func:`moments`.
    """
    visits = solve_transposed(
        program, edge_weights(program, theta), initial_distribution(program, theta)
    )
    return jnp.zeros(program.n_vertices).at[program.vertex].set(visits)


def covariance(program: Program, theta: Theta, rewards: jax.Array) -> jax.Array:
    """Covariance matrix of several rewards accumulated along one path.

    ``E[Y_i Y_j] = alpha M^-1 R_i M^-1 r_j + alpha M^-1 R_j M^-1 r_i``: one solve per reward and
    one transposed solve (Bladt and Nielsen 2017, section 8).

    Args:
        program: See :func:`load_program`.
        theta: ``float64[n_parameters]``, or a mapping of the parameters' names to numbers.
        rewards: ``float64[n_rewards, n_vertices]``.

    Returns:
        ``float64[n_rewards, n_rewards]``, symmetric; NaN as in :func:`moments`.

    Raises:
        ConfigError: JAX computes in single precision.
        EvaluationError: Theta or rewards of another shape.
    """
    reward = jax.vmap(lambda row: reward_by_position(program, row))(rewards)
    weight = edge_weights(program, theta)
    waiting = jax.vmap(lambda row: solve(program, weight, row[jnp.newaxis])[0])(reward)
    visits = expected_visits(program, theta)[program.vertex]
    mixed = (visits * reward) @ waiting.T
    mean = waiting @ initial_distribution(program, theta)
    return mixed + mixed.T - jnp.outer(mean, mean)


def correlation(program: Program, theta: Theta, rewards: jax.Array) -> jax.Array:
    """Correlation matrix of several rewards accumulated along one path.

    Arguments and errors as in :func:`covariance`; NaN also in the row and column of a reward that
    does not vary.
    """
    matrix = covariance(program, theta, rewards)
    deviation = jnp.sqrt(jnp.diagonal(matrix))
    return matrix / jnp.outer(deviation, deviation)


def joint_moment(
    program: Program, theta: Theta, rewards: jax.Array, orders: Sequence[int]
) -> jax.Array:
    """``E[prod_i Y_i^orders_i]`` of several rewards accumulated along one path.

    Moments given the start solve ``M F(k) = sum_i k_i R_i F(k - e_i)``, ``F(0) = 1``: one solve for
    each ``k`` up to ``orders`` (Bladt and Nielsen 2017, section 8).

    Args:
        program: See :func:`load_program`.
        theta: ``float64[n_parameters]``, or a mapping of the parameters' names to numbers.
        rewards: ``float64[n_rewards, n_vertices]``.
        orders: Power of each reward, at least 0; not all of them 0.

    Returns:
        ``float64[]``; NaN as in :func:`moments`.

    Raises:
        ConfigError: JAX computes in single precision.
        EvaluationError: Theta or rewards of another shape, or orders that do not fit the rewards.
    """
    if len(orders) != len(rewards) or min(orders, default=0) < 0 or not any(orders):
        raise EvaluationError(
            "A joint moment cannot be computed",
            problem=f"expected {len(rewards)} orders of at least 0, one of them above, got "
            f"{list(orders)}",
            resolution="give the power of each row of rewards",
        )
    reward = [reward_by_position(program, row) for row in rewards]
    weight = edge_weights(program, theta)
    given_start = {(0,) * len(orders): jnp.ones(program.n_transient)}
    # Lexicographic order: what a moment is made of comes before it.
    for index in itertools.product(*(range(order + 1) for order in orders)):
        lower = [(i, k, (*index[:i], k - 1, *index[i + 1 :])) for i, k in enumerate(index) if k]
        if lower:
            rhs = sum(k * reward[i] * given_start[below] for i, k, below in lower)
            (given_start[index],) = solve(program, weight, jnp.asarray(rhs)[jnp.newaxis])
    return _sums(initial_distribution(program, theta) * given_start[tuple(orders)])


def laplace_transform(
    program: Program, theta: Theta, s: jax.Array, rewards: jax.Array | None = None
) -> jax.Array:
    """``E[exp(-s Y)]`` of the reward accumulated until absorption, an atom at zero included.

    ``L(s) = 1 - alpha 1 + alpha (M + s R)^-1 M 1`` (Bladt and Nielsen 2017, section 3).

    Args:
        program: See :func:`load_program`.
        theta: ``float64[n_parameters]``, or a mapping of the parameters' names to numbers.
        s: One number, real or complex, in the half plane where its real part is not negative.
        rewards: As in :func:`moments`, not negative.

    Returns:
        ``complex128[]`` if ``s`` is complex, else ``float64[]``; NaN as in :func:`moments`.
    """
    weight = edge_weights(program, theta)
    s = jnp.asarray(s)
    s = s.astype(jnp.complex128 if jnp.iscomplexobj(s) else jnp.float64)
    absorption = exit_rates(program, weight).astype(s.dtype)
    (solution,) = solve(
        program, weight, absorption[jnp.newaxis], shift=s * reward_by_position(program, rewards)
    )
    alpha = initial_distribution(program, theta)
    return 1.0 - alpha.sum() + _sums(alpha * solution)


def _sums(products: jax.Array) -> jax.Array:
    return products.sum(axis=-1)
