"""How distributions are computed: the choice between uniformisation and inversion."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from phasic_mpi import log
from phasic_mpi.errors import ConfigError, EvaluationError
from phasic_mpi.replay import inversion, poisson
from phasic_mpi.replay.program import (
    Program,
    Theta,
    edge_weights,
    reward_by_position,
    theta_array,
)
from phasic_mpi.replay.uniformisation import uniform_rate

METHODS = ("auto", "uniformisation", "inversion")

# Beyond so many terms, inversion takes less time.
_MOST_TERMS = 50_000


class Method(NamedTuple):
    """How a distribution is computed; ``pdf(..., **method._asdict())`` does it so.

    Attributes:
        method: ``"uniformisation"`` or ``"inversion"``.
        n_terms: Terms of each series.
    """

    method: str
    n_terms: int


def choose_method(
    program: Program,
    theta: Theta,
    largest_time: ArrayLike,
    *,
    rewards: jax.Array | None = None,
    method: str = "auto",
    n_terms: int | None = None,
) -> Method:
    """Settles how distributions up to a time are computed, and logs what ``"auto"`` comes to.

    Uniformisation adds up non-negative numbers only, so even tails have nearly all their digits; it
    takes one product with the edges for each jump of a chain at the largest rate, and rewards that
    are positive. Inversion takes equally long at any rate and allows rewards of 0; its error is
    absolute. ``"auto"`` is uniformisation where rewards allow it and 50,000 terms are enough.

    Args:
        program: See :func:`phasic_mpi.replay.load_program`.
        theta: ``float64[n_parameters]``, or rows of it: the method suits all of them. Or a mapping
            of the parameters' names to numbers, or to one array each.
        largest_time: Largest time, or reward, to be asked for.
        rewards: ``float64[n_vertices]``, reward per unit of time; 1 everywhere if not given.
        method: ``"auto"``, ``"uniformisation"`` or ``"inversion"``.
        n_terms: Terms of each series; as many as needed, or 40 of an inversion, if not given.

    Raises:
        ConfigError: An unknown method, no terms, or a choice that depends on a traced array.
        EvaluationError: Negative rewards, or some of 0 where uniformisation is named.
    """
    _require_known(method, n_terms)
    least = 1.0 if rewards is None else _least_reward(program, rewards)
    if least is not None:
        _require_rewards(method, least)
    by_inversion = Method("inversion", n_terms or inversion.N_TERMS)
    if method == "inversion":
        return by_inversion
    if method == "uniformisation" and n_terms is not None:
        return Method(method, n_terms)
    numbers = [*theta.values()] if isinstance(theta, Mapping) else [theta]
    traced = any(isinstance(array, jax.core.Tracer) for array in (*numbers, largest_time))
    if traced or least is None:
        raise ConfigError(
            "The distribution cannot be computed",
            problem="expected a method and its number of terms that do not depend on traced "
            f"arrays, got method={method!r} and n_terms={n_terms}",
            resolution="outside of jit, grad and vmap call choose_method(program, theta, "
            "largest_time), and pass its method and n_terms; method='inversion' needs no more",
        )
    logger = log.get_logger()
    if least == 0:
        logger.info("distribution by inversion: there are rewards of 0")
        return by_inversion
    needed = _n_terms(program, theta, rewards, largest_time)
    if method == "uniformisation" or needed <= _MOST_TERMS:
        logger.info("distribution by uniformisation with %d terms", needed)
        return Method("uniformisation", needed)
    logger.info("distribution by inversion: uniformisation would take %d terms", needed)
    return by_inversion


def _least_reward(program: Program, rewards: jax.Array) -> float | None:
    """Smallest reward of a transient vertex; None if that is traced."""
    reward = reward_by_position(program, rewards)
    return None if isinstance(reward, jax.core.Tracer) else float(reward.min())


def _n_terms(
    program: Program, theta: Theta, rewards: jax.Array | None, largest_time: ArrayLike
) -> int:
    rate = float(_largest_rate(program, theta_array(program, theta), rewards))
    mean = max(rate * float(np.max(largest_time)), 0.0)
    if not math.isfinite(mean):
        raise EvaluationError(
            "The distribution cannot be computed",
            problem=f"expected finite rates, times and rewards, got {mean} jumps",
            resolution="give parameters at which every edge has a finite rate of at least 0, and "
            "finite times",
        )
    needed = program.fewest_jumps + poisson.n_terms(mean)
    # Compiled functions are kept by their number of terms: a few sizes serve all.
    return math.ceil(math.exp2(math.ceil(8 * math.log2(needed)) / 8))


@jax.jit
def _largest_rate(program: Program, theta: jax.Array, rewards: jax.Array | None) -> jax.Array:
    """Of all rows of theta; compiled as one, reward and all, since compiling is what takes time."""
    reward = reward_by_position(program, rewards)
    rows = jnp.atleast_2d(theta)
    rates = jax.vmap(lambda row: uniform_rate(program, edge_weights(program, row), reward))(rows)
    return rates.max()


def _require_known(method: str, n_terms: int | None) -> None:
    if method not in METHODS:
        raise ConfigError(
            "The distribution cannot be computed",
            problem=f"expected a method of {', '.join(METHODS)}, got {method!r}",
            resolution="name one of them",
        )
    if n_terms is not None and n_terms < 1:
        raise ConfigError(
            "The distribution cannot be computed",
            problem=f"expected n_terms of at least 1, got {n_terms}",
            resolution="leave it out, or take it from choose_method",
        )


def _require_rewards(method: str, least: float) -> None:
    if least < 0 or (least == 0 and method == "uniformisation"):
        raise EvaluationError(
            "The distribution cannot be computed",
            problem=f"expected rewards {'of at least' if least < 0 else 'above'} 0, got {least}",
            context={"method": method},
            resolution="give rewards that are not negative"
            if least < 0
            else "use method='inversion'",
        )
