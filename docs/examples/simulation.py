"""Simulation of jump processes (Gillespie 1977) by numpy alone: its data owe nothing to a trace."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Rates = Callable[[NDArray[np.int64]], NDArray[np.float64]]
IsOver = Callable[[NDArray[np.int64]], NDArray[np.bool_]]


class Runs(NamedTuple):
    """Independent runs until the end.

    Attributes:
        times: ``float64[n_runs]``, when each was over.
        inspected: ``int64[n_inspections, n_dimensions]``, states that inspectors found.
    """

    times: NDArray[np.float64]
    inspected: NDArray[np.int64]


def simulate(
    rng: np.random.Generator,
    n_runs: int,
    start: ArrayLike,
    changes: ArrayLike,
    rates: Rates,
    is_over: IsOver,
    inspection_rate: float = 0.0,
) -> Runs:
    """Simulates runs of one process side by side.

    Args:
        rng: Source of randomness.
        n_runs: How many.
        start: ``int64[n_dimensions]``, state at time zero.
        changes: ``int64[n_events, n_dimensions]``, what each event adds to the state.
        rates: From ``int64[n_runs, n_dimensions]`` to ``float64[n_events, n_runs]``.
        is_over: From ``int64[n_runs, n_dimensions]`` to ``bool[n_runs]``.
        inspection_rate: At which inspectors come, who change nothing.
    """
    changes = np.asarray(changes)
    state = np.tile(start, (n_runs, 1))
    times = np.zeros(n_runs)
    going = np.arange(n_runs)
    inspected = []
    while going.size:
        upto = np.cumsum(rates(state[going]), axis=0)
        sojourn = rng.exponential(1 / upto[-1])
        times[going] += sojourn
        inspected.append(np.repeat(state[going], rng.poisson(inspection_rate * sojourn), axis=0))
        event = (upto <= rng.random(going.size) * upto[-1]).sum(axis=0)
        state[going] += changes[event]
        going = going[~is_over(state[going])]
    return Runs(times, np.concatenate(inspected))
