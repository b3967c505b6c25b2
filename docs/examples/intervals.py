"""Intervals of the parameters of a process, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import ndtri
from jax.typing import ArrayLike
from processes import Process

from phasic_mpi.display import Table, print_tables

# Five parameters: all of their intervals hold the truth in 95 of 100 data sets, or more.
LEVEL = 0.99


class Intervals(NamedTuple):
    """Estimates of the parameters of a process, and intervals of the probability ``LEVEL``."""

    process: Process
    estimate: ArrayLike
    low: ArrayLike
    high: ArrayLike


def of_normal(process: Process, log_theta: ArrayLike, covariance: ArrayLike) -> Intervals:
    """Intervals of a normal distribution of the logarithms."""
    log_theta = jnp.asarray(log_theta)
    reach = ndtri((1 + LEVEL) / 2) * jnp.sqrt(jnp.diagonal(jnp.asarray(covariance)))
    return Intervals(
        process, jnp.exp(log_theta), jnp.exp(log_theta - reach), jnp.exp(log_theta + reach)
    )


def of_samples(process: Process, log_theta: jax.Array) -> Intervals:
    """Intervals of samples of the logarithms, one per row, by their mean and covariance.

    A few hundred samples tell these well, and quantiles near 0 and 1 badly.
    """
    return of_normal(process, log_theta.mean(axis=0), jnp.cov(log_theta, rowvar=False))


def report(title: str, results: Sequence[Intervals]) -> None:
    """Prints the intervals, and ends the program with an error if one misses the truth."""
    table = Table(title, "process", "parameter", "truth", "estimate", "from", "to")
    missed = []
    for process, *columns in results:
        for name, *numbers in zip(process.parameters, process.truth, *columns, strict=True):
            truth, _, low, high = numbers
            table.add(process.name, name, *(f"{number:.4f}" for number in numbers))
            if not low <= truth <= high:
                missed.append(f"{name} of the {process.name}")
    print_tables(table)
    if missed:
        raise SystemExit(f"outside of its interval: {', '.join(missed)}")
