"""Two processes with known parameters, data simulated from them, and their log-likelihoods."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from simulation import simulate

import phasic_mpi
from phasic_mpi import replay

jax.config.update("jax_enable_x64", True)

N_TIMES = 300
N_INSPECTED = 4000
INSPECTION_RATE = 0.01


class Data(NamedTuple):
    """What has been observed.

    Attributes:
        times: ``float64[n_times]``, independent times to absorption.
        counts: ``float64[n_classes]``, events in each class, or None.
        rewards: ``float64[n_classes, n_vertices]``, rates at which they happen, or None.
    """

    times: jax.Array
    counts: jax.Array | None = None
    rewards: jax.Array | None = None


class Process(NamedTuple):
    """A process, the parameters that are to be found again, and data simulated with them."""

    name: str
    parameters: tuple[str, ...]
    truth: NDArray[np.float64]
    program: replay.Program
    data: Data


def structured_coalescent(seed: int = 1) -> Process:
    """Six lineages on two islands: times to the most recent common ancestor."""
    graph = phasic_mpi.build_model("structured-coalescent", n=6, islands=2)
    truth = coalescence, migration = np.array([1.0, 0.5])

    def rates(lineages: NDArray[np.int64]) -> NDArray[np.float64]:
        first, second = lineages.T
        pairs = first * (first - 1) / 2, second * (second - 1) / 2
        return np.stack(
            [*(coalescence * pair for pair in pairs), migration * first, migration * second]
        )

    changes = [(-1, 0), (0, -1), (-1, 1), (1, -1)]
    runs = simulate(
        np.random.default_rng(seed),
        N_TIMES,
        (6, 0),
        changes,
        rates,
        lambda lineages: lineages.sum(axis=1) == 1,
    )
    return Process(
        name="structured coalescent",
        parameters=("coalescence", "migration"),
        truth=truth,
        program=replay.load_program(phasic_mpi.record_trace(graph)),
        data=Data(jnp.asarray(runs.times)),
    )


def tandem_queue(seed: int = 1) -> Process:
    """Two queues in a row: times to overflow, and what inspectors found in other runs.

    Times alone hardly tell the two servers apart. Inspectors come at random moments, so rarely that
    few runs see two of them, and write down the state: every state is a class, which happens at
    rate 1 while the queues are in it.
    """
    capacity = 5
    graph = phasic_mpi.build_model("tandem-queue", capacity=capacity)
    truth = arrival, service_1, service_2 = np.array([1.0, 1.5, 0.8])

    def rates(customers: NDArray[np.int64]) -> NDArray[np.float64]:
        first, second = customers.T
        always = np.full(first.size, arrival)
        return np.stack([always, service_1 * (first > 0), service_2 * (second > 0)])

    queues = {
        "start": (0, 0),
        "changes": [(1, 0), (-1, 1), (0, -1)],
        "rates": rates,
        "is_over": lambda customers: (customers > capacity).any(axis=1),
    }
    rng = np.random.default_rng(seed)
    timed = simulate(rng, N_TIMES, **queues)
    others = simulate(rng, N_INSPECTED, **queues, inspection_rate=INSPECTION_RATE)
    # Vertices other than the first and the last are states.
    states = graph.states[1:-1]
    counts = (others.inspected[:, np.newaxis] == states).all(axis=-1).sum(axis=0)
    rewards = np.eye(graph.n_vertices)[1:-1]
    return Process(
        name="tandem queue",
        parameters=("arrival", "service 1", "service 2"),
        truth=truth,
        program=replay.load_program(phasic_mpi.record_trace(graph)),
        data=Data(jnp.asarray(timed.times), jnp.asarray(counts), jnp.asarray(rewards)),
    )


@partial(jax.jit, static_argnames="how")
def log_likelihood(
    log_theta: jax.Array,
    program: replay.Program,
    data: Data,
    how: replay.Method,
    weight: float = 1.0,
) -> jax.Array:
    """Log-likelihood of all data, in the logarithms of the rates: these have no limits.

    Args:
        log_theta: ``float64[n_parameters]``.
        program: Of the process.
        data: What has been observed.
        how: Suits all theta and times, see ``replay.choose_method``.
        weight: How many times each of ``data.times`` stands for.
    """
    theta = jnp.exp(log_theta)
    value = replay.log_likelihood_times(program, theta, data.times, **how._asdict())
    if data.counts is None:
        return weight * value
    of_counts = replay.log_likelihood_counts(program, theta, data.counts, data.rewards)
    return weight * value + of_counts


def log_posterior(
    log_theta: jax.Array, program: replay.Program, data: Data, how: replay.Method
) -> jax.Array:
    """Log-density of the posterior, up to a constant; every rate is log-normal beforehand."""
    return log_likelihood(log_theta, program, data, how) - (log_theta**2).sum() / 2
