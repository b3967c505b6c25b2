"""Processes that follow one graph until a fixed time, then another, and so on until absorption.

Rates that change at fixed times, such as population sizes, and graphs that change, such as an
island model whose islands were one population before. The state at the end of an epoch, carried
over by a linear map, is the initial distribution of the next.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from phasic_mpi.evaluate import require_moments
from phasic_mpi.replay.distributions import Law
from phasic_mpi.replay.history import Epoch, carried, law_of, rewards_of, settled, start_of
from phasic_mpi.replay.integrals import time_spent
from phasic_mpi.replay.program import by_vertex
from phasic_mpi.replay.uniformisation import OfTimes

__all__ = [
    "Epoch",
    "cdf",
    "covariance",
    "expected_rewards",
    "expected_visits",
    "moments",
    "pdf",
    "survival",
]


def expected_visits(history: Sequence[Epoch]) -> list[jax.Array]:
    """Expected time spent in each vertex in each epoch; ``float64[n_vertices]`` of each.

    Args:
        history: The epochs, from the start on.

    Raises:
        ConfigError: See :func:`choose_method`; or JAX computes in single precision.
        EvaluationError: Durations, maps or theta that do not fit.
    """
    visits: list[jax.Array] = _visits(settled(history))
    return visits


def expected_rewards(history: Sequence[Epoch], rewards: Sequence[ArrayLike]) -> jax.Array:
    """Expected reward accumulated in each epoch; their sum over axis 0 is that until absorption.

    Args:
        history: The epochs, from the start on.
        rewards: ``float64[..., n_vertices]`` of each epoch, reward per unit of time; many rewards
            cost no more than one.

    Returns:
        ``float64[n_epochs, ...]``; NaN as in :func:`pdf` and :func:`expected_visits`.

    Raises:
        ConfigError: As in :func:`expected_visits`.
        EvaluationError: As in :func:`expected_visits`; or rewards that do not fit.
    """
    mean: jax.Array = _mean_rewards(settled(history), rewards_of(history, rewards))
    return mean


def moments(history: Sequence[Epoch], n_moments: int, rewards: Sequence[ArrayLike]) -> jax.Array:
    """Raw moments of the reward accumulated until absorption; ``float64[n_moments]``.

    ``E[Y^k] = k int E[Y(t)^(k-1) r(X(t))] dt``, and what stands under the integral follows from the
    block-triangular system ``m_k' = m_k S + k m_(k-1) R`` (van Loan 1978), uniformised.

    Args:
        history: The epochs, from the start on.
        n_moments: Highest moment, at least 1.
        rewards: ``float64[n_vertices]`` of each epoch, reward per unit of time.

    Raises:
        ConfigError: As in :func:`expected_visits`; or moments above the first by inversion.
        EvaluationError: As in :func:`expected_rewards`, or ``n_moments`` below 1.
    """
    require_moments(n_moments)
    per_epoch = rewards_of(history, rewards, 1)
    power = jnp.arange(1.0, n_moments)[:, jnp.newaxis]
    steps = tuple(power * reward for reward in per_epoch)
    chosen = settled(history, method="auto" if n_moments == 1 else "uniformisation")
    spent = time_spent(chosen, steps, tuple(range(n_moments - 1)))
    total = sum(own @ reward for own, reward in zip(spent, per_epoch, strict=True))
    return jnp.asarray(total) * jnp.arange(1.0, n_moments + 1)


def covariance(history: Sequence[Epoch], rewards: Sequence[ArrayLike]) -> jax.Array:
    """Covariance matrix of several rewards accumulated until absorption.

    The system of :func:`moments`, with one vector for each reward. Arguments and errors as there,
    ``rewards`` being ``float64[n_rewards, n_vertices]`` of each epoch.

    Returns:
        ``float64[n_rewards, n_rewards]``, symmetric.
    """
    per_epoch = rewards_of(history, rewards, 2)
    n_rewards = per_epoch[0].shape[0]
    spent = time_spent(settled(history, method="uniformisation"), per_epoch, (0,) * n_rewards)
    mixed = jnp.asarray(sum(own @ r.T for own, r in zip(spent, per_epoch, strict=True)))
    mean, second = mixed[0], mixed[1:]
    return second + second.T - jnp.outer(mean, mean)


def pdf(history: Sequence[Epoch], times: ArrayLike) -> jax.Array:
    """Density of the time to absorption; where an epoch begins, that from there on.

    What is absorbed by a map between epochs is an atom there, and not part of the density.
    Arguments and errors as in :func:`survival`.
    """
    return _at_times(_density, history, times)


def cdf(history: Sequence[Epoch], times: ArrayLike) -> jax.Array:
    """Distribution function of the time to absorption. Arguments as in :func:`survival`."""
    return _at_times(_distribution, history, times)


def survival(history: Sequence[Epoch], times: ArrayLike) -> jax.Array:
    """Probability that the time to absorption exceeds ``times``.

    Args:
        history: The epochs, from the start on; with ``times`` traced, also the last says how it is
            computed.
        times: ``float64[...]``, since the start.

    Returns:
        ``float64[...]``; NaN as in :func:`pdf`.

    Raises:
        ConfigError: As in :func:`expected_visits`.
        EvaluationError: As in :func:`expected_visits`.
    """
    return _at_times(_survival, history, times)


@jax.jit
def _visits(history: tuple[Epoch, ...]) -> list[jax.Array]:
    nothing = tuple(jnp.zeros((0, epoch.program.n_vertices)) for epoch in history)
    return [visits for (visits,) in time_spent(history, nothing, ())]


@jax.jit
def _mean_rewards(history: tuple[Epoch, ...], rewards: tuple[jax.Array, ...]) -> jax.Array:
    return jnp.stack([r @ v for r, v in zip(rewards, _visits(history), strict=True)])


def _at_times(
    quantity: Callable[[Law], OfTimes], history: Sequence[Epoch], times: ArrayLike
) -> jax.Array:
    time = jnp.asarray(times, dtype=jnp.float64)
    largest = times if isinstance(times, jax.core.Tracer) else np.max(times, initial=0.0)
    values: jax.Array = _values(settled(history, largest), time.ravel(), quantity=quantity)
    return values.reshape(time.shape)


@partial(jax.jit, static_argnames="quantity")
def _values(
    history: tuple[Epoch, ...], time: jax.Array, *, quantity: Callable[[Law], OfTimes]
) -> jax.Array:
    start = start_of(history)
    begin = jnp.zeros(1)
    value = jnp.zeros(time.shape)
    for number, epoch in enumerate(history):
        duration = jnp.atleast_1d(jnp.inf if epoch.duration is None else epoch.duration)
        begun = time >= begin if number else jnp.full(time.shape, True)
        # Where another epoch counts, at its beginning: derivatives are finite there.
        local = jnp.where(begun & (time < begin + duration), time - begin, 0.0)
        value = jnp.where(begun, quantity(law_of(epoch, start))(local), value)
        if epoch.duration is not None:
            (end,) = law_of(epoch, start).state_probabilities()(duration)
            start = carried(epoch, history[number + 1], by_vertex(epoch.program, end))
            begin = begin + duration
    return value


def _density(law: Law) -> OfTimes:
    return law.density()


def _distribution(law: Law) -> OfTimes:
    return law.distribution()


def _survival(law: Law) -> OfTimes:
    return law.survival()
