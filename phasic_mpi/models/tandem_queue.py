"""Queues in a row with finite waiting rooms: the time until one overflows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from phasic_mpi.models.model import Model, Parameter, Process, Reward, moves
from phasic_mpi.models.settings import Integer
from phasic_mpi.rule import Batch


def process(capacity: int, stations: int) -> Process:
    """States are customers per queue, all empty at first.

    A customer too many in any queue is an overflow, where the process ends: an arrival at a full
    first queue, or a move from a queue to a full next one.
    """
    steps, each = _steps(stations), np.eye(stations + 1)

    def transitions(states: NDArray[np.int32]) -> Batch:
        rates = np.ones((len(states), stations + 1))
        rates[:, 1:] = states > 0
        return moves(states, steps, rates, each)

    return Process(
        initial=[0] * stations,
        transitions=transitions,
        parameters=_parameters(stations),
        state_names=tuple(f"queue_{i}" for i in range(1, stations + 1)),
        absorbing=lambda states: states.max(axis=1) > capacity,
        rewards=(Reward("customers", lambda states: states.sum(axis=1), "customers present"),),
    )


def _steps(stations: int) -> NDArray[np.int32]:
    """What an arrival and a service at each station do to a state; ``[stations + 1, stations]``."""
    customer = np.eye(stations, dtype=np.int32)
    gone, come = np.zeros((2, stations + 1, stations), dtype=np.int32)
    gone[1:] = customer
    come[:-1] = customer
    return come - gone


def _parameters(stations: int) -> tuple[Parameter, ...]:
    services = [
        Parameter(f"service_{i}", 1.0, f"rate of moves from queue {i} to queue {i + 1}")
        for i in range(1, stations)
    ]
    return (
        Parameter("arrival", 0.9, "rate of arrivals at the first queue"),
        *services,
        Parameter(f"service_{stations}", 1.0, "rate of departures from the last queue"),
    )


def n_vertices(capacity: int, stations: int) -> int:
    """The start, the states, and those in which one queue has just overflowed."""
    # Beyond 32 queues there are more than 4e9, and numbers too large to write down.
    stations = min(stations, 32)
    n_levels = capacity + 1
    n_overflowing = n_levels ** (stations - 1)
    if stations > 1:
        # The queue that a customer has just left is not full.
        n_overflowing += (stations - 1) * capacity * n_levels ** (stations - 2)
    return int(1 + n_levels**stations + n_overflowing)


MODEL = Model(
    name="tandem-queue",
    summary="Queues in a row with finite waiting rooms: time until one overflows",
    settings=(
        Integer("capacity", 20, 1, "places in each queue, the one in service included"),
        Integer("stations", 2, 1, "number of queues"),
    ),
    process=process,
    source="Jackson (1957), Networks of waiting lines, Operations Research 5; overflow times as in "
    "Glasserman and Kou (1995), ACM Transactions on Modeling and Computer Simulation 5",
    n_vertices=n_vertices,
)
