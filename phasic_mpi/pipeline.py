"""The run: the order of the stages, and the agreement between ranks after each.

    load -> split -> plan -> send, record and keep -> gather -> stitch -> write -> evaluate

or, with ``gather`` off, a manifest is written after recording, and that is the end.

Every rank executes this module from top to bottom. Local work goes inside ``agree``; calls that are
collective stand outside it, in the same order on every rank.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from phasic_mpi import _core, assign, config, files, manifest, payload, trace_io
from phasic_mpi import comm as mpi
from phasic_mpi.assembly import Assembly
from phasic_mpi.assign import Assignment
from phasic_mpi.comm import Comm
from phasic_mpi.errors import (
    ConfigError,
    EnvironmentMismatchError,
    RunStoppedError,
    StageError,
)
from phasic_mpi.evaluate import Replay
from phasic_mpi.graph import PhaseTypeGraph
from phasic_mpi.manifest import Manifest
from phasic_mpi.parts import Division, divide
from phasic_mpi.payload import unpack_blocks
from phasic_mpi.record import Recorder
from phasic_mpi.report import Report, RunReport, peak_rss_bytes
from phasic_mpi.scc import Condensation, SccBlock, condense
from phasic_mpi.store import TraceStore
from phasic_mpi.theta import ThetaLike, theta_rows
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
        gather: Whether traces are brought to rank 0; if not, a manifest says where they lie.

    Raises:
        ConfigError: A number that is not positive.
    """

    strategy: str = "auto"
    min_size: int = assign.MIN_SIZE
    cache_dir: Path | None = None
    n_devices: int | None = None
    round_bytes: int = assign.ROUND_BYTES
    gather: bool = True

    def __post_init__(self) -> None:
        for name in ("min_size", "round_bytes"):
            if getattr(self, name) < 1:
                raise ConfigError(
                    f"The setting '{name}' cannot be followed",
                    problem=f"expected at least 1, got {getattr(self, name)}",
                    resolution="give a positive number, or leave it out",
                )


@dataclass(frozen=True)
class Hooks:
    """What the caller wants to hear and to say while a run goes on.

    Attributes:
        on_progress: Called on every rank when a stage begins, with its name and zeros, and while
            it records with the blocks that this rank has recorded and will record.
        stop_requested: Asked while recording and before each stage; True commits what is recorded
            and ends the run.
    """

    on_progress: Callable[[str, int, int], None] = lambda *_: None
    stop_requested: Callable[[], bool] = lambda: False


@dataclass(frozen=True)
class RunResult:
    """Outcome of a run.

    Attributes:
        report: Counts, bytes and seconds; complete on rank 0.
        trace: The trace on rank 0, None elsewhere.
        theta: ``float64[n_theta, n_parameters]`` on rank 0 if theta was given, else None.
        moments: ``float64[n_theta, n_moments]`` there, else None.
    """

    report: RunReport
    trace: EliminationTrace | None
    theta: NDArray[np.float64] | None = None
    moments: NDArray[np.float64] | None = None


_Report = TypeVar("_Report", bound=Report)


