"""Two queues in a row with finite waiting rooms: the time until one overflows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from phasic_mpi.models.model import Model, Parameter, Process, Reward, every, shifted
from phasic_mpi.models.settings import Integer
from phasic_mpi.rule import Batch


def process(capacity: int) -> Process:
    """States are customers per queue, both empty at first.

    A customer too many in either queue is an overflow, where the process ends: an arrival at a full
    first queue, or a move from the first to a full second one.
    """
    return Process(
        initial=[0, 0],
        transitions=_transitions,
        parameters=(
            Parameter("arrival", 0.9, "rate of arrivals at the first queue"),
            Parameter("service_1", 1.0, "rate of moves from the first queue to the second"),
            Parameter("service_2", 1.0, "rate of departures from the second queue"),
        ),
        state_names=("queue_1", "queue_2"),
        absorbing=lambda states: states.max(axis=1) > capacity,
        rewards=(Reward("customers", lambda states: states.sum(axis=1), "customers present"),),
    )


def _transitions(states: NDArray[np.int32]) -> Iterator[Batch]:
    arrival, service_1, service_2 = np.eye(3)
    busy = states > 0
    yield every(states), shifted(states, 1, 0), np.tile(arrival, (len(states), 1))
    yield every(states), shifted(states, -1, 1), np.outer(busy[:, 0], service_1)
    yield every(states), shifted(states, 0, -1), np.outer(busy[:, 1], service_2)


def n_vertices(capacity: int) -> int:
    """The start, the states, and those in which one queue has just overflowed."""
    return 1 + (capacity + 1) ** 2 + 2 * (capacity + 1) - 1


MODEL = Model(
    name="tandem-queue",
    summary="Two queues in a row with finite waiting rooms: time until one overflows",
    settings=(Integer("capacity", 20, 1, "places in each queue, the one in service included"),),
    process=process,
    source="Jackson (1957), Networks of waiting lines, Operations Research 5; overflow times as in "
    "Glasserman and Kou (1995), ACM Transactions on Modeling and Computer Simulation 5",
    n_vertices=n_vertices,
)
