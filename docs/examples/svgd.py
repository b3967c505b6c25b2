"""The posterior by blackjax: Stein variational gradient descent, all particles side by side.

python docs/examples/svgd.py
"""

from __future__ import annotations

from functools import partial

import blackjax
import jax
import jax.numpy as jnp
import optax
from blackjax.vi.svgd import SVGDState, rbf_kernel, update_median_heuristic
from intervals import of_samples, report
from maximum_likelihood import fit
from processes import Data, Process, log_posterior, structured_coalescent, tandem_queue

from phasic_mpi import replay

N_PARTICLES = 12
N_STEPS = 32
RATE = 0.2


def sample(process: Process, key: jax.Array) -> jax.Array:
    """Particles of log theta; ``float64[n_particles, n_parameters]``.

    The kernel takes all directions alike, so particles move in coordinates in which the normal
    approximation at the maximum of the likelihood is a standard one. They start twice as wide.
    """
    best = fit(process)
    program, data = process.program, process.data
    root = jnp.linalg.cholesky(best.covariance)
    start = 2 * jax.random.normal(key, (N_PARTICLES, program.n_parameters))
    particles = _descend(start, root, best.log_theta, program, data, how=best.how)
    return best.log_theta + particles @ root.T


@partial(jax.jit, static_argnames="how")
def _descend(
    start: jax.Array,
    root: jax.Array,
    centre: jax.Array,
    program: replay.Program,
    data: Data,
    *,
    how: replay.Method,
) -> jax.Array:
    slope = jax.grad(lambda z: log_posterior(centre + root @ z, program, data, how))
    svgd = blackjax.svgd(slope, optax.adam(RATE), rbf_kernel, update_median_heuristic)

    def step(state: SVGDState, _: None) -> tuple[SVGDState, None]:
        return svgd.step(state), None

    state, _ = jax.lax.scan(step, svgd.init(start), length=N_STEPS)
    return state.particles


def main() -> None:
    results = []
    for process in (structured_coalescent(), tandem_queue()):
        particles = sample(process, jax.random.key(1))
        results.append(of_samples(process, particles))
    report("SVGD, 99 % credible intervals", results)


if __name__ == "__main__":
    main()