@dataclass(frozen=True)
class Job(Generic[_Report]):
    """What all stages share."""

    comm: Comm
    hooks: Hooks
    report: _Report

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Announces and times a stage that has collectives of its own."""
        self.hooks.on_progress(stage, 0, 0)
        with self.report.stage(stage):
            yield

    @contextmanager
    def local(self, stage: str) -> Iterator[None]:
        """Collective. Announces and times a stage of local work, and agrees on its outcome."""
        with self.timed(stage), mpi.agree(self.comm, stage):
            yield


@dataclass(frozen=True)
class _Run(Job[RunReport]):
    settings: Settings

    @contextmanager
    def local(self, stage: str) -> Iterator[None]:
        """Collective. As in :class:`Job`; raises if a stop has been asked for."""
        with super().local(stage):
            if self.hooks.stop_requested():
                raise _stop(f"before the stage '{stage}'")
            yield


def run(
    comm: Comm,
    load: Callable[[], PhaseTypeGraph],
    settings: Settings,
    *,
    output: Path | None = None,
    theta: ThetaLike | None = None,
    n_moments: int = 1,
    hooks: Hooks | None = None,
) -> RunResult:
    """Collective. Records the elimination trace of the graph that ``load`` returns on rank 0.

    Args:
        comm: The ranks that take part.
        load: Called on rank 0 alone.
        settings: Equal on every rank.
        output: Trace file, or manifest, to write, on rank 0.
        theta: Rows at which to compute moments, on rank 0; see :func:`phasic_mpi.theta.theta_rows`.
        n_moments: Highest moment.
        hooks: See :class:`Hooks`.

    Raises:
        StageError: A stage failed on at least one rank; equal on every rank.
        RunStoppedError: ``hooks.stop_requested`` answered True; equal on every rank.
        EnvironmentMismatchError: The ranks do not run the same code or settings.
    """
    job = _Run(comm, hooks or Hooks(), RunReport(n_ranks=comm.size), settings)
    with mpi.ending_all(comm), _stops_apart():
        means = _start(job, output)
        with job.local("load"):
            graph, rows = load() if comm.rank == 0 else None, None
            if graph is not None and theta is not None:
                rows = theta_rows(theta, graph.n_parameters, graph.parameter_names)
        trace = _record(job, graph, means, output)
        with job.local("write"):
            if trace is not None and output is not None:
                job.report.file_bytes = trace_io.save_trace(trace, output)
        values = None
        with job.local("evaluate"):
            if trace is not None and rows is not None:
                values = Replay(trace, n_threads=means.n_threads_alone).moments(rows, n_moments)
        job.report.n_failed_cache_writes = sum(mpi.collect(comm, means.store.n_failed_writes))
        job.report.peak_rss_bytes = mpi.collect(comm, peak_rss_bytes())
    return RunResult(job.report, trace, rows, values)


def record_trace(
    graph: PhaseTypeGraph | None,
    *,
    comm: Any = None,
    strategy: str = "auto",
    min_size: int = assign.MIN_SIZE,
    cache_dir: Path | str | None = None,
    n_devices: int | None = None,
    round_bytes: int = assign.ROUND_BYTES,
    deadline: float = config.DEADLINE_SECONDS,
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
        deadline: Seconds without a sign of life after which a rank counts as stopped, and all are
            ended; 0 for never.

    Returns:
        The trace, on every rank.

    Raises:
        ConfigError: A setting that is not a positive number.
        StageError: A stage failed on at least one rank; equal on every rank.
        EnvironmentMismatchError: The ranks do not run the same code or settings.
    """
    settings = Settings(
        strategy=strategy,
        min_size=min_size,
        cache_dir=None if cache_dir is None else Path(cache_dir),
        n_devices=n_devices,
        round_bytes=round_bytes,
    )
    with mpi.open_ranks(comm, deadline=deadline) as ranks:
        return share_trace(ranks, run(ranks, lambda: _require_graph(graph), settings).trace)


class _Means(NamedTuple):
    """What a rank works with.

    Attributes:
        n_threads_alone: Threads that it may use while the other ranks of its host wait.
    """

    store: TraceStore
    recorder: Recorder
    n_threads_alone: int


def _start(job: _Run, output: Path | None) -> _Means:
    """Collective. Refuses whatever cannot end well before any work is done."""
    comm, settings = job.comm, job.settings
    with job.timed("start"):
        mpi.require_same_code(comm, _facts(settings))
        n_sharing = mpi.count_equal_here(comm, config.core_mask())
        with mpi.agree(comm, "start"):
            if comm.rank == 0 and output is not None:
                files.require_writable(output)
            n_threads = config.threads_per_rank(n_sharing)
            n_threads_alone = config.threads_per_rank(1)
            config.prepare_threads(n_threads)
            recorder = Recorder(
                strategy=settings.strategy, n_threads=n_threads, n_devices=settings.n_devices
            )
            store = TraceStore(
                settings.cache_dir or config.default_cache_dir(),
                rank=comm.rank,
                local_rank=comm.local_rank,
                local_size=comm.local_size,
            )
    return _Means(store, recorder, n_threads_alone)


