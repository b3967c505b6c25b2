"""Distributions as Poisson mixtures over the jumps of a uniform chain (Jensen 1953).

A chain that jumps at the constant rate ``rate``, with the matrix ``P = I + S / rate``, has the law
of the process with the sub-intensity matrix ``S``: after ``k`` jumps, whose number is Poisson,
everything is a sum of non-negative numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from phasic_mpi.replay import poisson
from phasic_mpi.replay.edges import apply_edges, powers
from phasic_mpi.replay.program import Program, exit_rates, rates_out

# Terms of a mixture whose Poisson probabilities are held at once: those of hundreds of times fit a
# cache, and little is padded.
_CHUNK = 64

OfTimes = Callable[[jax.Array], jax.Array]


@dataclass(frozen=True)
class UniformChain:
    """A program at one theta, uniformised in the time that rewards run up.

    Attributes:
        program: The program.
        start: ``float64[n_transient]``, initial distribution.
        rate: Jumps per unit of reward, ``float64[]``; NaN where there is no such chain.
        jump: ``float64[n_weights]``, probability of each edge.
        stay: ``float64[n_transient]``, probability of staying.
        absorb: ``float64[n_transient]``, probability of absorption.
        n_terms: Terms of each mixture.
    """

    program: Program
    start: jax.Array
    rate: jax.Array
    jump: jax.Array
    stay: jax.Array
    absorb: jax.Array
    n_terms: int

    def atom(self) -> jax.Array:
        """Probability of the time 0; NaN where there is no chain."""
        # Multiplied, so that derivatives are NaN as well.
        return (1.0 - self.start.sum()) * jnp.where(jnp.isnan(self.rate), jnp.nan, 1.0)

    def density(self) -> OfTimes:
        """Density at times, ``float64[n_times]``; 0 at negative ones."""
        terms = self._terms(self.absorb)
        return lambda time: self.rate * self._mixture(terms, time, before=0.0)

    def distribution(self) -> OfTimes:
        """Distribution function at times, the atom at zero included."""
        absorbed = jnp.cumsum(self._terms(self.absorb))
        terms = 1.0 - self.start.sum() + jnp.concatenate([jnp.zeros(1), absorbed[:-1]])
        return lambda time: self._mixture(terms, time, before=0.0)

    def survival(self) -> OfTimes:
        """One minus the distribution function at times, without the subtraction."""
        terms = self._terms(jnp.ones_like(self.stay))
        return lambda time: self._mixture(terms, time, before=1.0)

    def state_probabilities(self) -> OfTimes:
        """Probability of each position at times, ``float64[n_times, n_transient]``."""
        return self._states

    def _states(self, time: jax.Array) -> jax.Array:
        def jumped(
            carry: tuple[jax.Array, jax.Array], k: jax.Array
        ) -> tuple[tuple[jax.Array, jax.Array], None]:
            total, x = carry
            probability = poisson.pmf(k, self._mean(time))
            moved = self.stay * x + apply_edges(self.program, self.jump, x, transposed=True)
            return (total + probability[:, jnp.newaxis] * x, moved), None

        total = jnp.zeros((*time.shape, self.stay.size))
        terms = jnp.arange(self.n_terms, dtype=jnp.float64)
        (total, _), _ = jax.lax.scan(jumped, (total, self.start), terms)
        return jnp.where(
            (time < 0)[:, jnp.newaxis],
            0.0,
            jnp.where(self._is_exact(time)[:, jnp.newaxis], total, jnp.nan),
        )

    def _terms(self, last: jax.Array) -> jax.Array:
        return powers(self.program, self.jump, self.stay, self.start, last, self.n_terms)

    def _mean(self, time: jax.Array) -> jax.Array:
        return jnp.maximum(self.rate * time, 0.0)

    def _is_exact(self, time: jax.Array) -> jax.Array:
        return poisson.tail_bound(jnp.float64(self.n_terms), self._mean(time)) <= 2 * poisson.TAIL

    def _mixture(self, terms: jax.Array, time: jax.Array, *, before: float) -> jax.Array:
        """``sum_k P(k jumps by the time) terms_k``; NaN where that takes more terms."""
        n_chunks = -(-terms.size // _CHUNK)
        padded = jnp.zeros(n_chunks * _CHUNK).at[: terms.size].set(terms)
        count = jnp.arange(padded.size, dtype=jnp.float64)
        mean = self._mean(time)

        @jax.checkpoint
        def add(total: jax.Array, chunk: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
            number, term = chunk
            return total + poisson.pmf(number, mean[:, jnp.newaxis]) @ term, None

        chunks = (count.reshape(n_chunks, _CHUNK), padded.reshape(n_chunks, _CHUNK))
        total, _ = jax.lax.scan(add, jnp.zeros(time.shape), chunks)
        return jnp.where(time < 0, before, jnp.where(self._is_exact(time), total, jnp.nan))


def uniform_chain(
    program: Program, start: jax.Array, weight: jax.Array, reward: jax.Array, n_terms: int
) -> UniformChain:
    """Uniformises a program at the largest rate.

    Args:
        program: See :func:`phasic_mpi.replay.load_program`.
        start: ``float64[n_transient]``, initial distribution.
        weight: ``float64[n_weights]``, the edge weights.
        reward: ``float64[n_transient]``, positive.
        n_terms: Terms of each mixture; too few for a time give NaN there.
    """
    scaled = weight / reward[program.source]
    out = rates_out(program, scaled)
    rate = uniform_rate(program, weight, reward)
    return UniformChain(
        program=program,
        start=start,
        rate=rate,
        jump=scaled / rate,
        stay=(rate - out) / rate,
        absorb=exit_rates(program, scaled) / rate,
        n_terms=n_terms,
    )


def uniform_rate(program: Program, weight: jax.Array, reward: jax.Array) -> jax.Array:
    """Largest rate per unit of reward, ``float64[]``; NaN where there is no uniform chain.

    The law does not depend on the rate, so no derivative goes through it.
    """
    legal = jnp.all((weight >= 0) & jnp.isfinite(weight)) & jnp.all(reward > 0)
    rate = rates_out(program, weight / reward[program.source]).max()
    return jax.lax.stop_gradient(jnp.where(legal, rate, jnp.nan))
