"""The Beta coalescent, in which several lineages may find their common ancestor at once."""

from __future__ import annotations

from collections.abc import Iterator
from math import comb

import numpy as np
from numpy.typing import NDArray

from phasic_mpi.models.lineages import (
    n_partitions,
    spectrum_names,
    spectrum_rewards,
    take_some,
)
from phasic_mpi.models.model import Model, Parameter, Process, Reward
from phasic_mpi.models.settings import Integer, Number
from phasic_mpi.rule import Batch, Rule


def process(n: int, alpha: float, spectrum: int) -> Process:
    """States are lineages, from n to 1; or lineages by descendants if ``spectrum``.

    Of b lineages any k merge into one at rate ``B(k - alpha, b - k + alpha) / B(2 - alpha, alpha)``
    times ``coalescence``, B being Euler's beta function, so any two lineages have their common
    ancestor at rate ``coalescence``. As alpha goes to 2 that is Kingman's coalescent; at alpha 1 it
    is the one of Bolthausen and Sznitman.
    """
    parameters = (Parameter("coalescence", 1.0, "rate at which two lineages coalesce"),)
    if spectrum:
        return Process(
            initial=[n] + [0] * (n - 1),
            transitions=_merge_kinds(n, alpha),
            parameters=parameters,
            state_names=spectrum_names(n),
            rewards=spectrum_rewards(n),
        )
    return Process(
        initial=[n],
        transitions=_merge(alpha),
        parameters=parameters,
        state_names=("lineages",),
        rewards=(Reward("branch_length", lambda states: states[:, 0], "length of all branches"),),
    )


def _merge(alpha: float) -> Rule:
    def transitions(states: NDArray[np.int32]) -> Iterator[Batch]:
        for k, row, rate in merger_rates(states[:, 0], alpha):
            yield row, states[row] - np.int32(k - 1), rate[:, np.newaxis]

    return transitions


def _merge_kinds(n: int, alpha: float) -> Rule:
    binomial = np.array([[comb(b, k) for k in range(n + 1)] for b in range(n + 1)], dtype=float)
    # Rate at which k given lineages of b merge.
    rate_of = np.zeros((n + 1, n + 1))
    for k, b, rate in merger_rates(np.arange(n + 1), alpha):
        rate_of[b, k] = rate / binomial[b, k]
    descendants = np.arange(1, n + 1)

    def transitions(states: NDArray[np.int32]) -> Batch:
        row, taken = take_some(states)
        several = taken.sum(axis=1) > 1
        row, taken = row[several], taken[several]
        before = states[row]
        ways = binomial[before, taken].prod(axis=1)
        rate = ways * rate_of[before.sum(axis=1), taken.sum(axis=1)]
        target = before - taken
        target[np.arange(row.size), taken @ descendants - 1] += 1
        return row, target, rate[:, np.newaxis]

    return transitions


def merger_rates(
    lineages: NDArray[np.integer], alpha: float
) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.float64]]]:
    """Rates at which any k of b lineages merge, from k = 2 on.

    Yields k, the rows of ``lineages``, ``int[m]``, that have at least k, and their rates, which are
    ``C(b, k) B(k - alpha, b - k + alpha) / B(2 - alpha, alpha)``. Each follows from the one before,
    by factors that are positive: no digits cancel, and nothing overflows.
    """
    row = np.flatnonzero(lineages >= 2)
    b = lineages[row].astype(np.float64)
    # B(2 - alpha, b - 2 + alpha) / B(2 - alpha, alpha) is 1 for two lineages.
    fewer = np.arange(2.0, b.max(initial=2.0))
    of_pair = np.cumprod(np.concatenate([[1.0], (fewer - 2 + alpha) / fewer]))
    rate = b * (b - 1) / 2 * of_pair[b.astype(np.int64) - 2]
    k = 2
    while row.size:
        yield k, row, rate
        more = b > k
        row, b, rate = row[more], b[more], rate[more]
        rate = rate * ((b - k) / (k + 1)) * ((k - alpha) / (b - k - 1 + alpha))
        k += 1


def n_vertices(n: int, alpha: float, spectrum: int) -> int:  # noqa: ARG001
    """The start and one vertex per number of lineages, or per partition of the sample."""
    return 1 + (n_partitions(n) if spectrum else n)


MODEL = Model(
    name="beta-coalescent",
    summary="Coalescent with multiple mergers: time to the most recent common ancestor",
    settings=(
        Integer("n", 10, 2, "sample size"),
        Number("alpha", 1.5, 0.0, 2.0, "in 0..2; mergers are larger for less, of pairs towards 2"),
        Integer("spectrum", 0, 0, "1: lineages are counted by their descendants", 1),
    ),
    process=process,
    source="Schweinsberg (2003), Coalescent processes obtained from supercritical Galton-Watson "
    "processes, Stochastic Processes and their Applications 106; Birkner, Blath and Eldon (2013), "
    "Statistical properties of the site-frequency spectrum associated with Lambda-coalescents, "
    "Genetics 195",
    n_vertices=n_vertices,
)
