"""Moments from a manifest, where every rank reads, factors and keeps its share of the blocks.

    start -> load -> read -> compute

Every rank has the graph; patterns and factors, which take many times as much, are divided. Layers
are solved one after the other, from absorption backwards, and what a rank has found in one goes to
all before the next. The numbers are those of :meth:`phasic_mpi.evaluate.Replay.moments`, bit for
bit, whatever the number of ranks and of their threads.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from phasic_mpi import comm as mpi
from phasic_mpi import config, manifest
from phasic_mpi.comm import Comm
from phasic_mpi.evaluate import Start, require_moments, sum_of_products
from phasic_mpi.graph import PhaseTypeGraph
from phasic_mpi.layers import Divider, Layer, deal, distinct_of, layers_of, positions_of
from phasic_mpi.manifest import Manifest
from phasic_mpi.pipeline import Hooks, Job
from phasic_mpi.report import EvaluationReport, peak_rss_bytes
from phasic_mpi.scc import Condensation, condense
from phasic_mpi.theta import describe_theta


class Asked(NamedTuple):
    """What to compute moments of.

    Attributes:
        theta: ``float64[n_theta, n_parameters]``.
        reward: ``float64[n_vertices]``, per unit of time.
    """

    theta: NDArray[np.float64]
    reward: NDArray[np.float64]


class _Step(NamedTuple):
    """One layer, as one rank sees it."""

    layer: Layer | None  # None if this rank holds nothing of it
    positions: NDArray[np.int64]  # of all ranks, one after another
    counts: NDArray[np.int32]  # of each rank


def moments(
    comm: Comm,
    path: Path,
    load: Callable[[PhaseTypeGraph], Asked],
    n_moments: int,
    *,
    hooks: Hooks | None = None,
) -> tuple[EvaluationReport, NDArray[np.float64]]:
    """Collective. Raw moments at every theta that ``load`` returns on rank 0.

    Args:
        comm: The ranks that take part.
        path: The manifest, and beside it a cache, that every rank can read.
        load: Called on rank 0 alone.
        n_moments: Highest moment, at least 1.
        hooks: See :class:`phasic_mpi.pipeline.Hooks`; it is not asked to stop.

    Returns:
        The report and ``float64[n_theta, n_moments]``, on every rank.

    Raises:
        StageError: A stage failed on at least one rank; equal on every rank.
        EnvironmentMismatchError: The ranks do not run the same code or settings.
    """
    job = Job(comm, hooks or Hooks(), EvaluationReport(n_ranks=comm.size))
    with mpi.ending_all(comm):
        with job.timed("start"):
            facts = {"manifest": str(path), "n_moments": str(n_moments)}
            mpi.require_same_code(comm, {**config.code_facts(), **facts})
            n_sharing = mpi.count_equal_here(comm, config.core_mask())
            with mpi.agree(comm, "start"):
                n_threads = config.threads_per_rank(n_sharing)
        with job.local("load"):
            require_moments(n_moments)
            made = manifest.load(path)
            condensation = condense(made.graph)
            asked = load(made.graph) if comm.rank == 0 else None
        arrays = mpi.share_arrays(comm, {} if asked is None else asked._asdict())
        asked = Asked(**arrays) if asked is None else asked
        with job.local("read"):
            steps = _steps(made, condensation, comm, n_threads)
        job.report.n_theta = len(asked.theta)
        with job.timed("compute"):
            out = _compute(job, made.graph, condensation, steps, asked, n_moments)
        job.report.peak_rss_bytes = mpi.collect(comm, peak_rss_bytes())
    return job.report, out


def _steps(made: Manifest, condensation: Condensation, comm: Comm, n_threads: int) -> list[_Step]:
    """The layers, with the blocks of this rank."""
    dealt = deal(condensation, layers_of(condensation), comm.size)
    own = [ranks[comm.rank] for ranks in dealt]
    traces = manifest.block_traces(made, distinct_of(condensation, own), n_threads=n_threads)
    divider = Divider(condensation)
    steps = []
    for ranks, blocks in zip(dealt, own, strict=True):
        positions = [positions_of(condensation, each) for each in ranks]
        counts = np.array([part.size for part in positions], dtype=np.int32)
        layer = None
        if blocks.size:
            layer = Layer(made.graph, divider, blocks, traces, n_threads=n_threads)
        steps.append(_Step(layer, np.concatenate(positions), counts))
    return steps


def _compute(
    job: Job[EvaluationReport],
    graph: PhaseTypeGraph,
    condensation: Condensation,
    steps: list[_Step],
    asked: Asked,
    n_moments: int,
) -> NDArray[np.float64]:
    """Collective. See :meth:`phasic_mpi.evaluate.Replay.moments` for the formula."""
    comm = job.comm
    start = Start(
        np.concatenate([graph.start_target, graph.start_param_target]),
        graph.start_weight,
        graph.start_param_coefficient,
    )
    reward = asked.reward[condensation.vertex]
    out = np.empty((len(asked.theta), n_moments))
    begin, cpu = time.perf_counter(), time.process_time()
    for row, theta in enumerate(asked.theta):
        with mpi.agree(comm, "factor"):
            place = {"row of theta": row, "theta": describe_theta(theta, graph.parameter_names)}
            alpha = start.by_position(condensation.position, theta, place)
            for step in steps:
                if step.layer is not None:
                    step.layer.factor(theta, row)
        solution = np.ones(reward.size)
        for power in range(1, n_moments + 1):
            solution = power * (reward * solution)
            _solve(comm, steps, solution)
            out[row, power - 1] = sum_of_products(alpha, solution)
        job.hooks.on_progress("compute", row + 1, len(asked.theta))
    job.report.compute_seconds = mpi.collect(comm, time.perf_counter() - begin)
    job.report.compute_cpu_seconds = mpi.collect(comm, time.process_time() - cpu)
    return out


def _solve(comm: Comm, steps: list[_Step], solution: NDArray[np.float64]) -> None:
    """Collective. Replaces a right-hand side by the solution, on every rank."""
    for step in steps:
        if step.layer is not None:
            step.layer.solve(solution)
        if comm.size > 1:
            begin = int(step.counts[: comm.rank].sum())
            own = step.positions[begin : begin + step.counts[comm.rank]]
            solution[step.positions] = mpi.share_all(comm, solution[own], step.counts)