def _facts(settings: Settings) -> dict[str, str]:
    """What must agree on all ranks; a cache may lie on the scratch disk of each host."""
    return {**config.code_facts(), "settings": str(replace(settings, cache_dir=None))}


def _require_graph(graph: PhaseTypeGraph | None) -> PhaseTypeGraph:
    if not isinstance(graph, PhaseTypeGraph):
        raise ConfigError(
            "There is no graph to record",
            problem=f"expected a PhaseTypeGraph on rank 0, got {type(graph).__name__}",
            context={"rank": 0},
            resolution="pass the graph on rank 0; PhaseTypeGraph.from_phasic takes a phasic.Graph",
        )
    return graph


def share_trace(comm: Comm, trace: EliminationTrace | None) -> EliminationTrace:
    """Collective. Returns the trace of rank 0 on every rank."""
    scalars, arrays = ({}, {}) if trace is None else trace.parts()
    scalars = mpi.share(comm, scalars, dict)
    arrays = mpi.share_arrays(comm, arrays)
    return EliminationTrace.from_parts(scalars, arrays) if trace is None else trace


def _record(
    job: _Run,
    graph: PhaseTypeGraph | None,
    means: _Means,
    output: Path | None,
) -> EliminationTrace | None:
    """Collective. Split, plan, send, record, keep, gather and stitch; the trace on rank 0.

    If traces are not to be gathered, writes a manifest instead.
    """
    store = means.store
    condensation = None
    division = Division(units=(), cut=())
    with job.local("split"):
        if graph is not None:
            condensation = condense(graph)
            division = divide(condensation.distinct, n_threads=means.n_threads_alone)
            _count_graph(job.report, graph, condensation, division)
    with job.timed("plan"):
        keys, plan = _plan(job, division.units, store)
    with job.timed("record"):
        traces = _record_and_keep(job, plan, division.units, store, means.recorder)
    if not job.settings.gather:
        with job.timed("manifest"):
            _write_manifest(job, plan, graph, division.units, keys, store, output)
        return None
    with job.local("fetch"):
        traces.update(store.load(plan.fetch[job.comm.rank]))
    with job.timed("gather"):
        assembly = _gather(job, condensation, division, keys, traces, means.n_threads_alone)
    trace = None
    with job.local("stitch"):
        if graph is not None and assembly is not None:
            trace = assembly.stitch(graph)
            del assembly
            _core.return_free_memory()
            _count_trace(job.report, trace)
    return trace


def _plan(job: _Run, blocks: Sequence[SccBlock], store: TraceStore) -> tuple[list[str], Assignment]:
    """Collective. Asks all ranks what they hold of the blocks of rank 0, and deals out the rest.

    Returns the keys of the blocks, too.
    """
    with mpi.agree(job.comm, "cache"):
        known = store.fingerprints()
    keys = mpi.share(job.comm, [block.key for block in blocks], list[str])
    held = mpi.collect(job.comm, {key: known[key] for key in keys if key in known})
    plan = None
    with mpi.agree(job.comm, "plan"):
        if job.comm.rank == 0:
            plan = assign.plan(
                blocks,
                held,
                min_size=job.settings.min_size,
                round_bytes=job.settings.round_bytes,
            )
            job.report.n_recorded = sum(map(len, plan.record))
            job.report.n_cache_hits = sum(map(len, plan.fetch))
            job.report.balance = plan.balance
    return keys, mpi.share(job.comm, plan, Assignment)


def _send(
    job: _Run, plan: Assignment, blocks: Sequence[SccBlock], take: Callable[[memoryview], None]
) -> None:
    """Collective. Hands each message that comes to ``take``; rank 0 keeps its own blocks."""
    comm = job.comm
    for dealt in plan.scatter:
        parts = None
        with mpi.agree(comm, "send"):
            if comm.rank == 0:
                others = (payload.pack_blocks(blocks[i] for i in rank) for rank in dealt[1:])
                parts = [b"", *others]
                job.report.payload_bytes += sum(map(len, parts))
        received = mpi.scatter_bytes(comm, parts)
        if comm.rank > 0:
            take(received)


