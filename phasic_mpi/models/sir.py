"""An SIR epidemic: the time until an infection that leaves immunity behind dies out."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from phasic_mpi.models.epidemic import SETTINGS, Population, n_states
from phasic_mpi.models.model import Model, Parameter, Process, Reward, moves
from phasic_mpi.models.settings import Integer
from phasic_mpi.rule import Batch


def process(
    sizes: NDArray[np.float64],
    infected: NDArray[np.float64],
    contact: NDArray[np.float64],
    separate: int,
    waning: int,
) -> Process:
    """States are the susceptible of each type, then the infected of each; the others are immune.

    Rates are those of :class:`phasic_mpi.models.epidemic.Population`; if ``waning`` is 1 each of
    the immune becomes susceptible at rate ``waning`` (SIRS). With immunity for life, the expected
    number of individuals of a type who are ever infected, the first included, is ``recovery`` times
    the expected reward ``infected`` of that type.
    """
    others = (_WANING,) if waning else ()
    population = Population.of(sizes, infected, contact, separate, *others)
    n_types = population.n_types
    less, more = np.split(np.eye(2 * n_types, dtype=np.int32), 2)
    losing = np.eye(len(population.parameters))[[-1] * n_types]
    steps = np.concatenate([(more - less).repeat(n_types, axis=0), -more, less])
    coefficients = np.concatenate([population.infection, population.recovery, losing])
    # Those who lose immunity come last.
    n_steps = len(steps) if waning else len(steps) - n_types

    def transitions(states: NDArray[np.int32]) -> Batch:
        susceptible, infected = states[:, :n_types], states[:, n_types:]
        infections = population.infections(susceptible, infected)
        immune = population.sizes - susceptible - infected
        rates = np.hstack([infections, infected, immune])[:, :n_steps]
        return moves(states, steps[:n_steps], rates, coefficients[:n_steps])

    return Process(
        initial=np.concatenate([population.sizes - population.infected, population.infected]),
        transitions=transitions,
        parameters=population.parameters,
        state_names=(*population.names("susceptible"), *population.names("infected")),
        absorbing=lambda states: ~states[:, n_types:].any(axis=1),
        rewards=_rewards(population),
    )


_WANING = Parameter("waning", 0.1, "rate at which an immune becomes susceptible")


def _rewards(population: Population) -> tuple[Reward, ...]:
    """Susceptible and infected of all types, and infected of each if there are several."""
    n_types = population.n_types
    each = [
        Reward(name, partial(_column, column=n_types + i), f"infected of type {i + 1}")
        for i, name in enumerate(population.names("infected"))
    ]
    return (
        Reward(
            "susceptible",
            lambda states: states[:, :n_types].sum(axis=1),
            "susceptible of all types",
        ),
        Reward("infected", lambda states: states[:, n_types:].sum(axis=1), "infected of all types"),
        *(each if n_types > 1 else ()),
    )


def _column(states: NDArray[np.int32], column: int) -> NDArray[np.int32]:
    return states[:, column]


def n_vertices(
    sizes: NDArray[np.float64], infected: NDArray[np.float64], waning: int, **_: object
) -> int:
    """The start, and the susceptible and infected; at most, if some types do not infect others."""
    first = infected if infected.shape == sizes.shape else np.eye(1, sizes.size)
    # Of one type, s susceptible and 0 to size - s infected; s is at most that at first.
    fewer = np.zeros(sizes.size) if waning else first.ravel()
    counts = [
        _pairs(int(size) + 1) - _pairs(int(ill))
        for size, ill in zip(sizes.flat, fewer, strict=True)
    ]
    # When immunity wanes, all are reached but one: the last infected is immune when it ends.
    return n_states(counts) + (not waning)


def _pairs(n: int) -> int:
    return n * (n + 1) // 2


MODEL = Model(
    name="sir",
    summary="SIR or SIRS epidemic among several types: time until nobody is infected",
    settings=(
        *SETTINGS,
        Integer("waning", 0, 0, "1: immunity wanes, with a parameter for its rate (SIRS)", 1),
    ),
    process=process,
    source="Andersson and Britton (2000), Stochastic Epidemic Models and Their Statistical "
    "Analysis, chapters 2 and 6",
    n_vertices=n_vertices,
)
