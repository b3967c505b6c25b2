"""What the models of epidemics share: individuals of several types who infect each other."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from phasic_mpi.models.model import Parameter
from phasic_mpi.models.settings import LARGEST, Integer, Matrix

SETTINGS = (
    Matrix("sizes", "10,10", "individuals of each type; one number for a single type"),
    Matrix("infected", "", "infected at first, of each type; one of the first type by default"),
    Matrix(
        "contact", "", "relative rates at which each type (row) is infected by each; 1 by default"
    ),
    Integer("separate", 0, 0, "1: a parameter for each type and pair of types", 1),
)

_INFECTION = Parameter(
    "infection", 1.5, "rate at which an infected infects others, times the entry of 'contact'"
)
_RECOVERY = Parameter("recovery", 1.0, "rate at which an infected recovers")


@dataclass(frozen=True, eq=False)
class Population:
    """Types of individuals, and the rates at which they infect each other and recover.

    With ``S_i`` susceptible and ``I_i`` infected of type i among N individuals in all, one of type
    i is infected at rate ``sum_j infection_ij S_i I_j / N``, and recovers at ``recovery_i I_i``.

    Attributes:
        sizes: ``int32[n_types]``.
        infected: ``int32[n_types]``, infected at first.
        parameters: Entries of theta.
        infection: ``float64[n_types**2, n_parameters]``, coefficients of ``infection_ij``, for each
            i the row of all j.
        recovery: ``float64[n_types, n_parameters]``, coefficients of ``recovery_i``.
    """

    sizes: NDArray[np.int32]
    infected: NDArray[np.int32]
    parameters: tuple[Parameter, ...]
    infection: NDArray[np.float64]
    recovery: NDArray[np.float64]

    @staticmethod
    def of(
        sizes: NDArray[np.float64],
        infected: NDArray[np.float64],
        contact: NDArray[np.float64],
        separate: int,
        *others: Parameter,
    ) -> Population:
        """The population of the settings; a model may have other parameters after these.

        Raises:
            ValueError: The settings do not fit together.
        """
        _require_sizes(sizes)
        n_types = sizes.size
        rates = _contact(contact, n_types)
        pairs = np.nonzero(rates)
        infections = _infections(pairs) if separate else [_INFECTION]
        recoveries = _recoveries(n_types) if separate else [_RECOVERY]
        parameters = (*infections, *recoveries, *others)
        unit = np.eye(len(parameters))
        infection = np.zeros((n_types, n_types, len(parameters)))
        infection[pairs] = rates[pairs][:, np.newaxis] * unit[: len(infections)]
        recovery = unit[len(infections) : len(infections) + len(recoveries)]
        return Population(
            sizes=sizes[0].astype(np.int32),
            infected=_first_infected(infected, sizes),
            parameters=parameters,
            infection=infection.reshape(n_types**2, len(parameters)),
            recovery=np.broadcast_to(recovery, (n_types, len(parameters))),
        )

    @property
    def n_types(self) -> int:
        """Number of types."""
        return self.sizes.size

    @property
    def total(self) -> int:
        """Number of individuals, N."""
        return int(self.sizes.sum())

    def infections(
        self, susceptible: NDArray[np.int32], infected: NDArray[np.int32]
    ) -> NDArray[np.float64]:
        """``S_i I_j / N`` for each i the row of all j, ``float64[m, n_types**2]``.

        Args:
            susceptible: ``int32[m, n_types]``.
            infected: ``int32[m, n_types]``.
        """
        pairs = susceptible[:, :, np.newaxis] * infected[:, np.newaxis, :].astype(np.float64)
        return pairs.reshape(len(pairs), -1) / self.total

    def names(self, word: str) -> tuple[str, ...]:
        """The word for each type, numbered unless there is only one."""
        if self.n_types == 1:
            return (word,)
        return tuple(f"{word}_{i}" for i in range(1, self.n_types + 1))


def n_states(counts: list[int]) -> int:
    """States of the whole from the numbers of states of each type."""
    # Larger numbers cannot be written down, and no graph is that large.
    return min(prod(counts), 10**300)


def _require_sizes(sizes: NDArray[np.float64]) -> None:
    if len(sizes) != 1 or not _are_counts(sizes) or not 1 <= sizes.sum() <= LARGEST:
        raise ValueError(f"sizes to be numbers of individuals, 1..{LARGEST} in all")


def _first_infected(infected: NDArray[np.float64], sizes: NDArray[np.float64]) -> NDArray[np.int32]:
    if not infected.size:
        infected = np.eye(1, sizes.size)
    if infected.shape != sizes.shape or not _are_counts(infected) or infected.sum() < 1:
        raise ValueError(f"infected to be {sizes.size} numbers of individuals, at least 1 in all")
    if (infected > sizes).any():
        raise ValueError("no more infected of a type than there are individuals")
    first: NDArray[np.int32] = infected[0].astype(np.int32)
    return first


def _contact(contact: NDArray[np.float64], n_types: int) -> NDArray[np.float64]:
    if not contact.size:
        return np.ones((n_types, n_types))
    if contact.shape != (n_types, n_types) or (contact < 0).any():
        raise ValueError(f"contact to be a matrix of {n_types} x {n_types} rates of at least 0")
    return contact


def _are_counts(numbers: NDArray[np.float64]) -> bool:
    return not ((numbers < 0).any() or (numbers % 1).any())


def _infections(pairs: tuple[NDArray[np.intp], ...]) -> list[Parameter]:
    return [
        Parameter(
            f"infection_{i}_{j}",
            _INFECTION.example,
            f"rate at which an infected of type {j} infects those of type {i}",
        )
        for i, j in (np.transpose(pairs) + 1).tolist()
    ]


def _recoveries(n_types: int) -> list[Parameter]:
    return [
        Parameter(
            f"recovery_{i}", _RECOVERY.example, f"rate at which an infected of type {i} recovers"
        )
        for i in range(1, n_types + 1)
    ]
