"""A request compiled for a fixed number of theta: one call of XLA for many rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from phasic_mpi.errors import EnvironmentMismatchError
from phasic_mpi.quantities import GRADIENT_SUFFIX, Request
from phasic_mpi.replay.distributions import cdf, pdf, quantile, quantile_bound, survival
from phasic_mpi.replay.inversion import N_TERMS
from phasic_mpi.replay.moments import correlation, covariance, moments
from phasic_mpi.replay.program import Program, edge_weights, reward_by_position
from phasic_mpi.replay.uniformisation import uniform_rate

# Rows whose numbers stay in the cache of a core are computed up to twice as fast.
_CACHE_BYTES = 8 << 20

_FUNCTIONS = {"pdf": pdf, "cdf": cdf, "survival": survival, "quantile": quantile}

# An inversion holds this many vectors of real numbers for each of its terms.
_VECTORS_PER_TERM = 16


@dataclass(frozen=True, eq=False)
class Batch:
    """A request at ``n_rows`` theta.

    Attributes:
        n_rows: Rows of theta in each call.
        nbytes: Bytes of one call: its rows, its results and all between, as XLA has planned them.
    """

    n_rows: int
    nbytes: int
    _call: Callable[..., dict[str, jax.Array]]
    _operands: tuple[Any, ...]

    def __call__(self, theta: NDArray[np.float64]) -> dict[str, jax.Array]:
        """Starts the computation for ``float64[n_rows, n_parameters]``; does not wait for it.

        Returns:
            ``float64[n_rows, *shape]`` for each of :func:`phasic_mpi.quantities.quantities`, by
            its name; NaN in rows at which the trace cannot be evaluated.
        """
        return self._call(theta, *self._operands)


def compile_batch(
    program: Program, request: Request, rewards: NDArray[np.float64] | None, n_rows: int
) -> Batch:
    """Compiles a request for ``n_rows`` theta.

    Args:
        program: See :func:`phasic_mpi.replay.load_program`.
        request: What to compute.
        rewards: ``float64[n_vertices]``, or ``float64[n_rewards, n_vertices]`` for several
            rewards; None for the time to absorption.
        n_rows: Rows of theta in each call.
    """
    points = {name: jnp.array(points) for name, points in request.points.items()}
    operands = (program, None if rewards is None else jnp.asarray(rewards), points)
    theta = jax.ShapeDtypeStruct((n_rows, program.n_parameters), jnp.float64)
    at_all = jax.vmap(partial(_answer, request), (0, None, None, None))
    call = jax.jit(at_all).lower(theta, *operands).compile()
    memory = call.memory_analysis()
    if memory is None:
        raise EnvironmentMismatchError(
            "The memory that a computation takes is not known",
            problem=f"expected XLA to state it, JAX {jax.__version__} does not",
            resolution="install another version of JAX",
        )
    nbytes = memory.temp_size_in_bytes + memory.output_size_in_bytes
    return Batch(n_rows, int(nbytes) + theta.size * 8, call, operands)


def rows_in_cache(program: Program, request: Request, n_rewards: int) -> int:
    """About as many theta as one call computes without leaving the cache of a core."""
    n_steps = max(1, request.n_moments) * n_rewards
    numbers = program.constant.size + 3 * program.n_transient * n_steps
    if request.points and request.method == "inversion":
        numbers += _VECTORS_PER_TERM * N_TERMS * program.n_transient
    if request.gradient:
        numbers *= 1 + program.n_parameters
    return max(1, _CACHE_BYTES // (8 * numbers))


class MostJumps(NamedTuple):
    """Where uniformisation takes most terms.

    Attributes:
        row: Row of theta; the first one at which the number of jumps is no number, if there is one.
        reward: ``float64[n_vertices]``, None for the time to absorption.
        time: Largest time, or reward, that is asked for there.
        jumps: Mean number of jumps until then.
    """

    row: int
    reward: jax.Array | None
    time: float
    jumps: float


def most_jumps(
    program: Program,
    request: Request,
    rewards: NDArray[np.float64] | None,
    theta: NDArray[np.float64],
) -> MostJumps:
    """Finds the theta and the reward that decide how functions are computed.

    Args:
        program: See :func:`phasic_mpi.replay.load_program`.
        request: What to compute, with points.
        rewards: As in :func:`compile_batch`.
        theta: ``float64[n_theta, n_parameters]``.
    """
    each: list[jax.Array | None] = [None]
    if rewards is not None:
        rows = np.atleast_2d(rewards)
        least = rows[:, program.vertex].min(axis=1)
        # What is not positive decides, whatever the number of jumps for other rewards.
        each = [jnp.asarray(row) for row in (rows if least.min() > 0 else rows[[least.argmin()]])]
    probability = max(request.points.get("quantile", (0.0,)))
    largest = max(request.times, default=0.0)

    def at(row: jax.Array, reward: jax.Array | None) -> tuple[jax.Array, jax.Array]:
        time = jnp.float64(largest)
        if probability > 0:
            time = jnp.maximum(time, quantile_bound(program, row, probability, rewards=reward))
        rate = uniform_rate(
            program, edge_weights(program, row), reward_by_position(program, reward)
        )
        return rate * time, time

    n_rows = min(len(theta), rows_in_cache(program, request, 1))
    found = []
    for reward in each:
        jumps, time = jax.lax.map(partial(at, reward=reward), jnp.asarray(theta), batch_size=n_rows)
        row = int(jnp.argmax(jumps))
        found.append(MostJumps(row, reward, float(time[row]), float(jumps[row])))
    return found[int(np.argmax([most.jumps for most in found]))]


def _answer(
    request: Request,
    theta: jax.Array,
    program: Program,
    rewards: jax.Array | None,
    points: dict[str, jax.Array],
) -> dict[str, jax.Array]:
    """All quantities at one theta, and their gradients if they are asked for."""

    def values(theta: jax.Array) -> tuple[dict[str, jax.Array], dict[str, jax.Array]]:
        found = _values(request, theta, program, rewards, points)
        return found, found

    if not request.gradient:
        return values(theta)[0]
    shapes, _ = jax.eval_shape(values, theta)
    n_values = sum(shape.size for shape in shapes.values())
    # Forward mode costs a solve per parameter, reverse mode one per value.
    mode = jax.jacfwd if program.n_parameters <= n_values else jax.jacrev
    gradient, found = mode(values, has_aux=True)(theta)
    answer: dict[str, jax.Array] = found | {
        f"{name}{GRADIENT_SUFFIX}": array for name, array in gradient.items()
    }
    return answer


def _values(
    request: Request,
    theta: jax.Array,
    program: Program,
    rewards: jax.Array | None,
    points: dict[str, jax.Array],
) -> dict[str, jax.Array]:
    def of_one(reward: jax.Array | None) -> dict[str, jax.Array]:
        found = {}
        if request.n_moments:
            found["moments"] = moments(program, theta, request.n_moments, reward)
        for name, at in points.items():
            found[name] = _FUNCTIONS[name](
                program, theta, at, rewards=reward, method=request.method, n_terms=request.n_terms
            )
        return found

    if rewards is None or rewards.ndim == 1:
        return of_one(rewards)
    found = jax.vmap(of_one)(rewards)
    if request.covariance:
        # What the two share, XLA computes once.
        found["covariance"] = covariance(program, theta, rewards)
        found["correlation"] = correlation(program, theta, rewards)
    return found
