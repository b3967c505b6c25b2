"""Rabbits on two islands that are flooded now and then: a model to teach with."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from phasic_mpi.models.model import Model, Parameter, Process, Reward, every, shifted
from phasic_mpi.models.settings import Integer
from phasic_mpi.rule import Batch


def process(n: int, independent: int) -> Process:
    """States are rabbits per island, all on the first one at first; it ends when none is left.

    A flood kills all rabbits on an island; an island without rabbits cannot change by it. As
    published, rabbits jump one after another: from an island with rabbits one jumps at rate
    ``jump``, however many there are. If ``independent``, each rabbit jumps at that rate.
    """

    def transitions(states: NDArray[np.int32]) -> Iterator[Batch]:
        jump, flood_1, flood_2 = np.eye(3)
        inhabited = states > 0
        jumping = states if independent else inhabited
        on_1, on_2 = np.eye(2, dtype=np.int32)
        yield every(states), shifted(states, -1, 1), np.outer(jumping[:, 0], jump)
        yield every(states), shifted(states, 1, -1), np.outer(jumping[:, 1], jump)
        yield every(states), states * on_2, np.outer(inhabited[:, 0], flood_1)
        yield every(states), states * on_1, np.outer(inhabited[:, 1], flood_2)

    return Process(
        initial=[n, 0],
        transitions=transitions,
        parameters=(
            Parameter("jump", 1.0, "rate of jumps from an island to the other"),
            Parameter("flood_1", 2.0, "rate of floods of the first island"),
            Parameter("flood_2", 4.0, "rate of floods of the second island"),
        ),
        state_names=("island_1", "island_2"),
        rewards=(Reward("rabbits", lambda states: states.sum(axis=1), "rabbits alive"),),
    )


def n_vertices(n: int, independent: int) -> int:  # noqa: ARG001
    """The start and the ways to have at most n rabbits on two islands."""
    return 1 + (n + 1) * (n + 2) // 2


MODEL = Model(
    name="rabbits",
    summary="Rabbits on two islands that are flooded now and then: time until none is left",
    settings=(
        Integer("n", 20, 1, "rabbits, all on the first island at first"),
        Integer("independent", 0, 0, "1: each rabbit jumps at rate 'jump', not one per island", 1),
    ),
    process=process,
    source="Roikjer, Hobolth and Munch (2022), Graph-based algorithms for phase-type "
    "distributions, Statistics and Computing 32",
    n_vertices=n_vertices,
)
