"""Two queues in a row with finite waiting rooms: the time until one overflows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from phasic_mpi.graph import PhaseTypeGraph
from phasic_mpi.models.model import Model, Setting


def build(capacity: int) -> PhaseTypeGraph:
    """States are customers per queue, both empty at first; an overflow is absorbed.

    Customers arrive at rate theta[0], move from the first queue to the second at rate theta[1] and
    leave the second at rate theta[2]. An arrival at a full first queue and a move to a full second
    one overflow.
    """
    size = capacity + 1
    states = np.stack(np.divmod(np.arange(size * size, dtype=np.int32), np.int32(size)), axis=1)
    first, second = states.T
    vertex = np.arange(1, size * size + 1, dtype=np.int32)
    overflow = size * size + 1

    def moved(
        possible: NDArray[np.bool_], step: int, fits: NDArray[np.bool_]
    ) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        return vertex[possible], np.where(fits, vertex + step, overflow)[possible]

    moves = [
        moved(first >= 0, size, first < capacity),
        moved(first > 0, 1 - size, second < capacity),
        moved(second > 0, -1, second > 0),
    ]
    parameter = np.repeat(np.arange(3), [source.size for source, _ in moves])
    return PhaseTypeGraph.from_arrays(
        n_vertices=size * size + 2,
        states=np.concatenate([[[0, 0]], states, [[0, 0]]]),
        param_source=np.concatenate([source for source, _ in moves]),
        param_target=np.concatenate([target for _, target in moves]),
        param_coefficient=np.eye(3)[parameter],
        start_target=[1],
        start_weight=[1.0],
    )


def n_vertices(capacity: int) -> int:
    """The start, the states and the overflow."""
    return (capacity + 1) ** 2 + 2


MODEL = Model(
    name="tandem-queue",
    summary="Two queues in a row with finite waiting rooms: time until one overflows",
    settings=(Setting("capacity", 20, 1, "places in each queue, the one in service included"),),
    parameters=("arrival", "service_1", "service_2"),
    theta=(0.9, 1.0, 1.0),
    source="Jackson (1957), Networks of waiting lines, Operations Research 5; overflow times as in "
    "Glasserman and Kou (1995), ACM Transactions on Modeling and Computer Simulation 5",
    n_vertices=n_vertices,
    build=build,
)
