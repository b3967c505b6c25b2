"""What happens to each kind of input: it is read as in a run, checked, and used."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from phasic_mpi.errors import GraphError, PhasicMpiError, RecordError
from phasic_mpi.evaluate import Replay
from phasic_mpi.graph import PhaseTypeGraph
from phasic_mpi.graph_io import load_graph, save_graph
from phasic_mpi.payload import unpack_blocks, unpack_messages, unpack_trace
from phasic_mpi.record import Recorder
from phasic_mpi.scc import SccBlock, condense
from phasic_mpi.stitch import stitch
from phasic_mpi.trace_check import check_patterns, check_trace
from tests.fuzz import checks, core_calls, messages
from tests.recording import record_alone

# Graphs of up to so many vertices are recorded; the others show how reading scales.
_RECORDED = 2000

Faults = Iterator[str]


def read_json(path: Path) -> Faults:
    graph = load_graph(path)
    if graph.n_vertices <= _RECORDED:
        yield from checks.document_faults(path.read_bytes(), graph)
    yield from _graph_faults(graph, path)


def read_hdf5(path: Path) -> Faults:
    yield from _graph_faults(load_graph(path), path)


def read_message(path: Path) -> Faults:
    message = memoryview(path.read_bytes())
    if message[:1] == b"T":
        yield from _trace_faults(message[1:])
        return
    blocks = unpack_blocks(message[1:])
    for block in blocks:
        yield from checks.block_faults(block)
    yield from _recording_faults(blocks)


def _graph_faults(graph: PhaseTypeGraph, path: Path) -> Faults:
    yield from checks.graph_faults(graph)
    if graph.n_vertices > _RECORDED:
        return
    for suffix in (".json", ".h5"):
        yield from _copy_faults(graph, path.with_name(f"copy{suffix}"))
    trace = record_alone(graph)  # or an error: nobody says that absorption can be reached
    if not checks.can_be_absorbed(graph):
        yield "it was condensed, although absorption cannot be reached from every vertex"
    try:
        check_trace(trace)
    except GraphError as exc:
        yield f"its trace is inconsistent: {exc.problem}"
    Replay(trace).moments(np.ones(graph.n_parameters), 2)


def _copy_faults(graph: PhaseTypeGraph, path: Path) -> Faults:
    try:
        save_graph(graph, path)
        if not load_graph(path).equals(graph):
            yield f"written to {path.name} and read back, it is another graph"
    except PhasicMpiError as exc:
        yield f"written to {path.name}, it cannot be read: {exc}"


def _recording_faults(blocks: list[SccBlock]) -> Faults:
    """Traces of blocks, or errors: nobody says that they are strongly connected."""
    recorder = Recorder(strategy="sequential", n_threads=1)
    for block in blocks:
        try:
            (trace,) = recorder.record([block])
        except RecordError:
            continue
        try:
            sizes = np.array([0, trace.order.size])
            check_patterns(sizes, trace.order, trace.row_ptr, trace.upper_ptr, trace.col)
        except GraphError as exc:
            yield f"the trace of an accepted block is inconsistent: {exc.problem}"
        if sorted(trace.order.tolist()) != list(range(block.n_recorded)):
            yield "the trace of an accepted block has another order"


def _trace_faults(message: memoryview) -> Faults:
    """Traces on their way to rank 0, put together and used as they are."""
    graph = messages.TRACED
    traces = {trace.key: trace for trace in map(unpack_trace, unpack_messages(message))}
    trace = stitch(graph, condense(graph), traces)
    Replay(trace).moments(np.ones(graph.n_parameters), 2)
    check_trace(trace)
    yield from ()


def call_core(path: Path) -> Faults:
    core_calls.call(path.read_bytes())
    yield from ()


_READERS: dict[str, Callable[[Path], Faults]] = {
    "json": read_json,
    "payload": read_message,
    "hdf5": read_hdf5,
    "core": call_core,
}


def read(kind: str, path: Path) -> Faults:
    """Reads an input of this kind; what is wrong with what is accepted."""
    return _READERS[kind](path)
