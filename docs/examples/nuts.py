"""The posterior by blackjax: NUTS, two chains side by side.

python docs/examples/nuts.py
"""

from __future__ import annotations

from functools import partial

import blackjax
import jax
import jax.numpy as jnp
from blackjax.mcmc.hmc import HMCState
from intervals import of_samples, report
from maximum_likelihood import fit
from processes import Data, Process, log_posterior, structured_coalescent, tandem_queue

from phasic_mpi import replay

N_CHAINS = 2
N_DRAWS = 100
# In standard deviations, because the mass matrix is that of the normal approximation.
STEP = 1.0
MOST_REDUCTION = 1.1


def sample(process: Process, key: jax.Array) -> jax.Array:
    """Draws of log theta; ``float64[n_chains, n_draws, n_parameters]``.

    Chains start at draws from the normal approximation that the maximum of the likelihood gives,
    twice as wide; its covariance also scales the steps.

    Raises:
        RuntimeError: The chains have not mixed.
    """
    best = fit(process)
    for_starts, for_chains = jax.random.split(key)
    starts = jax.random.multivariate_normal(
        for_starts, jnp.asarray(best.log_theta), 4 * jnp.asarray(best.covariance), (N_CHAINS,)
    )
    keys = jax.random.split(for_chains, N_CHAINS)
    draws = _chains(starts, keys, best.covariance, process.program, process.data, how=best.how)
    reduction = blackjax.diagnostics.potential_scale_reduction(draws)
    if not (reduction < MOST_REDUCTION).all():
        raise RuntimeError(f"the chains of the {process.name} have not mixed: R = {reduction}")
    return draws


@partial(jax.jit, static_argnames="how")
def _chains(
    starts: jax.Array,
    keys: jax.Array,
    covariance: jax.Array,
    program: replay.Program,
    data: Data,
    *,
    how: replay.Method,
) -> jax.Array:
    nuts = blackjax.nuts(lambda x: log_posterior(x, program, data, how), STEP, covariance)

    def step(state: HMCState, key: jax.Array) -> tuple[HMCState, jax.Array]:
        state, _ = nuts.step(key, state)
        return state, state.position

    def chain(start: jax.Array, key: jax.Array) -> jax.Array:
        return jax.lax.scan(step, nuts.init(start), jax.random.split(key, N_DRAWS))[1]

    return jax.vmap(chain)(starts, keys)


def main() -> None:
    results = []
    for process in (structured_coalescent(), tandem_queue()):
        draws = sample(process, jax.random.key(1))
        results.append(of_samples(process, draws.reshape(-1, draws.shape[-1])))
    report("NUTS, 99 % credible intervals", results)


if __name__ == "__main__":
    main()
