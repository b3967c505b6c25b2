"""Maximum likelihood by scipy.optimize, with intervals from the curvature at the maximum.

python docs/examples/maximum_likelihood.py
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import numpy as np
from intervals import of_normal, report
from numpy.typing import NDArray
from processes import Data, Process, log_likelihood, structured_coalescent, tandem_queue
from scipy.optimize import minimize

from phasic_mpi import replay

# What is known of the rates beforehand.
LEAST, MOST = 0.05, 2.5
# Standard deviations that samplers get away from the maximum.
REACH = 4


class Fit(NamedTuple):
    """The maximum of a log-likelihood.

    Attributes:
        log_theta: ``float64[n_parameters]``, where it is.
        covariance: ``float64[n_parameters, n_parameters]``, inverse of the observed information.
        how: A method that suits theta up to ``REACH`` standard deviations above it.
    """

    log_theta: NDArray[np.float64]
    covariance: NDArray[np.float64]
    how: replay.Method


def fit(process: Process) -> Fit:
    """Finds the maximum from log theta = 0 on.

    Raises:
        RuntimeError: The optimiser did not converge.
    """
    program, data = process.program, process.data
    # Inside of jit the method cannot depend on theta: this one suits all within the bounds.
    highest = np.full(program.n_parameters, MOST)
    how = replay.choose_method(program, highest, data.times.max())
    found = minimize(
        lambda log_theta: derivatives(log_theta, program, data, how)[:2],
        np.zeros(program.n_parameters),
        jac=True,
        method="L-BFGS-B",
        bounds=[(np.log(LEAST), np.log(MOST))] * program.n_parameters,
    )
    if not found.success:
        raise RuntimeError(f"no maximum of the likelihood of {process.name}: {found.message}")
    covariance = np.linalg.inv(derivatives(found.x, program, data, how)[2])
    highest = np.exp(found.x + REACH * np.sqrt(np.diagonal(covariance)))
    return Fit(found.x, covariance, replay.choose_method(program, highest, data.times.max()))


@partial(jax.jit, static_argnames="how")
def derivatives(
    log_theta: jax.Array, program: replay.Program, data: Data, how: replay.Method
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Minus the log-likelihood, its gradient and its Hessian, in one forward pass.

    With many parameters ``jax.value_and_grad``, which goes backward, is faster.
    """

    def value(log_theta: jax.Array) -> tuple[jax.Array, jax.Array]:
        minus = -log_likelihood(log_theta, program, data, how)
        return minus, minus

    def slope(log_theta: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        gradient, minus = jax.jacfwd(value, has_aux=True)(log_theta)
        return gradient, (minus, gradient)

    hessian, (minus, gradient) = jax.jacfwd(slope, has_aux=True)(log_theta)
    return minus, gradient, hessian


def main() -> None:
    results = []
    for process in (structured_coalescent(), tandem_queue()):
        best = fit(process)
        results.append(of_normal(process, best.log_theta, best.covariance))
    report("Maximum likelihood, 99 % confidence intervals", results)


if __name__ == "__main__":
    main()
