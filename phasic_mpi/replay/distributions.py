"""Distributions of rewards accumulated until absorption."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from phasic_mpi.errors import EvaluationError
from phasic_mpi.replay.inversion import Transforms
from phasic_mpi.replay.method import Method, choose_method
from phasic_mpi.replay.moments import moments
from phasic_mpi.replay.program import (
    Program,
    Theta,
    edge_weights,
    initial_distribution,
    reward_by_position,
    theta_vector,
)
from phasic_mpi.replay.roots import increasing_root
from phasic_mpi.replay.uniformisation import OfTimes, uniform_chain

# Highest moment that bounds a quantile.
_MOMENTS = 8
# Quantiles are not sought below so small a part of that bound.
_SMALLEST = 1e-30


class Law(Protocol):
    """A distribution at one theta: functions of times, ``float64[n_times]``."""

    def atom(self) -> jax.Array: ...
    def density(self) -> OfTimes: ...
    def distribution(self) -> OfTimes: ...
    def survival(self) -> OfTimes: ...
    def state_probabilities(self) -> OfTimes: ...
    def occupation(self) -> OfTimes: ...


def pdf(
    program: Program,
    theta: Theta,
    times: ArrayLike,
    *,
    rewards: jax.Array | None = None,
    method: str = "auto",
    n_terms: int | None = None,
) -> jax.Array:
    """Density of the reward accumulated until absorption, without an atom at zero.

    Uniformisation (Jensen 1953) sums ``P(k jumps) alpha P^k m``; inversion sums the Fourier series
    of the Laplace transform (Abate and Whitt 1995), see :func:`choose_method`.

    Args:
        program: See :func:`load_program`.
        theta: ``float64[n_parameters]``, or a mapping of the parameters' names to numbers.
        times: ``float64[...]``, times since the start, or rewards if those are given.
        rewards: ``float64[n_vertices]``, reward per unit of time, positive with uniformisation and
            not negative with inversion; 1 everywhere (the time to absorption) if not given.
        method: ``"uniformisation"``, ``"inversion"`` or, outside of ``jit``, ``grad`` and ``vmap``,
            ``"auto"``.
        n_terms: Terms of each series, see :func:`choose_method`. Under ``jit``, ``grad`` and
            ``vmap`` uniformisation needs the number.

    Returns:
        ``float64[...]``, per unit of time or reward; 0 at negative times. NaN where a weight is
        negative or not finite, where the series does not converge within its terms, and at time 0
        by inversion.

    Raises:
        ConfigError: See :func:`choose_method`; or JAX computes in single precision.
        EvaluationError: Theta or rewards of another shape, or that do not suit the method.
    """
    return at_times(_density, program, theta, times, rewards, method, n_terms)


def cdf(
    program: Program,
    theta: Theta,
    times: ArrayLike,
    *,
    rewards: jax.Array | None = None,
    method: str = "auto",
    n_terms: int | None = None,
) -> jax.Array:
    """Probability that the reward accumulated until absorption is at most ``times``.

    Includes the atom at zero. Arguments, results and errors as in :func:`pdf`.
    """
    return at_times(_distribution, program, theta, times, rewards, method, n_terms)


def survival(
    program: Program,
    theta: Theta,
    times: ArrayLike,
    *,
    rewards: jax.Array | None = None,
    method: str = "auto",
    n_terms: int | None = None,
) -> jax.Array:
    """Probability that the reward accumulated until absorption exceeds ``times``.

    Computed without subtracting from one. Arguments, results and errors as in :func:`pdf`.
    """
    return at_times(_survival, program, theta, times, rewards, method, n_terms)


def hazard(
    program: Program,
    theta: Theta,
    times: ArrayLike,
    *,
    rewards: jax.Array | None = None,
    method: str = "auto",
    n_terms: int | None = None,
) -> jax.Array:
    """Hazard rate, the density over the survival. Arguments and errors as in :func:`pdf`."""
    return at_times(_hazard, program, theta, times, rewards, method, n_terms)


def quantile(
    program: Program,
    theta: Theta,
    probabilities: ArrayLike,
    *,
    rewards: jax.Array | None = None,
    method: str = "auto",
    n_terms: int | None = None,
) -> jax.Array:
    """Smallest reward (or time) that is exceeded with probability at most ``1 - probabilities``.

    Differentiable in theta and in the probabilities, by the implicit function theorem.

    Args:
        program: See :func:`load_program`.
        theta: ``float64[n_parameters]``, or a mapping of the parameters' names to numbers.
        probabilities: ``float64[...]``, from 0 to 1.
        rewards: As in :func:`pdf`.
        method: As in :func:`pdf`.
        n_terms: As in :func:`pdf`; the largest time is what :func:`quantile_bound` returns.

    Returns:
        ``float64[...]``; 0 at and below the atom at zero, infinity at 1; NaN as in :func:`pdf`.

    Raises:
        ConfigError: As in :func:`pdf`.
        EvaluationError: As in :func:`pdf`; or probabilities outside of 0 to 1.
    """
    probabilities = jnp.asarray(probabilities, dtype=jnp.float64)
    if not isinstance(probabilities, jax.core.Tracer):
        _require_probabilities(probabilities)
    reward = reward_by_position(program, rewards)
    largest = jnp.where(probabilities < 1, probabilities, 0.0).max(initial=0.0)
    bound = quantile_bound(program, theta, largest, rewards=rewards)
    choice = choose_method(program, theta, bound, rewards=rewards, method=method, n_terms=n_terms)
    vector = theta_vector(program, theta)
    flat: jax.Array = _quantile(
        program, vector, reward, probabilities.ravel(), bound, choice=choice
    )
    return flat.reshape(probabilities.shape)


def atom(
    program: Program,
    theta: Theta,
    *,
    rewards: jax.Array | None = None,
    method: str = "auto",
    n_terms: int | None = None,
) -> jax.Array:
    """Probability that no reward is accumulated at all; ``float64[]``.

    :func:`cdf` at 0, at the cost of one solve at most. Arguments and errors as in :func:`pdf`.
    """
    choice = choose_method(program, theta, 0.0, rewards=rewards, method=method, n_terms=n_terms)
    reward, vector = reward_by_position(program, rewards), theta_vector(program, theta)
    value: jax.Array = _atom(program, vector, reward, choice=choice)
    return value


def quantile_bound(
    program: Program,
    theta: Theta,
    probabilities: ArrayLike,
    *,
    rewards: jax.Array | None = None,
) -> jax.Array:
    """Upper bounds of quantiles, ``min_k (E[Y^k] / (1 - p))^(1 / k)``, by Markov's inequality.

    Arguments and errors as in :func:`quantile`, probabilities below 1.
    """
    raw = moments(program, theta, _MOMENTS, rewards)
    tail = 1.0 - jnp.asarray(probabilities, dtype=jnp.float64)
    power = jnp.arange(1.0, _MOMENTS + 1)
    return ((raw / tail[..., jnp.newaxis]) ** (1 / power)).min(axis=-1)


def at_times(
    quantity: Callable[[Law], OfTimes],
    program: Program,
    theta: Theta,
    times: ArrayLike,
    rewards: jax.Array | None,
    method: str,
    n_terms: int | None,
) -> jax.Array:
    """A quantity of the law at one theta; ``float64[*times.shape, ...]``.

    Arguments and errors as in :func:`pdf`.
    """
    time = jnp.asarray(times, dtype=jnp.float64)
    largest = times if isinstance(times, jax.core.Tracer) else np.max(times, initial=0.0)
    choice = choose_method(program, theta, largest, rewards=rewards, method=method, n_terms=n_terms)
    reward = reward_by_position(program, rewards)
    vector = theta_vector(program, theta)
    values: jax.Array = _values(
        program, vector, reward, time.ravel(), quantity=quantity, choice=choice
    )
    return values.reshape(time.shape + values.shape[1:])


@partial(jax.jit, static_argnames=("quantity", "choice"))
def _values(
    program: Program,
    theta: jax.Array,
    reward: jax.Array,
    time: jax.Array,
    *,
    quantity: Callable[[Law], OfTimes],
    choice: Method,
) -> jax.Array:
    return quantity(law_at(program, theta, reward, choice))(time)


@partial(jax.jit, static_argnames="choice")
def _atom(program: Program, theta: jax.Array, reward: jax.Array, *, choice: Method) -> jax.Array:
    return law_at(program, theta, reward, choice).atom()


def _density(law: Law) -> OfTimes:
    return law.density()


def _distribution(law: Law) -> OfTimes:
    return law.distribution()


def _survival(law: Law) -> OfTimes:
    return law.survival()


def _hazard(law: Law) -> OfTimes:
    density, left = law.density(), law.survival()
    return lambda time: density(time) / left(time)


def law_at(program: Program, theta: jax.Array, reward: jax.Array, choice: Method) -> Law:
    """The law of a reward by position, ``float64[n_transient]``, at one theta."""
    start = initial_distribution(program, theta)
    weight = edge_weights(program, theta)
    if choice.method == "inversion":
        return Transforms(program, start, weight, reward, choice.n_terms)
    return uniform_chain(program, start, weight, reward, choice.n_terms)


@partial(jax.jit, static_argnames="choice")
def _quantile(
    program: Program,
    theta: jax.Array,
    reward: jax.Array,
    probability: jax.Array,
    bound: jax.Array,
    *,
    choice: Method,
) -> jax.Array:
    law = law_at(program, theta, reward, choice)
    distribution, left = law.distribution(), law.survival()
    atom = law.atom()
    inside = (probability > atom) & (probability < 1)
    p = jnp.where(inside, probability, (1 + atom) / 2)

    def excess(time: jax.Array) -> jax.Array:
        # Each tail by itself: near 1 the difference to 1 has more digits than the number.
        return jnp.where(p < 0.5, distribution(time) - p, (1 - p) - left(time))

    upper = jnp.broadcast_to(jax.lax.stop_gradient(bound), p.shape)
    root = increasing_root(excess, law.density(), _SMALLEST * upper, upper)
    return jnp.where(inside, root, jnp.where(probability < 1, 0.0 * atom, jnp.inf))


def _require_probabilities(probabilities: jax.Array) -> None:
    legal = (probabilities >= 0) & (probabilities <= 1)
    if not bool(legal.all()):
        raise EvaluationError(
            "Quantiles cannot be computed",
            problem="expected probabilities from 0 to 1, got "
            f"{float(probabilities[~legal].ravel()[0])}",
            resolution="give probabilities from 0 to 1",
        )