def _record_and_keep(
    job: _Run,
    plan: Assignment,
    blocks: Sequence[SccBlock],
    store: TraceStore,
    recorder: Recorder,
) -> dict[str, BlockTrace]:
    """Collective. Sends blocks; reads, records and caches those of this rank, batch by batch.

    Rank 0 records its own while it packs those of others, who read the first while it packs more.
    Returns the traces, unless they are not to be gathered.
    """
    comm, hooks = job.comm, job.hooks
    n_blocks = len(plan.record[comm.rank])
    seconds = {"record": 0.0, "cpu": 0.0, "keep": 0.0}
    messages: SimpleQueue[memoryview | None] = SimpleQueue()
    stopping = threading.Event()
    strategy: list[str] = []

    own = [blocks[index] for index in plan.record[0]] if comm.rank == 0 else []

    def arriving() -> Iterator[SccBlock]:
        while (message := messages.get()) is not None:
            yield from unpack_blocks(message)

    def work() -> dict[str, BlockTrace]:
        strategy.append(recorder.prepare(n_blocks, plan.loads[comm.rank]))
        traces: dict[str, BlockTrace] = {}
        n_recorded = 0
        for batch in chain(_batches(own), _batches(arriving())):
            if stopping.is_set():
                raise _stop(f"with {n_recorded} of {n_blocks} blocks of this rank recorded")
            begin, cpu = time.perf_counter(), time.thread_time()
            recorded = recorder.record(batch)
            middle = time.perf_counter()
            seconds["cpu"] += time.thread_time() - cpu
            store.keep(recorded)
            seconds["record"] += middle - begin
            seconds["keep"] += time.perf_counter() - middle
            n_recorded += len(recorded)
            if job.settings.gather:
                traces.update((trace.key, trace) for trace in recorded)
        return traces

    def send() -> None:
        try:
            with job.timed("send"):
                _send(job, plan, blocks, messages.put)
        finally:
            messages.put(None)

    def listen() -> None:
        hooks.on_progress("record", recorder.n_done, n_blocks)
        if hooks.stop_requested():
            stopping.set()

    traces = mpi.run_failfast(
        comm, "record", work, cancel=recorder.cancel, meanwhile=send, on_idle=listen
    )
    everyone = mpi.collect(comm, (strategy[0], seconds["record"], seconds["cpu"], seconds["keep"]))
    strategies, *columns = map(list, zip(*everyone, strict=True))
    report = job.report
    report.strategy = ", ".join(sorted(set(strategies)))
    report.record_seconds, report.record_cpu_seconds, report.keep_seconds = columns
    return traces


def _batches(blocks: Iterable[SccBlock]) -> Iterator[list[SccBlock]]:
    """Cuts blocks into batches of about :data:`BATCH_SECONDS` of estimated work."""
    batch: list[SccBlock] = []
    seconds = 0.0
    for block in blocks:
        batch.append(block)
        seconds += assign.SECONDS_PER_COST * assign.estimated_cost(block)
        if seconds >= BATCH_SECONDS:
            yield batch
            batch, seconds = [], 0.0
    if batch:
        yield batch


def _stop(where: str) -> RunStoppedError:
    return RunStoppedError(
        "The run was asked to stop",
        problem=f"it was, {where}",
        resolution="run it again: what was recorded is in the caches and is not recorded again",
    )


@contextmanager
def _stops_apart() -> Iterator[None]:
    """A stage that failed only because ranks were asked to stop is a stop, not a failure."""
    try:
        yield
    except StageError as exc:
        if any(report.kind != RunStoppedError.__name__ for report in exc.reports.values()):
            raise
        raise _stop(
            f"in the stage '{exc.stage}', by a signal to ranks {sorted(exc.reports)}"
        ) from None


def _write_manifest(
    job: _Run,
    plan: Assignment,
    graph: PhaseTypeGraph | None,
    units: Sequence[SccBlock],
    keys: Sequence[str],
    store: TraceStore,
    output: Path | None,
) -> None:
    """Collective. Says where the trace of each unit lies, in a file that rank 0 writes."""
    comm = job.comm
    with mpi.agree(comm, "manifest"):
        mine = [keys[index] for index in plan.record[comm.rank]]
        places = store.places([*mine, *plan.fetch[comm.rank]])
    everyone = mpi.collect(comm, places)
    with mpi.agree(comm, "write"):
        if graph is not None and output is not None:
            checks = {unit.key: unit.check for unit in units}
            found = {key: place for rank in everyone for key, place in rank.items()}
            made = Manifest(graph, store.directory, checks, found)
            job.report.file_bytes = manifest.save(made, output)


