"""An SIS epidemic: the time until an infection without immunity dies out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from phasic_mpi.models.epidemic import SETTINGS, Population, n_states
from phasic_mpi.models.model import Model, Process, Reward, moves
from phasic_mpi.rule import Batch


def process(
    sizes: NDArray[np.float64],
    infected: NDArray[np.float64],
    contact: NDArray[np.float64],
    separate: int,
) -> Process:
    """States are the infected of each type; who recovers is susceptible again.

    Rates are those of :class:`phasic_mpi.models.epidemic.Population`.
    """
    population = Population.of(sizes, infected, contact, separate)
    individual = np.eye(population.n_types, dtype=np.int32)
    steps = np.concatenate([individual.repeat(population.n_types, axis=0), -individual])
    coefficients = np.concatenate([population.infection, population.recovery])

    def transitions(states: NDArray[np.int32]) -> Batch:
        infections = population.infections(population.sizes - states, states)
        return moves(states, steps, np.hstack([infections, states]), coefficients)

    return Process(
        initial=population.infected,
        transitions=transitions,
        parameters=population.parameters,
        state_names=population.names("infected"),
        rewards=(
            Reward("infected", lambda states: states.sum(axis=1), "infected of all types"),
            Reward(
                "susceptible",
                lambda states: population.total - states.sum(axis=1),
                "susceptible of all types",
            ),
        ),
    )


def n_vertices(sizes: NDArray[np.float64], **_: object) -> int:
    """The start, and the numbers of infected; at most, if some types do not infect others."""
    return 1 + n_states([int(size) + 1 for size in sizes.flat])


MODEL = Model(
    name="sis",
    summary="SIS epidemic among several types: time until nobody is infected",
    settings=SETTINGS,
    process=process,
    source="Norden (1982), On the distribution of the time to extinction in the stochastic "
    "logistic population model, Advances in Applied Probability 14; types as in Andersson and "
    "Britton (2000), Stochastic Epidemic Models and Their Statistical Analysis",
    n_vertices=n_vertices,
)
