"""Exact simulation (Gillespie 1977): many paths walk side by side, one jump at a time."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from phasic_mpi.errors import EvaluationError
from phasic_mpi.replay.jumps import jump, jump_rows, start
from phasic_mpi.replay.program import Program, Theta, reward_by_position

_State = tuple[jax.Array, jax.Array, jax.Array]  # number of the jump, positions, rewards so far


class Paths(NamedTuple):
    """Sampled paths, one per row.

    Attributes:
        vertex: ``int32[n_samples, max_jumps + 1]``, graph vertex after each jump, -1 from
            absorption on.
        times: ``float64[n_samples, max_jumps + 1]``, time spent there, 0 from absorption on.
        n_jumps: ``int32[n_samples]``, jumps until absorption, the last one included. Of a path
            that has not been absorbed after ``max_jumps`` jumps it is -1, and the last of ``times``
            is NaN.
    """

    vertex: jax.Array
    times: jax.Array
    n_jumps: jax.Array


def sample_times(
    program: Program,
    theta: Theta,
    key: jax.Array,
    n_samples: int,
    rewards: jax.Array | None = None,
) -> jax.Array:
    """Samples of the reward accumulated until absorption, 0 for those that start absorbed.

    Runs as long as the longest path, each jump at the cost of ``n_samples`` random pairs. With one
    key, :func:`sample_paths` walks the same paths. Under ``jit`` and ``vmap``, over keys too;
    derivatives in theta are refused, because those of samples are not those of expectations.

    Args:
        program: See :func:`load_program`.
        theta: ``float64[n_parameters]``, or a mapping of the parameters' names to numbers.
        key: Key of ``jax.random``.
        n_samples: At least 1; static under ``jit``.
        rewards: ``float64[n_vertices]``, reward per unit of time; 1 everywhere (the time to
            absorption) if not given.

    Returns:
        ``float64[n_samples]``; NaN at a theta at which a weight is negative or not finite, a
        vertex cannot be left, or the initial probabilities are illegal.

    Raises:
        ConfigError: JAX computes in single precision.
        EvaluationError: Theta or rewards of another shape, ``n_samples`` below 1, or a derivative
            in theta.
    """
    _require_at_least("n_samples", n_samples, 1)
    reward = jnp.pad(reward_by_position(program, rewards), (0, 1))
    rows = jump_rows(program, theta)
    n = program.n_transient

    def walking(state: _State) -> jax.Array:
        return (state[1] < n).any()

    def step(state: _State) -> _State:
        index, position, total = state
        after, sojourn = jump(rows, position, jax.random.fold_in(key, index))
        return index + 1, after, total + reward[position] * sojourn

    begin = (jnp.uint32(1), start(rows, key, n_samples), jnp.zeros(n_samples))
    return rows.legal * jax.lax.while_loop(walking, step, begin)[2]


def sample_paths(
    program: Program, theta: Theta, key: jax.Array, n_samples: int, max_jumps: int
) -> Paths:
    """Samples of whole paths of at most ``max_jumps`` jumps; longer ones are marked.

    Args:
        program: See :func:`load_program`.
        theta: ``float64[n_parameters]``, or a mapping of the parameters' names to numbers.
        key: Key of ``jax.random``.
        n_samples: At least 1; static under ``jit``.
        max_jumps: At least 0; static under ``jit``.

    Returns:
        See :class:`Paths`. At a theta for which :func:`sample_times` returns NaN, vertices and
        jumps are -1 and times NaN.

    Raises:
        ConfigError: JAX computes in single precision.
        EvaluationError: As for :func:`sample_times`, or ``max_jumps`` below 0.
    """
    _require_at_least("n_samples", n_samples, 1)
    _require_at_least("max_jumps", max_jumps, 0)
    rows = jump_rows(program, theta)

    def step(
        position: jax.Array, index: jax.Array
    ) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        after, sojourn = jump(rows, position, jax.random.fold_in(key, index))
        return after, (position, sojourn)

    indices = jnp.arange(1, max_jumps + 2, dtype=jnp.uint32)
    _, (position, times) = jax.lax.scan(step, start(rows, key, n_samples), indices)
    transient = position < program.n_transient
    cut = transient[-1]
    vertex = jnp.append(program.vertex, -1)[position]
    n_jumps = jnp.where(cut | jnp.isnan(rows.legal), -1, transient.sum(axis=0, dtype=jnp.int32))
    times = rows.legal * times.at[-1].set(jnp.where(cut, jnp.nan, times[-1]))
    return Paths(vertex.T, times.T, n_jumps)


def _require_at_least(name: str, number: int, least: int) -> None:
    if number < least:
        raise EvaluationError(
            "Nothing can be sampled",
            problem=f"expected {name} of at least {least}, got {number}",
            resolution="ask for at least that many",
        )
