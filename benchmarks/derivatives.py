"""What derivatives cost beside values, and densities beside the matrix products they need.

    NPROC=1 taskset -c 0 python -m benchmarks.derivatives [--repeats 21] [name ...]

"gradient" is value and gradient of the mean in theta by the value alone, "curvature" a product of
its Hessian and a vector, also by the value. "density" is that at 100 times up to 2.5 means by
uniformisation, by as many products of a CSR matrix and a vector in scipy; "density gradient" is the
gradient in theta of its sum by the value. They take turns on one core; medians. Graphs without
parameters are left out.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table
from scipy import sparse

from benchmarks.replay import CASES
from phasic_mpi.replay import choose_method, load_program, moments, pdf
from phasic_mpi.replay.program import Program, edge_weights
from tests.recording import record_alone

N_TIMES = 100


def mean(theta: jax.Array, program: Program) -> jax.Array:
    return moments(program, theta, 1)[0]


def along(theta: jax.Array, program: Program) -> jax.Array:
    """The Hessian of the mean times a vector."""
    gradient = jax.grad(lambda theta: mean(theta, program))
    return jax.jvp(gradient, (theta,), (jnp.arange(1.0, theta.size + 1),))[1]


def products(program: Program, theta: jax.Array, n_products: int) -> Callable[[], np.ndarray]:
    """Products with the jump matrix and a diagonal, as uniformisation takes them."""
    n = program.n_transient
    source, target = np.asarray(program.source), np.asarray(program.target)
    inner = target < n
    weight = np.asarray(edge_weights(program, theta))
    rates = sparse.csr_matrix((weight[inner], (source[inner], target[inner])), shape=(n, n))
    total = np.bincount(source, weight, n)
    jumps = (sparse.diags(1 - total / total.max()) + rates / total.max()).tocsr()

    def call() -> np.ndarray:
        x = np.ones(n)
        for _ in range(n_products):
            x = jumps @ x
        return x

    return call


def in_turns(calls: list[Callable[[], object]], repeats: int) -> list[float]:
    """Median seconds of each call; the first turn warms up."""
    seconds: list[list[float]] = [[] for _ in calls]
    for _ in range(repeats + 1):
        for call, own in zip(calls, seconds, strict=True):
            begin = time.perf_counter()
            jax.block_until_ready(call())
            own.append(time.perf_counter() - begin)
    return [median(own[1:]) for own in seconds]


def measure(program: Program, theta: jax.Array, repeats: int) -> list[float]:
    """Seconds of a mean and the four ratios."""
    functions = (jax.jit(mean), jax.jit(jax.value_and_grad(mean)), jax.jit(along))
    value, gradient, curvature = in_turns(
        [lambda f=f: f(theta, program) for f in functions], repeats
    )
    times = jnp.linspace(0.0, 2.5, N_TIMES) * mean(theta, program)
    how = choose_method(program, theta, times, method="uniformisation")
    density = jax.jit(lambda theta, program: pdf(program, theta, times, **how._asdict()))
    slope = jax.jit(jax.grad(lambda theta, program: density(theta, program).sum()))
    plain, sums, derivative = in_turns(
        [
            products(program, theta, how.n_terms),
            lambda: density(theta, program),
            lambda: slope(theta, program),
        ],
        max(1, repeats // 4),
    )
    return [value, gradient / value, curvature / value, sums / plain, derivative / sums]


def main() -> None:
    cases = {name: case for name, case in (CASES[200] | CASES[2_000]).items() if case[1]}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", nargs="*", default=list(cases))
    parser.add_argument("--repeats", type=int, default=21)
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    table = Table("graph", "mean, us", "gradient", "curvature", "density", "density gradient")
    for name in options.name:
        build, theta = cases[name]
        row = measure(load_program(record_alone(build())), jnp.array(theta), options.repeats)
        table.add_row(name, f"{1e6 * row[0]:.0f}", *(f"{ratio:.2f}" for ratio in row[1:]))
    Console().print(table)


if __name__ == "__main__":
    main()
