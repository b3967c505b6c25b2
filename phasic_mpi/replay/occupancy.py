"""Where a process is at a time, and where it has spent the time up to then."""

from __future__ import annotations

from typing import NamedTuple

import jax
from numpy.typing import ArrayLike

from phasic_mpi.replay.distributions import Law, at_times
from phasic_mpi.replay.program import Program, Theta, by_vertex
from phasic_mpi.replay.uniformisation import OfTimes


class Occupation(NamedTuple):
    """The whereabouts of a process up to some times.

    Attributes:
        probabilities: ``float64[..., n_vertices]``, of being in each vertex at the times.
        spent: ``float64[..., n_vertices]``, expected time spent in each vertex up to then.
    """

    probabilities: jax.Array
    spent: jax.Array


def state_probabilities(
    program: Program,
    theta: Theta,
    times: ArrayLike,
    *,
    method: str = "auto",
    n_terms: int | None = None,
) -> jax.Array:
    """Probability of being in each vertex at ``times``; ``float64[..., n_vertices]``.

    The starting vertex and absorbing ones hold 0: what is missing to 1 has been absorbed.
    Arguments and errors as in :func:`pdf`.
    """
    states = at_times(_states, program, theta, times, None, method, n_terms)
    return by_vertex(program, states)


def expected_occupancy(
    program: Program,
    theta: Theta,
    times: ArrayLike,
    *,
    method: str = "auto",
    n_terms: int | None = None,
) -> jax.Array:
    """Expected time spent in each vertex up to ``times``; ``float64[..., n_vertices]``.

    The starting vertex and absorbing ones hold 0. Rewards accumulated up to a time are ``rewards
    @`` this, on average, and the limit at late times is :func:`expected_visits`. By
    uniformisation ``sum_k P(more than k jumps) alpha P^k / rate`` (Jensen 1953), a sum of
    non-negative numbers. Arguments and errors as in :func:`pdf`.
    """
    both = occupation(program, theta, times, method=method, n_terms=n_terms)
    return both.spent


def occupation(
    program: Program,
    theta: Theta,
    times: ArrayLike,
    *,
    method: str = "auto",
    n_terms: int | None = None,
) -> Occupation:
    """:func:`state_probabilities` and :func:`expected_occupancy` for the time of one of them.

    Arguments and errors as in :func:`pdf`.
    """
    both = at_times(_occupation, program, theta, times, None, method, n_terms)
    return Occupation(*(by_vertex(program, both[..., i, :]) for i in range(2)))


def _states(law: Law) -> OfTimes:
    return law.state_probabilities()


def _occupation(law: Law) -> OfTimes:
    return law.occupation()
