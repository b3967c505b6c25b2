"""The run: the order of the stages, and the agreement between ranks after each.

    load -> split -> plan -> send -> record -> keep -> gather -> stitch -> write -> evaluate

Every rank executes this module from top to bottom. Local work goes inside ``agree``; calls that are
collective stand outside it, in the same order on every rank.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phasic_mpi import assign, config, payload, trace_io
from phasic_mpi import comm as mpi
from phasic_mpi.assign import Assignment
from phasic_mpi.comm import Comm
from phasic_mpi.errors import RecordingCancelledError, RunStoppedError, StageError
from phasic_mpi.evaluate import moments
from phasic_mpi.graph import PhaseTypeGraph
from phasic_mpi.graph_io import load_graph
from phasic_mpi.log import get_logger
from phasic_mpi.record import Recorder
from phasic_mpi.report import RunReport, peak_rss_bytes
from phasic_mpi.scc import Condensation, SccBlock, condense
from phasic_mpi.stitch import stitch
from phasic_mpi.store import SegmentWriter, TraceStore
from phasic_mpi.trace import BlockTrace, EliminationTrace

# Blocks are recorded, and handed to the cache, in batches of about this much estimated work: small
# enough to lose little when a rank is killed, large enough for JAX to spread.
BATCH_SECONDS = 1.0


@dataclass(frozen=True)
class Settings:
    """How to record; equal on every rank.

    Attributes:
        strategy: ``auto``, ``sequential``, ``vmap`` or ``pmap``.
        min_size: Blocks of fewer vertices share work units.
        cache_dir: Directory of the traces kept between runs, None for the user's default.
        n_devices: CPU devices that JAX shows in each rank, None for as many as it has.
        round_bytes: Bytes that one scatter or gather round may move in total.
    """

    strategy: str = "auto"
    min_size: int = assign.MIN_SIZE
    cache_dir: Path | None = None
    n_devices: int | None = None
    round_bytes: int = assign.ROUND_BYTES


@dataclass(frozen=True)
class Hooks:
    """What the caller wants to hear and to say while a run goes on.

    Attributes:
        on_progress: Called on every rank with the stage, units done and units in all.
        stop_requested: Asked while recording; True commits what is recorded and ends the run.
    """

    on_progress: Callable[[str, int, int], None] = lambda stage, done, total: None
    stop_requested: Callable[[], bool] = lambda: False


@dataclass(frozen=True)
class RunResult:
    """Outcome of a run.

    Attributes:
        report: Counts, bytes and seconds; complete on rank 0.
        trace: The trace on rank 0, None elsewhere.
        moments: ``float64[n_theta, n_moments]`` on rank 0 if theta was given, else None.
    """

    report: RunReport
    trace: EliminationTrace | None
    moments: NDArray[np.float64] | None = None


def run(
    comm: Comm,
    load: Callable[[], PhaseTypeGraph],
    settings: Settings,
    *,
    output: Path | None = None,
    theta: NDArray[np.float64] | None = None,
    n_moments: int = 1,
    hooks: Hooks = Hooks(),
) -> RunResult:
    """Collective. Records the elimination trace of the graph that ``load`` returns on rank 0.

    Args:
        comm: The ranks that take part.
        load: Called on rank 0 alone.
        settings: Equal on every rank.
        output: Trace file to write, on rank 0.
        theta: ``float64[n_theta, n_parameters]`` at which to compute moments, on rank 0.
        n_moments: Highest moment.
        hooks: See :class:`Hooks`.

    Raises:
        StageError: A stage failed on at least one rank; equal on every rank.
        RunStoppedError: ``hooks.stop_requested`` answered True; equal on every rank.
        EnvironmentMismatchError: The ranks do not run the same code or settings.
    """
    report = RunReport(n_ranks=comm.size)
    with report.stage("start"):
        mpi.require_same_code(comm, {**config.code_facts(), "settings": str(settings)})
        with mpi.agree(comm, "start"):
            recorder = Recorder(
                strategy=settings.strategy,
                n_threads=config.threads_per_rank(comm.local_size),
                n_devices=settings.n_devices,
            )
            store = _open_store(comm, settings)
    with report.stage("load"), mpi.agree(comm, "load"):
        graph = load() if comm.rank == 0 else None
    trace = _record(comm, graph, settings, store, recorder, report, hooks)
    with report.stage("write"), mpi.agree(comm, "write"):
        if trace is not None and output is not None:
            report.file_bytes = trace_io.save_trace(trace, output)
    values = None
    with report.stage("evaluate"), mpi.agree(comm, "evaluate"):
        if trace is not None and theta is not None:
            values = moments(trace, theta, n_moments)
    report.peak_rss_bytes = mpi.collect(comm, peak_rss_bytes())
    return RunResult(report, trace, values)


def record_trace(
    graph: PhaseTypeGraph | None,
    *,
    comm: Any = None,
    strategy: str = "auto",
    min_size: int = assign.MIN_SIZE,
    cache_dir: Path | str | None = None,
    n_devices: int | None = None,
    round_bytes: int = assign.ROUND_BYTES,
) -> EliminationTrace:
    """Collective. Records the elimination trace of a graph: ``run`` for scripts.

    Works alone and under ``mpirun``; every rank calls it and every rank gets the trace.

    Args:
        graph: The graph; read on rank 0 alone, other ranks may pass None.
        comm: An mpi4py communicator, None for all ranks.
        strategy: ``auto``, ``sequential``, ``vmap`` or ``pmap``.
        min_size: Blocks of fewer vertices share work units.
        cache_dir: Directory of the traces kept between runs, None for the user's default.
        n_devices: CPU devices that JAX shows in each rank, None for as many as it has.
        round_bytes: Bytes that one scatter or gather round may move in total.

    Returns:
        The trace, on every rank.

    Raises:
        StageError: A stage failed on at least one rank; equal on every rank.
    """
    ranks = mpi.open_world() if comm is None else mpi.wrap(comm)
    try:
        settings = Settings(
            strategy=strategy,
            min_size=min_size,
            cache_dir=None if cache_dir is None else Path(cache_dir),
            n_devices=n_devices,
            round_bytes=round_bytes,
        )
        result = run(ranks, lambda: _require_graph(graph), settings)
        image = b"" if result.trace is None else trace_io.encode_trace(result.trace)
        received = mpi.share_bytes(ranks, image)
        return trace_io.decode_trace(received) if result.trace is None else result.trace
    finally:
        ranks.free()


def _record(
    comm: Comm,
    graph: PhaseTypeGraph | None,
    settings: Settings,
    store: TraceStore,
    recorder: Recorder,
    report: RunReport,
    hooks: Hooks,
) -> EliminationTrace | None:
    """Collective. Split, plan, send, record, keep, gather and stitch; the trace on rank 0."""
    condensation = None
    with report.stage("split"), mpi.agree(comm, "split"):
        if graph is not None:
            condensation = condense(graph)
            _count_graph(report, graph, condensation)
    blocks = () if condensation is None else condensation.distinct
    with report.stage("plan"):
        with mpi.agree(comm, "cache"):
            keys = store.keys()
        held = mpi.collect(comm, keys)
        plan = None
        with mpi.agree(comm, "plan"):
            if condensation is not None:
                plan = assign.plan(
                    blocks, held, comm.size, settings.min_size, settings.round_bytes
                )
                _count_plan(report, plan)
        plan = mpi.share(comm, plan)
    with report.stage("send"):
        mine = _send(comm, plan, blocks, report)
    with report.stage("record"):
        traces = _record_and_keep(comm, mine, store, recorder, report, hooks)
    with report.stage("fetch"), mpi.agree(comm, "fetch"):
        fetched = store.load(plan.fetch_keys[comm.rank])
    with report.stage("gather"):
        gathered = _gather(comm, plan, {**traces, **fetched}, report)
    with report.stage("stitch"), mpi.agree(comm, "stitch"):
        trace = None
        if graph is not None and condensation is not None:
            trace = stitch(graph, condensation, gathered)
            report.n_entries = trace.n_entries
            report.n_operations = trace.n_operations()
            report.trace_bytes = trace.nbytes
    return trace
