"""Epochs: stretches of time in each of which a process follows one program."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from phasic_mpi.errors import EvaluationError
from phasic_mpi.replay.distributions import Law, law_at
from phasic_mpi.replay.method import Method, choose_method
from phasic_mpi.replay.program import (
    Program,
    by_vertex,
    initial_distribution,
    require_float64,
    reward_by_position,
    with_start,
)


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Epoch:
    """A stretch of time in which a process follows one program; a pytree.

    Attributes:
        program: See :func:`load_program`. The first epoch starts where its program does.
        theta: ``float64[n_parameters]``, or numbers by name.
        duration: ``float64[]``, at least 0; None for the last epoch, which lasts until absorption.
        onward: Where each vertex is carried at the end: ``int32[n_vertices]``, vertices of the next
            epoch's graph (an absorbing one ends the process); or ``float64[n_vertices,
            n_vertices of the next]``, probabilities, dense or in ``jax.experimental.sparse``; None
            if the vertices of the next epoch are the same. What an epoch absorbs has ended: a state
            that only waits for the next one needs an edge, whose rate may be 0 at theta.
        how: How the epoch is computed, see :func:`choose_method`; chosen where it is needed if
            None, which takes arrays that are not traced.
    """

    program: Program
    theta: Any
    duration: Any = None
    onward: Any = None
    how: Method | None = field(default=None, metadata={"static": True})


def settled(
    history: Sequence[Epoch], largest_time: Any = None, *, method: str = "auto"
) -> tuple[Epoch, ...]:
    """Checks epochs, and chooses how those that do not say it are computed.

    Args:
        history: The epochs, from the start on.
        largest_time: Largest time, since the start, that the last epoch is to be computed at; None
            if it is solved for and needs no method.
        method: See :func:`choose_method`.

    Raises:
        ConfigError: See :func:`choose_method`; or JAX computes in single precision.
        EvaluationError: Durations or maps that do not fit.
    """
    require_float64()
    _require_order(history)
    out, begin = [], 0.0
    for epoch, after in zip(history, [*history[1:], None], strict=True):
        if after is None:
            reach = None if largest_time is None else largest_time - begin
        else:
            _require_duration(epoch.duration)
            _require_map(epoch, after)
            reach, begin = epoch.duration, begin + epoch.duration
        if epoch.how is None and reach is not None:
            how = choose_method(epoch.program, epoch.theta, reach, method=method)
            epoch = replace(epoch, how=how)
        out.append(epoch)
    return tuple(out)


def start_of(history: Sequence[Epoch]) -> jax.Array:
    """Where the first epoch starts, ``float64[n_vertices]``."""
    program, theta = history[0].program, history[0].theta
    return by_vertex(program, initial_distribution(program, theta))


def law_of(epoch: Epoch, start: jax.Array) -> Law:
    """The law of the time to absorption in an epoch from ``start``, ``float64[n_vertices]``."""
    program = with_start(epoch.program, start)
    return law_at(program, epoch.theta, reward_by_position(program, None), method_of(epoch))


def method_of(epoch: Epoch) -> Method:
    """How a settled epoch is computed."""
    return cast(Method, epoch.how)


def carried(epoch: Epoch, after: Epoch, end: jax.Array) -> jax.Array:
    """What the vertices hold at the end of an epoch, by vertices of the next.

    Args:
        epoch: The epoch that ends.
        after: The next one.
        end: ``float64[..., n_vertices]``.
    """
    if epoch.onward is None:
        return end
    if epoch.onward.ndim == 2:
        moved: jax.Array = end @ epoch.onward
        return moved
    empty = jnp.zeros((*end.shape[:-1], after.program.n_vertices))
    return empty.at[..., epoch.onward].add(end)


def rewards_of(
    history: Sequence[Epoch], rewards: Sequence[ArrayLike], n_dimensions: int | None = None
) -> tuple[jax.Array, ...]:
    """Rewards of each epoch as arrays.

    Raises:
        EvaluationError: They do not fit the epochs, or have another number of dimensions.
    """
    arrays = [jnp.asarray(reward, dtype=jnp.float64) for reward in rewards]
    expected = [epoch.program.n_vertices for epoch in history]
    found = [array.shape for array in arrays]
    leading = found[0][:-1] if found else ()
    legal = found == [(*leading, n) for n in expected]
    if not legal or n_dimensions not in (None, len(leading) + 1):
        raise EvaluationError(
            "Rewards do not fit the epochs",
            problem=f"expected one array for each epoch, of as many rewards and of {expected} "
            f"vertices, got shapes {found}",
            resolution="give the rewards of every vertex in each epoch",
        )
    return tuple(arrays)


def _require_order(history: Sequence[Epoch]) -> None:
    lasting = [epoch.duration is None for epoch in history]
    if lasting != [False] * (len(history) - 1) + [True]:
        raise EvaluationError(
            "The epochs do not follow each other",
            problem="expected a duration of every epoch but the last, got durations of "
            f"{len(history) - sum(lasting)} of {len(history)}",
            resolution="give durations to all but the last epoch, which lasts until absorption",
        )


def _require_duration(duration: Any) -> None:
    """A traced one that is negative gives NaN instead."""
    if not isinstance(duration, jax.core.Tracer) and not 0 <= float(duration) < np.inf:
        raise EvaluationError(
            "An epoch cannot last so long",
            problem=f"expected a finite duration of at least 0, got {duration}",
            resolution="give the time between the beginning and the end of the epoch",
        )


def _require_map(epoch: Epoch, after: Epoch) -> None:
    here, there = epoch.program.n_vertices, after.program.n_vertices
    onward = epoch.onward
    shape = (here,) if onward is None else np.shape(onward)
    legal = here == there if onward is None else shape in ((here,), (here, there))
    if not legal:
        raise EvaluationError(
            "The vertices of an epoch cannot be carried to the next",
            problem=f"expected a map of shape ({here},) or ({here}, {there}), got "
            + ("none" if onward is None else f"shape {shape}"),
            resolution="give the next vertex of each vertex, or a matrix of probabilities",
        )
    if len(shape) == 1 and onward is not None and not isinstance(onward, jax.core.Tracer):
        outside = (np.asarray(onward) < 0) | (np.asarray(onward) >= there)
        if outside.any():
            vertex = int(np.argmax(outside))
            raise EvaluationError(
                "The vertices of an epoch cannot be carried to the next",
                problem=f"expected vertices in 0..{there - 1}, got {onward[vertex]} for vertex "
                f"{vertex}",
                resolution="carry a process that ends to an absorbing vertex",
            )
