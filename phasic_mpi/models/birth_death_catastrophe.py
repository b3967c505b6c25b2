"""A population with births, deaths and catastrophes: the time until it is extinct."""

from __future__ import annotations

from collections.abc import Iterator
from math import lgamma

import numpy as np
from numpy.typing import NDArray

from phasic_mpi.models.model import Model, Parameter, Process, Reward, every, moves
from phasic_mpi.models.settings import Choice, Integer, Number
from phasic_mpi.rule import Batch

_STEPS = np.array([[1], [-1]], dtype=np.int32)
_BIRTH_AND_DEATH = np.eye(2, 3)
_CATASTROPHE = np.eye(3)[2]


def process(capacity: int, initial: int, rates: str, catastrophe: str, survival: float) -> Process:
    """States are individuals; a population of 0 is absorbing, and at ``capacity`` births stop.

    Catastrophes come at a constant rate. Nobody survives a total one; a binomial one is survived by
    each individual with probability ``survival``, whatever happens to the others.
    """
    if initial > capacity:
        raise ValueError("initial of at most the capacity")
    strike = _total if catastrophe == "total" else _Binomial(capacity, survival)

    def transitions(states: NDArray[np.int32]) -> Iterator[Batch]:
        n = states[:, 0]
        size = n.astype(np.float64) if rates == "linear" else np.ones(n.size)
        ups_and_downs = np.column_stack([size * (n < capacity), size])
        yield moves(states, _STEPS, ups_and_downs, _BIRTH_AND_DEATH)
        yield strike(states)

    return Process(
        initial=[initial],
        transitions=transitions,
        parameters=(
            Parameter("birth", 1.0, "rate of births, of each individual if rates are linear"),
            Parameter("death", 0.5, "rate of deaths, of each individual if rates are linear"),
            Parameter("catastrophe", 0.1, "rate of catastrophes"),
        ),
        state_names=("population",),
        absorbing=lambda states: states[:, 0] == 0,
        rewards=(Reward("population", lambda states: states[:, 0], "individuals alive"),),
    )


def _total(states: NDArray[np.int32]) -> Batch:
    return every(states), [0], np.tile(_CATASTROPHE, (len(states), 1))


class _Binomial:
    """Catastrophes that each individual survives with the same probability."""

    def __init__(self, capacity: int, survival: float) -> None:
        self._log_factorial = np.array([lgamma(k + 1) for k in range(capacity + 1)])
        self._log_survival, self._log_death = np.log(survival), np.log1p(-survival)

    def __call__(self, states: NDArray[np.int32]) -> Batch:
        """From each state to 0 survivors, 1 and so on; that all survive is no transition."""
        n_targets = states[:, 0].astype(np.int64)
        row = np.repeat(every(states), n_targets)
        first = np.cumsum(n_targets) - n_targets
        survivors = np.arange(row.size) - first[row]
        probability = np.exp(self._log_probability(n_targets[row], survivors))
        return row, survivors[:, np.newaxis], np.outer(probability, _CATASTROPHE)

    def _log_probability(
        self, n: NDArray[np.int64], survivors: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        dead = n - survivors
        ways = self._log_factorial[n] - self._log_factorial[survivors] - self._log_factorial[dead]
        probability: NDArray[np.float64] = (
            ways + survivors * self._log_survival + dead * self._log_death
        )
        return probability


def n_vertices(capacity: int, **_: object) -> int:
    """The start, and 0 to ``capacity`` individuals."""
    return capacity + 2


MODEL = Model(
    name="birth-death-catastrophe",
    summary="Birth and death with catastrophes: time until a population is extinct",
    settings=(
        Integer("capacity", 20, 1, "individuals at most: births beyond are lost"),
        Integer("initial", 1, 1, "individuals at first"),
        Choice(
            "rates",
            "linear",
            ("linear", "constant"),
            "rates of births and deaths: linear or constant",
        ),
        Choice(
            "catastrophe", "total", ("total", "binomial"), "total (nobody survives) or binomial"
        ),
        Number("survival", 0.5, 0, 1, "probability to survive a binomial catastrophe"),
    ),
    process=process,
    source="Brockwell (1985), The extinction time of a birth, death and catastrophe process and of "
    "a related diffusion model, Advances in Applied Probability 17",
    n_vertices=n_vertices,
)
