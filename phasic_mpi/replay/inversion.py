"""Distributions by numerical inversion of Laplace transforms, at any stiffness.

The Fourier series of Abate and Whitt (1995), in the form of Choudhury, Lucantoni and Whitt (1994)
that keeps rounding small: with ``a = DAMPING / (2 l)`` and ``l = 2``,

    f(t) ~ exp(a) / (2 l t) [F(a / t) + 2 sum_(j=1..l) sum_k (-1)^k Re(e^(i pi j / l) F(s_jk / t))]

at ``s_jk = a + i pi (j / l + k)``. The series is off by less than ``exp(-DAMPING)`` times the
largest value of ``f``; Euler's summation makes it converge.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from math import comb
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from phasic_mpi.replay.linear import solve, solve_transposed
from phasic_mpi.replay.program import Program, exit_rates

DAMPING = 30.0
N_TERMS = 40

_ROUNDS = 2
_AVERAGED = 14
_AVERAGED_CHECK = 10
# Where two summations differ by more, neither is trusted.
_TRUSTED = 1e-8

OfTimes = Callable[[jax.Array], jax.Array]

# A rate that leaves no time for anything else to happen.
_INFINITY = 1e100


class _Nodes(NamedTuple):
    point: NDArray[np.complex128]
    weight: NDArray[np.complex128]  # [2, n_nodes]: of the sum, and of one to check it with


@cache
def _nodes(n_terms: int) -> _Nodes:
    """Points and weights at time 1."""
    n_rows = n_terms + _AVERAGED + 1
    row = np.arange(n_rows)
    first = DAMPING / (2 * _ROUNDS)
    shift = np.arange(1, _ROUNDS + 1)[:, np.newaxis] / _ROUNDS
    points = first + 1j * np.pi * (shift + row)
    signs = 2 * np.exp(1j * np.pi * shift) * (-1.0) ** row
    sums = []
    for averaged in (_AVERAGED, _AVERAGED_CHECK):
        share = np.array([comb(averaged, j) for j in range(averaged + 1)]) / 2.0**averaged
        euler = np.ones(n_rows)
        euler[n_terms:] = 0.0
        euler[n_terms : n_terms + averaged + 1] = np.cumsum(share[::-1])[::-1]
        sums.append(np.concatenate([[1.0], (signs * euler).ravel()]))
    scale = np.exp(first) / (2 * _ROUNDS)
    return _Nodes(np.concatenate([[first], points.ravel()]), scale * np.array(sums))


@dataclass(frozen=True)
class Transforms:
    """Laplace transforms of a program at one theta, in the time that rewards run up.

    Attributes:
        program: The program.
        start: ``float64[n_transient]``, initial distribution.
        weight: ``float64[n_weights]``, the edge weights.
        reward: ``float64[n_transient]``, not negative.
        n_terms: Terms of each series before the averaged ones.
    """

    program: Program
    start: jax.Array
    weight: jax.Array
    reward: jax.Array
    n_terms: int

    def atom(self) -> jax.Array:
        """Probability of the reward 0: that no position with reward is reached."""
        return 1.0 - self._mass()

    def density(self) -> OfTimes:
        """Density at times, ``float64[n_times]``; 0 at negative ones, NaN at 0.

        The product of what is left of the start after half the time with what the exits look like
        half the time before: a part of the law that is over by then is damped twice, and its
        rounding, which one inversion would divide by the time, does not reach the result.
        """

        def at(time: jax.Array) -> jax.Array:
            alive = self._inverse(self._occupation, time / 2)
            leaving = self._inverse(self._absorption, time / 2)
            return _trusted(time * (self.reward * alive * leaving).sum(axis=-1)) / time

        return lambda time: _at_positive(at, time, at_zero=jnp.nan, before=0.0)

    def distribution(self) -> OfTimes:
        """Distribution function at times, the atom at zero included."""

        def transform(s: jax.Array) -> jax.Array:
            return (1.0 - self.start.sum() + self.start @ self._absorption(s)) / s

        return self._scalar(transform, at_zero=self.atom(), before=0.0)

    def survival(self) -> OfTimes:
        """One minus the distribution function at times, without the subtraction."""

        def transform(s: jax.Array) -> jax.Array:
            return self.start @ self._solve(s, self.reward)

        return self._scalar(transform, at_zero=self._mass(), before=1.0)

    def state_probabilities(self) -> OfTimes:
        """Probability of each position at times, ``float64[n_times, n_transient]``."""

        def at(time: jax.Array) -> jax.Array:
            return _trusted(self._inverse(self._occupation, time))

        return lambda time: _at_positive(at, time, at_zero=self.start, before=0.0)

    def occupation(self) -> OfTimes:
        """Probability of each position at times, and time spent there up to then.

        ``float64[n_times, 2, n_transient]``; the time is inverted as a part of all of it.
        """

        def at(time: jax.Array) -> jax.Array:
            def transform(s: jax.Array) -> jax.Array:
                state = self._occupation(s)
                return jnp.stack([state, state / (s * time)])

            scale = jnp.stack([jnp.ones_like(time), time])
            return _trusted(self._inverse(transform, time)) * scale[:, jnp.newaxis]

        at_zero = jnp.stack([self.start, jnp.zeros_like(self.start)])
        return lambda time: _at_positive(at, time, at_zero=at_zero, before=0.0)

    def _scalar(
        self,
        transform: Callable[[jax.Array], jax.Array],
        *,
        at_zero: jax.Array,
        before: float,
    ) -> OfTimes:
        def at(time: jax.Array) -> jax.Array:
            return _trusted(self._inverse(transform, time))

        return lambda time: _at_positive(at, time, at_zero=at_zero, before=before)

    def _solve(self, s: jax.Array, rhs: jax.Array) -> jax.Array:
        solution: jax.Array
        (solution,) = solve(
            self.program, self.weight, rhs.astype(s.dtype)[jnp.newaxis], shift=s * self.reward
        )
        return solution

    def _absorption(self, s: jax.Array) -> jax.Array:
        """Transform of the density of the absorption that follows, from every position."""
        return self._solve(s, exit_rates(self.program, self.weight))

    def _occupation(self, s: jax.Array) -> jax.Array:
        """Transform of the probability of each position."""
        return solve_transposed(
            self.program, self.weight, self.start.astype(s.dtype), shift=s * self.reward
        )

    def _mass(self) -> jax.Array:
        """Probability that any reward runs up: that a position with reward is reached."""
        return self.start @ self._solve(jnp.float64(_INFINITY), _INFINITY * self.reward)

    def _inverse(self, transform: Callable[[jax.Array], jax.Array], time: jax.Array) -> jax.Array:
        """What has that transform at one positive time, by two summations; ``float64[2, ...]``."""
        nodes = _nodes(self.n_terms)
        values = jax.vmap(transform)(jnp.asarray(nodes.point) / time)
        return jnp.real(jnp.tensordot(jnp.asarray(nodes.weight), values, axes=1)) / time


def _at_positive(
    at: Callable[[jax.Array], jax.Array],
    time: jax.Array,
    *,
    at_zero: jax.Array | float,
    before: float,
) -> jax.Array:
    """Values at positive times, one after another: each is many solves."""
    value: jax.Array = jax.lax.map(at, jnp.where(time > 0, time, 1.0))
    time = time.reshape(time.shape + (1,) * (value.ndim - time.ndim))
    return jnp.where(time > 0, value, jnp.where(time < 0, before, at_zero))


def _trusted(value: jax.Array) -> jax.Array:
    """The first of two summations; NaN where they differ."""
    best, check = value
    return jnp.where(jnp.abs(best - check) <= _TRUSTED, best, jnp.nan)
