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
from phasic_mpi.replay.edges import apply_edges, mixed_powers, mixtures, powers
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
        return lambda time: self._mixed(time, self._probability_of_jumps(time))

    def occupation(self) -> OfTimes:
        """Probability of each position at times, and time spent there up to then.

        ``float64[n_times, 2, n_transient]``. The integral of the probability of ``k`` jumps is that
        of more than ``k``, per rate.
        """

        def at(time: jax.Array) -> jax.Array:
            share = jnp.concatenate([self._probability_of_jumps(time), self._time_by_jumps(time)])
            twice = self._mixed(jnp.tile(time, 2), share)
            return jnp.moveaxis(twice.reshape(2, time.size, -1), 0, 1)

        return at

    def accumulation(
        self, time: jax.Array, vectors: jax.Array, steps: jax.Array, parents: tuple[int, ...]
    ) -> jax.Array:
        """Solutions of ``m_i' = m_i S + m_parents[i-1] diag(steps[i-1])``, and their integrals.

        The chain of the whole block-triangular system (van Loan 1978): a jump adds its share of the
        reward of a vertex to what the vertex holds.

        Args:
            time: ``float64[1]``.
            vectors: ``float64[1 + n_steps, n_transient]``, the solutions at time 0.
            steps: ``float64[n_steps, n_transient]``.
            parents: For each step the vector that it is taken from.

        Returns:
            ``float64[2, 1 + n_steps, n_transient]``.
        """

        def move(x: jax.Array) -> jax.Array:
            jumped = apply_edges(self.program, self.jump[jnp.newaxis], x, transposed=True)
            moved = self.stay * x + jumped
            return moved.at[1:].add(steps / self.rate * x[jnp.array(parents)])

        share = jnp.concatenate([self._probability_of_jumps(time), self._time_by_jumps(time)])
        return jnp.where(self._is_exact(time), mixed_powers(move, vectors, share), jnp.nan)

    def _probability_of_jumps(self, time: jax.Array) -> jax.Array:
        """Probability of ``k`` jumps by each time, ``float64[n_times, n_terms]``."""
        count = jnp.arange(self.n_terms, dtype=jnp.float64)
        return poisson.pmf(count, self._mean(time)[:, jnp.newaxis])

    def _time_by_jumps(self, time: jax.Array) -> jax.Array:
        """Time spent between jump ``k`` and the next up to each time, as the probabilities."""
        return poisson.exceedances(self.n_terms, self._mean(time)) / self.rate

    def _mixed(self, time: jax.Array, share: jax.Array) -> jax.Array:
        mixed = mixtures(self.program, self.jump, self.stay, self.start, share)
        return jnp.where(
            (time < 0)[:, jnp.newaxis],
            0.0,
            jnp.where(self._is_exact(time)[:, jnp.newaxis], mixed, jnp.nan),
        )

    def _terms(self, last: jax.Array) -> jax.Array:
        return powers(self.program, self.jump, self.stay, self.start, last, self.n_terms)

    def _mean(self, time: jax.Array) -> jax.Array:
        return jnp.where(time >= 0, self.rate * time, 0.0)

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
    # Where nothing ever happens, any rate will do.
    return jax.lax.stop_gradient(jnp.where(legal, jnp.where(rate > 0, rate, 1.0), jnp.nan))
