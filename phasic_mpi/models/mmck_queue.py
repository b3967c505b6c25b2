"""A queue with several servers and a finite waiting room: the time until it overflows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from phasic_mpi.models.model import Model, Parameter, Process, Reward, moves
from phasic_mpi.models.settings import Integer
from phasic_mpi.rule import Batch

# An arrival and a service, each with its parameter.
_STEPS = np.array([[1], [-1]], dtype=np.int32)
_EACH = np.eye(2)


def process(servers: int, capacity: int) -> Process:
    """States are customers present, none at first.

    A customer leaves at rate ``service`` from each busy server. The process ends with the arrival
    that finds ``capacity`` customers: a queue with a customer too many is absorbing.
    """
    if capacity < servers:
        raise ValueError("a capacity of at least the number of servers")

    def busy(states: NDArray[np.int32]) -> NDArray[np.int32]:
        return np.minimum(states[:, 0], servers)

    def transitions(states: NDArray[np.int32]) -> Batch:
        rates = np.column_stack([np.ones(len(states)), busy(states)])
        return moves(states, _STEPS, rates, _EACH)

    return Process(
        initial=[0],
        transitions=transitions,
        parameters=(
            Parameter("arrival", 1.5, "rate of arrivals"),
            Parameter("service", 1.0, "rate at which a busy server finishes"),
        ),
        state_names=("customers",),
        absorbing=lambda states: states[:, 0] > capacity,
        rewards=(
            Reward("customers", lambda states: states[:, 0], "customers present"),
            Reward("busy_servers", busy, "servers at work"),
        ),
    )


def n_vertices(servers: int, capacity: int) -> int:  # noqa: ARG001
    """The start, 0 to ``capacity`` customers, and one too many."""
    return capacity + 3


MODEL = Model(
    name="mmck-queue",
    summary="M/M/c/K queue: time until an arrival finds the system full",
    settings=(
        Integer("servers", 2, 1, "number of servers, c"),
        Integer("capacity", 10, 1, "places, those at the servers included, K"),
    ),
    process=process,
    source="Karlin and McGregor (1958), Many server queueing processes with Poisson input and "
    "exponential service times, Pacific Journal of Mathematics 8",
    n_vertices=n_vertices,
)
