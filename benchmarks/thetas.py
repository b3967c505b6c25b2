"""Moments and gradients in JAX for many theta, ours beside phasic's, on graphs of 200 vertices.

    python -m benchmarks.thetas [--repeats 3] [name ...]

Both are functions of theta in the same process and take turns. "one" updates the weights and
computes the mean; "moments" are the first two under ``vmap``; "gradient" is that of the mean, which
phasic takes by central differences. Medians, without compilation. Needs
``requirements-peers.txt``.
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

from benchmarks.record import phasic_graph
from benchmarks.replay import CASES
from phasic_mpi.replay import load_program, moments
from tests.recording import record_alone

N_THETA = 1000
# Relative differences above are shown; benchmarks/accuracy.py says who is right.
AGREEMENT = 1e-9
NAMES = ("coal2_19", "coal3_9", "coal4_6", "tandem_13", "sis2_13")

Function = Callable[[jax.Array], jax.Array]


def ours(name: str) -> dict[str, Function]:
    build, _ = CASES[200][name]
    program = load_program(record_alone(build()))

    def of(n: int) -> Function:
        return lambda theta: moments(program, theta, n)

    return {
        "one": jax.jit(of(1)),
        "moments": jax.jit(jax.vmap(of(2))),
        "gradient": jax.jit(jax.grad(lambda theta: of(1)(theta)[0])),
    }


def phasics(name: str) -> dict[str, Function]:
    import phasic

    build, theta = CASES[200][name]
    graph = phasic_graph(build(), theta)
    # The wheel has no function of moments alone; the density at one early time costs little.
    both = phasic.Graph.pmf_and_moments_from_graph(graph, nr_moments=2)
    early = jnp.array([1e-3])

    def moments_of(theta: jax.Array) -> jax.Array:
        return both(theta, early)[1]

    def mean(theta: jax.Array) -> jax.Array:
        graph.update_weights(theta.tolist())
        return jnp.array([graph.expectation()])

    return {
        "one": mean,
        "moments": jax.vmap(moments_of),
        "gradient": jax.grad(lambda theta: moments_of(theta)[0]),
    }


def seconds(call: Callable[[], jax.Array]) -> float:
    n_calls, begin = 0, time.perf_counter()
    while n_calls == 0 or time.perf_counter() - begin < 0.05:
        call().block_until_ready()
        n_calls += 1
    return (time.perf_counter() - begin) / n_calls


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", nargs="*", default=NAMES)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    table = Table(
        *("graph", "", "phasic", "phasic_mpi", "ratio", "difference"),
        title=f"One theta, and {N_THETA} under vmap",
    )
    for name in options.name:
        tools = (phasics(name), ours(name))
        theta = jnp.array(CASES[200][name][1])
        scale = np.random.default_rng(1).uniform(0.5, 2.0, (N_THETA, theta.size))
        for quantity in ("one", "moments", "gradient"):
            at = theta * scale if quantity == "moments" else theta
            times: list[list[float]] = [[], []]
            results = [tool[quantity](at) for tool in tools]
            difference = float(jnp.max(jnp.abs(results[0] / results[1] - 1)))
            for _ in range(options.repeats):
                for tool, own in zip(tools, times, strict=True):
                    own.append(seconds(lambda f=tool[quantity]: f(at)))  # noqa: B023
            peer, mine = map(median, times)
            table.add_row(
                name,
                quantity,
                f"{1e3 * peer:.3g} ms",
                f"{1e3 * mine:.3g} ms",
                f"{peer / mine:.0f}",
                f"{difference:.0e}" if difference > AGREEMENT else "",
            )
    Console().print(table)


if __name__ == "__main__":
    main()
