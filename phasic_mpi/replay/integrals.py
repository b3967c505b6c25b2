"""Integrals over time of state probabilities and rewards, across epochs."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from phasic_mpi.errors import ConfigError
from phasic_mpi.replay.history import Epoch, carried, law_of, method_of, start_of
from phasic_mpi.replay.linear import solve_transposed
from phasic_mpi.replay.program import by_vertex, edge_weights, reward_by_position
from phasic_mpi.replay.uniformisation import uniform_chain


@partial(jax.jit, static_argnames="parents")
def time_spent(
    history: tuple[Epoch, ...], steps: tuple[jax.Array, ...], parents: tuple[int, ...]
) -> list[jax.Array]:
    """Integrals over time of the state probabilities and of vectors that follow from them.

    Vector 0 holds the probabilities, ``m_0' = m_0 S``; the others rewards accumulated so far, by
    state: ``m_i' = m_i S + m_parents[i-1] diag(steps[i-1])``.

    Args:
        history: The epochs, with their methods.
        steps: ``float64[n_steps, n_vertices]`` of each epoch.
        parents: Vector that each step adds to the next one, one with a smaller number.

    Returns:
        ``float64[1 + n_steps, n_vertices]`` of each epoch.
    """
    vectors = jnp.pad(start_of(history)[jnp.newaxis], ((0, len(parents)), (0, 0)))
    spent = []
    for epoch, after, step in zip(history, history[1:], steps, strict=False):
        end, during = until_end(epoch, vectors, step, parents)
        spent.append(during)
        vectors = carried(epoch, after, end)
    return [*spent, _until_absorption(history[-1], vectors, steps[-1], parents)]


def until_end(
    epoch: Epoch, vectors: jax.Array, step: jax.Array, parents: tuple[int, ...]
) -> tuple[jax.Array, jax.Array]:
    """The vectors at the end of an epoch, and their integrals."""
    program, time = epoch.program, jnp.asarray(epoch.duration)[jnp.newaxis]
    if parents:
        _require_uniformisation(epoch)
        weight = edge_weights(program, epoch.theta)
        start, reward = vectors[:, program.vertex], step[:, program.vertex]
        one = reward_by_position(program, None)
        chain = uniform_chain(program, start[0], weight, one, method_of(epoch).n_terms)
        both = chain.accumulation(time, start, reward, parents)
    else:
        both = law_of(epoch, vectors[0]).occupation()(time)[0, :, jnp.newaxis]
    end, during = by_vertex(program, both * jnp.where(time >= 0, 1.0, jnp.nan))
    return end, during


def _require_uniformisation(epoch: Epoch) -> None:
    if method_of(epoch).method != "uniformisation":
        raise ConfigError(
            "Moments and covariances cannot be computed across epochs",
            problem=f"expected the method 'uniformisation', got {method_of(epoch).method!r}",
            resolution="choose it: choose_method(program, theta, duration, "
            "method='uniformisation')",
        )


def _until_absorption(
    epoch: Epoch, vectors: jax.Array, step: jax.Array, parents: tuple[int, ...]
) -> jax.Array:
    program = epoch.program
    weight = edge_weights(program, epoch.theta)
    start, reward = vectors[:, program.vertex], step[:, program.vertex]
    spent = jnp.zeros_like(start)
    for numbers in _generations(parents):
        before = [parents[i - 1] for i in numbers if i]
        add = spent[jnp.array(before)] * reward[numbers - 1] if before else 0.0
        solved = jax.vmap(partial(solve_transposed, program, weight))(start[numbers] + add)
        spent = spent.at[numbers].set(solved)
    return by_vertex(program, spent)


def _generations(parents: tuple[int, ...]) -> list[np.ndarray[Any, np.dtype[np.int64]]]:
    """Numbers of the vectors: the first, those that follow from it, those that follow from them."""
    depth = [0]
    for parent in parents:
        depth.append(depth[parent] + 1)
    return [np.flatnonzero(np.array(depth) == d) for d in range(max(depth) + 1)]
