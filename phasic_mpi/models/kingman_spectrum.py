"""Kingman's coalescent with the number of descendants of each lineage: site frequency spectra."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from phasic_mpi.models.lineages import (
    merge_pairs,
    n_partitions,
    spectrum_names,
    spectrum_rewards,
)
from phasic_mpi.models.model import Model, Parameter, Process
from phasic_mpi.models.settings import Integer
from phasic_mpi.rule import Batch


def process(n: int) -> Process:
    """States are lineages by their descendants in the sample; one lineage of all n is absorbed.

    Mutations at rate mu per unit of branch length fall on ``branch_length_i`` where they are seen
    in i of n sequences: the expected spectrum is mu times the expected rewards.
    """
    return Process(
        initial=[n] + [0] * (n - 1),
        transitions=_coalesce,
        parameters=(
            Parameter("coalescence", 1.0, "rate at which each pair of lineages coalesces"),
        ),
        state_names=spectrum_names(n),
        rewards=spectrum_rewards(n),
    )


def _coalesce(states: NDArray[np.int32]) -> Batch:
    row, target, pairs = merge_pairs(states)
    return row, target, pairs[:, np.newaxis]


def n_vertices(n: int) -> int:
    """The start and the partitions of the sample."""
    return 1 + n_partitions(n)


MODEL = Model(
    name="kingman-spectrum",
    summary="Kingman's coalescent by numbers of descendants: site frequency spectra",
    settings=(Integer("n", 10, 2, "sample size"),),
    process=process,
    source="Kingman (1982), The coalescent, Stochastic Processes and their Applications 13; Fu "
    "(1995), Statistical properties of segregating sites, Theoretical Population Biology 48",
    n_vertices=n_vertices,
)
