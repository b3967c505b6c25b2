"""Log-likelihoods of data at a theta, to be differentiated in theta."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import gammaln

from phasic_mpi.errors import EvaluationError
from phasic_mpi.evaluate import require_reward_per_vertex
from phasic_mpi.replay.distributions import atom, pdf
from phasic_mpi.replay.moments import expected_visits
from phasic_mpi.replay.program import Program, Theta, require_float64


def log_likelihood_times(
    program: Program,
    theta: Theta,
    times: jax.Array,
    *,
    rewards: jax.Array | None = None,
    method: str = "auto",
    n_terms: int | None = None,
) -> jax.Array:
    """Log-likelihood of independent times to absorption, or of rewards until then.

    ``sum_i log f(t_i)``; a time of exactly 0 counts with the probability of the atom there.

    Args:
        program: See :func:`load_program`.
        theta: ``float64[n_parameters]``, or a mapping of the parameters' names to numbers.
        times: ``float64[n_times]``, or rewards if those are given.
        rewards: As in :func:`pdf`.
        method: As in :func:`pdf`. In the tails only uniformisation has a relative precision.
        n_terms: As in :func:`pdf`.

    Returns:
        ``float64[]``; minus infinity where a time is impossible, NaN as in :func:`pdf`.

    Raises:
        ConfigError: As in :func:`pdf`.
        EvaluationError: As in :func:`pdf`.
    """
    how: dict[str, Any] = {"rewards": rewards, "method": method, "n_terms": n_terms}
    times = jnp.asarray(times, dtype=jnp.float64)
    positive = jnp.where(times == 0, 1.0, times)
    density = pdf(program, theta, positive, **how)
    at_zero = atom(program, theta, **how)
    return jnp.log(jnp.where(times == 0, at_zero, density)).sum()


def class_means(program: Program, theta: Theta, rewards: jax.Array) -> jax.Array:
    """Expected reward of every class until absorption; ``float64[n_classes]``.

    One transposed solve, ``alpha M^-1 r_i``, whatever the number of classes. With the number of
    lineages that have ``i`` descendants as rewards this is the expected site frequency spectrum,
    per mutation rate (Hobolth, Siri-Jegousse and Bladt 2019). Arguments and errors as in
    :func:`class_probabilities`; NaN as there, but not where all rewards are zero.
    """
    visits = expected_visits(program, theta)[program.vertex]
    reward = _by_class(program, rewards)
    means = (reward * visits).sum(axis=-1)
    # Multiplied, so that derivatives are NaN as well.
    return means * jnp.where((means >= 0).all(), 1.0, jnp.nan)


def class_probabilities(program: Program, theta: Theta, rewards: jax.Array) -> jax.Array:
    """Probability that an event falls into each class, if they happen at rates ``rewards``.

    The expected rewards of :func:`class_means`, divided by their sum.

    Args:
        program: See :func:`load_program`.
        theta: ``float64[n_parameters]``, or a mapping of the parameters' names to numbers.
        rewards: ``float64[n_classes, n_vertices]``, rate of each class in each vertex.

    Returns:
        ``float64[n_classes]``; NaN at a theta at which a weight is negative or not finite or a
        vertex cannot be left, and where an expected reward is negative or all of them are zero.

    Raises:
        ConfigError: JAX computes in single precision.
        EvaluationError: Theta or rewards of another shape.
    """
    means = class_means(program, theta, rewards)
    return means / means.sum()


def log_likelihood_counts(
    program: Program, theta: Theta, counts: jax.Array, rewards: jax.Array
) -> jax.Array:
    """Multinomial log-probability of the numbers of events in each class, given their total.

    ``log n! - sum_i log c_i! + sum_i c_i log p_i`` with the ``p`` of :func:`class_probabilities`:
    for a site frequency spectrum, that of unlinked sites. It does not depend on the mutation rate;
    :func:`log_likelihood_poisson_counts` does.

    Args:
        program: See :func:`load_program`.
        theta: ``float64[n_parameters]``, or a mapping of the parameters' names to numbers.
        counts: ``float64[n_classes]``, at least 0; they need not be whole.
        rewards: ``float64[n_classes, n_vertices]``, rate of each class in each vertex, up to a
            common factor.

    Returns:
        ``float64[]``; minus infinity where a class that was counted is impossible; NaN as in
        :func:`class_probabilities`, and under ``jit`` or ``vmap`` for counts that are negative or
        not finite.

    Raises:
        ConfigError: JAX computes in single precision.
        EvaluationError: Theta, counts or rewards of another shape; counts outside of ``jit`` and
            ``vmap`` that are negative or not finite.
    """
    counts = _counts(counts, rewards)
    probability = class_probabilities(program, theta, rewards)
    coefficient = gammaln(counts.sum() + 1.0) - gammaln(counts + 1.0).sum()
    return coefficient + _sum_of_logs(counts, probability)


def log_likelihood_poisson_counts(
    program: Program, theta: Theta, counts: jax.Array, rewards: jax.Array
) -> jax.Array:
    """Log-probability of independent Poisson counts whose means are the expected rewards.

    ``sum_i (c_i log m_i - m_i - log c_i!)`` with the ``m`` of :func:`class_means`: the Poisson
    random field of a site frequency spectrum (Sawyer and Hartl 1992), the mutation rate being part
    of the rewards. Arguments, results and errors as in :func:`log_likelihood_counts`, but all
    rewards may be zero.
    """
    counts = _counts(counts, rewards)
    means = class_means(program, theta, rewards)
    return _sum_of_logs(counts, means) - means.sum() - gammaln(counts + 1.0).sum()


def _sum_of_logs(counts: jax.Array, values: jax.Array) -> jax.Array:
    """``sum_i c_i log v_i``; a class that was not counted adds 0 unless its value is NaN."""
    unneeded = (counts == 0) & ~jnp.isnan(values)
    return (counts * jnp.log(jnp.where(unneeded, 1.0, values))).sum()


def _by_class(program: Program, rewards: jax.Array) -> jax.Array:
    """Rewards of the transient vertices; ``float64[n_classes, n_transient]``."""
    rewards = jnp.asarray(rewards, dtype=jnp.float64)
    if rewards.ndim != 2:
        raise EvaluationError(
            "Rewards do not fit the graph",
            problem=f"expected shape (n_classes, {program.n_vertices}), got {rewards.shape}",
            context={"n_vertices": program.n_vertices},
            resolution="give one row of rewards for each class",
        )
    require_reward_per_vertex(rewards.shape[1:], program.n_vertices)
    return rewards[:, program.vertex]


def _counts(counts: jax.Array, rewards: jax.Array) -> jax.Array:
    """Counts as float64; those that are traced are NaN if one is illegal."""
    require_float64()
    shape, expected = np.shape(counts), np.shape(rewards)[:1]
    if shape != expected:
        raise _refused(f"expected one count per class, shape {expected}, got {shape}")
    if not isinstance(counts, jax.core.Tracer):
        legal = np.isfinite(counts) & (np.asarray(counts) >= 0)
        if not legal.all():
            index = int(np.argmin(legal))
            raise _refused(
                f"expected finite counts of at least 0, got {counts[index]} in class {index}"
            )
    counts = jnp.asarray(counts, dtype=jnp.float64)
    return jnp.where((jnp.isfinite(counts) & (counts >= 0)).all(), counts, jnp.nan)


def _refused(problem: str) -> EvaluationError:
    return EvaluationError(
        "Counts have no likelihood",
        problem=problem,
        resolution="give one count of at least 0 for each row of rewards; jax.vmap takes many "
        "vectors of counts",
    )
