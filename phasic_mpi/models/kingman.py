"""Kingman's coalescent: the number of lineages until the most recent common ancestor."""

from __future__ import annotations

import numpy as np

from phasic_mpi.graph import PhaseTypeGraph
from phasic_mpi.models.model import Model, Setting


def build(n: int) -> PhaseTypeGraph:
    """States ``[lineages]`` from ``n`` to 1; any pair coalesces at rate theta[0]."""
    lineages = np.arange(n, 0, -1, dtype=np.int32)
    vertex = np.arange(1, n + 1, dtype=np.int32)
    pairs = lineages[:-1] * (lineages[:-1] - 1.0) / 2
    return PhaseTypeGraph.from_arrays(
        n_vertices=n + 1,
        states=np.concatenate([[0], lineages])[:, np.newaxis],
        param_source=vertex[:-1],
        param_target=vertex[1:],
        param_coefficient=pairs[:, np.newaxis],
        start_target=[1],
        start_weight=[1.0],
    )


def n_vertices(n: int) -> int:
    """The start and one vertex per number of lineages."""
    return n + 1


MODEL = Model(
    name="kingman",
    summary="Kingman's coalescent: time to the most recent common ancestor of a sample",
    settings=(Setting("n", 10, 2, "sample size"),),
    parameters=("coalescence",),
    theta=(1.0,),
    source="Kingman (1982), The coalescent, Stochastic Processes and their Applications 13",
    n_vertices=n_vertices,
    build=build,
)
