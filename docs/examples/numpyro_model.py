"""The posterior by numpyro: a model with positive parameters, which numpyro transforms itself.

python docs/examples/numpyro_model.py
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from intervals import of_samples, report
from maximum_likelihood import fit
from numpyro.infer import MCMC, NUTS, init_to_value
from processes import Data, Process, log_likelihood, structured_coalescent, tandem_queue

from phasic_mpi import replay

N_WARMUP = 10
N_DRAWS = 150
# In standard deviations, because the mass matrix is that of the normal approximation.
STEP = 1.0


def model(program: replay.Program, data: Data, how: replay.Method) -> None:
    """Log-normal rates; what has been observed is a factor."""
    rates = dist.LogNormal().expand([program.n_parameters]).to_event(1)
    theta = numpyro.sample("theta", rates)
    numpyro.factor("data", log_likelihood(jnp.log(theta), program, data, how))


def sample(process: Process, key: jax.Array) -> jax.Array:
    """Draws of theta; ``float64[n_draws, n_parameters]``."""
    best = fit(process)
    kernel = NUTS(
        model,
        step_size=STEP,
        adapt_step_size=False,
        init_strategy=init_to_value(values={"theta": jnp.exp(best.log_theta)}),
        inverse_mass_matrix=jnp.asarray(best.covariance),
        dense_mass=True,
        adapt_mass_matrix=False,
    )
    mcmc = MCMC(kernel, num_warmup=N_WARMUP, num_samples=N_DRAWS, progress_bar=False)
    mcmc.run(key, process.program, process.data, best.how)
    return mcmc.get_samples()["theta"]


def main() -> None:
    results = []
    for process in (structured_coalescent(), tandem_queue()):
        theta = sample(process, jax.random.key(1))
        results.append(of_samples(process, jnp.log(theta)))
    report("numpyro, 99 % credible intervals", results)


if __name__ == "__main__":
    main()
