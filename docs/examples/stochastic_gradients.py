"""Maximum likelihood by optax: Adam on minibatches of the observed times.

python docs/examples/stochastic_gradients.py
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from intervals import of_normal, report
from maximum_likelihood import MOST, derivatives
from processes import Data, Process, log_likelihood, structured_coalescent, tandem_queue

from phasic_mpi import replay

BATCH = 50
N_STEPS = 600
RATE = 0.05


def estimate(process: Process, how: replay.Method, key: jax.Array) -> jax.Array:
    """Average of log theta over the second half of the steps, which start at log theta = 0."""
    optimiser = optax.adam(optax.cosine_decay_schedule(RATE, N_STEPS))
    log_theta = jnp.zeros(process.program.n_parameters)
    carry = (log_theta, optimiser.init(log_theta))
    steps = _steps(carry, process.program, process.data, key, optimiser=optimiser, how=how)
    return steps[N_STEPS // 2 :].mean(axis=0)


@partial(jax.jit, static_argnames=("optimiser", "how"))
def _steps(
    carry: tuple[jax.Array, optax.OptState],
    program: replay.Program,
    data: Data,
    key: jax.Array,
    *,
    optimiser: optax.GradientTransformation,
    how: replay.Method,
) -> jax.Array:
    def step(carry: tuple, key: jax.Array) -> tuple[tuple, jax.Array]:
        log_theta, state = carry
        slope = jax.grad(_minus_per_time)(log_theta, program, data, key, how)
        update, state = optimiser.update(slope, state)
        log_theta = optax.apply_updates(log_theta, update)
        return (log_theta, state), log_theta

    return jax.lax.scan(step, carry, jax.random.split(key, N_STEPS))[1]


def _minus_per_time(
    log_theta: jax.Array, program: replay.Program, data: Data, key: jax.Array, how: replay.Method
) -> jax.Array:
    """Minus the log-likelihood, estimated from some of the times, over their number."""
    n_times = data.times.size
    batch = data._replace(times=jax.random.choice(key, data.times, (BATCH,)))
    return -log_likelihood(log_theta, program, batch, how, n_times / BATCH) / n_times


def main() -> None:
    results = []
    for process in (structured_coalescent(), tandem_queue()):
        highest = np.full(process.program.n_parameters, MOST)
        how = replay.choose_method(process.program, highest, process.data.times.max())
        log_theta = estimate(process, how, jax.random.key(1))
        information = derivatives(log_theta, process.program, process.data, how)[2]
        results.append(of_normal(process, log_theta, np.linalg.inv(information)))
    report("Stochastic gradients, 99 % confidence intervals", results)


if __name__ == "__main__":
    main()