def _gather(
    job: _Run,
    condensation: Condensation | None,
    division: Division,
    keys: Sequence[str],
    traces: dict[str, BlockTrace],
    n_threads: int,
) -> Assembly | None:
    """Collective. Brings all traces to their places on rank 0, in bounded rounds; None elsewhere.

    They come in the order of ``keys``, so that what belongs together comes together and need not
    wait. Each rank lets go of its traces on the way.
    """
    comm = job.comm
    place = {key: index for index, key in enumerate(keys)}
    own = {key: traces[key] for key in sorted(traces, key=place.__getitem__)}
    traces.clear()
    sizes = {key: (trace.nbytes, trace.n_entries) for key, trace in own.items()}
    everyone = mpi.collect(comm, {} if comm.rank == 0 else sizes)
    n_bytes = {key: size for rank in everyone for key, (size, _) in rank.items()}
    assembly = None
    with mpi.agree(comm, "gather"):
        if condensation is not None:
            sizes.update(entry for rank in everyone for entry in rank.items())
            n_entries = {key: count for key, (_, count) in sizes.items()}
            assembly = Assembly(condensation, division, n_entries, n_threads=n_threads)
            job.report.gathered_bytes = sum(n_bytes.values())
            _require_memory(assembly, job.report.gathered_bytes, job.settings.round_bytes)
            while own:
                assembly.add(own.pop(next(iter(own))))
            assembly.settle()
            _core.return_free_memory()  # before that of others comes
    dealt = [list(rank) for rank in everyone]
    for rounds in assign.rounds(dealt, n_bytes, job.settings.round_bytes):
        with mpi.agree(comm, "pack"):
            part = payload.pack_traces([own.pop(key) for key in rounds[comm.rank]])
        received = mpi.gather_bytes(comm, part)
        with mpi.agree(comm, "unpack"):
            if assembly is not None and received is not None:
                _take_in(assembly, received)
    return assembly


def _take_in(assembly: Assembly, received: list[memoryview]) -> None:
    """Empties ``received``, of which traces are views, once those of the last round are joined."""
    assembly.settle()
    while received:
        for packed in payload.unpack_messages(received.pop()):
            assembly.add(payload.unpack_trace(packed))


def _require_memory(assembly: Assembly, gathered_bytes: int, round_bytes: int) -> None:
    """All patterns are to come, and what travels waits for its block, for a round at least."""
    needed = assembly.nbytes + min(gathered_bytes, 2 * round_bytes)
    available = config.available_memory()
    if available is not None and needed > available:
        raise EnvironmentMismatchError(
            "The traces do not fit the memory of rank 0",
            problem=f"expected {needed} bytes to be free, got {available}",
            context={"rank": 0, "bytes of patterns": assembly.nbytes},
            resolution="give the host of rank 0 more memory, or put fewer ranks on it; all blocks "
            "are recorded and cached, so a rerun only gathers",
        )


def _count_graph(
    report: RunReport, graph: PhaseTypeGraph, condensation: Condensation, division: Division
) -> None:
    report.n_vertices = graph.n_vertices
    report.n_edges = graph.n_edges
    report.n_transient = condensation.vertex.size
    report.n_self_loops = condensation.n_self_loops
    report.n_zero_edges = condensation.n_zero_edges
    report.n_blocks = condensation.n_blocks
    report.n_distinct = len(condensation.distinct)
    report.n_cut = len(division.cut)
    report.n_parts = len(division.units) - report.n_distinct + report.n_cut
    report.largest_block = int(np.diff(condensation.block_ptr).max())


def _count_trace(report: RunReport, trace: EliminationTrace) -> None:
    report.n_entries = trace.n_entries
    report.n_operations = trace.n_operations()
    report.trace_bytes = trace.nbytes
