"""Scheduling model: recording and the whole run on 1 to 4,096 ranks, checked on 1 and 2 real ones.

    python -m benchmarks.simulate [--repeats 3] [name ...]

Each unit (a block, several small ones together, or a part of a large one) is recorded by itself and
timed in seconds of its thread. From these follow how long the slowest rank records under the plan
that a run makes, which knows estimates only, under LPT (Graham 1969) with the true times, and at
least: the longest unit, or all work divided by the ranks. Efficiency is all work divided by ranks
times the time of the slowest one. Times of units are scaled to add up to what real runs on one
rank took, so that the check is the run on two.

The whole run is its stages on rank 0, as a run on one rank has timed them, with the recording
replaced, and what more ranks add: rank 0 packs their payloads and they read them, they pack their
traces and rank 0 reads these, at seconds that are measured here on the messages themselves.

Ranks of a host share its memory, so a run on one rank that has the host for itself is no measure
for several: it is timed beside others, one on every other core, and its times alone are those of
one rank only.
"""

from __future__ import annotations

import gc
import heapq
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.options import names_and_repeats
from benchmarks.scaling import run
from phasic_mpi import _core, assign
from phasic_mpi.graph import PhaseTypeGraph
from phasic_mpi.graph_io import save_graph
from phasic_mpi.models import build_model
from phasic_mpi.parts import divide
from phasic_mpi.payload import (
    encode_block,
    pack_blocks,
    pack_messages,
    pack_trace,
    unpack_blocks,
    unpack_messages,
    unpack_trace,
)
from phasic_mpi.record import Recorder
from phasic_mpi.scc import SccBlock, condense
from tests.graphs import chain_of_sccs

CASES: dict[str, Callable[[], PhaseTypeGraph]] = {
    "coal4_45": lambda: build_model("structured-coalescent", n=45, islands=4),
    "tandem_447": lambda: build_model("tandem-queue", capacity=447),
    "sis2_447": lambda: build_model("sis", sizes=[446, 446]),
    "chain_5000x40": lambda: chain_of_sccs(5000, 40, 1),
}
RANKS = (1, 2, 4, 16, 64, 256, 512, 1024, 4096)

Times = NDArray[np.float64]
Report = dict[str, Any]


@dataclass(frozen=True)
class Units:
    """What is recorded, with the seconds and bytes of each."""

    blocks: Sequence[SccBlock]
    seconds: Times
    payload_bytes: NDArray[np.int64]
    trace_bytes: NDArray[np.int64]


def measure(graph: PhaseTypeGraph, repeats: int) -> Units:
    """Records every unit ``repeats`` times by itself; the least time counts.

    What was recorded stays in memory, as in a run: new pages take a part of the time.
    """
    blocks = divide(condense(graph).distinct).units
    seconds = np.empty((repeats, len(blocks)))
    gc.disable()  # a collection would be charged to the unit that it falls on
    for repeat in range(repeats):
        store = _core.BlockStore()
        # What was freed before is put in order by whoever asks for memory first.
        record(store, blocks[0])
        patterns = []
        for index, block in enumerate(blocks):
            begin = time.thread_time()
            patterns.append(record(store, block))
            seconds[repeat, index] = time.thread_time() - begin
    gc.enable()
    payloads = np.array([len(encode_block(block)) for block in blocks])
    traces = np.array([sum(array.nbytes for array in pattern) for pattern in patterns])
    return Units(blocks, seconds.min(axis=0), payloads, traces)


def record(store: _core.BlockStore, block: SccBlock) -> tuple[NDArray[Any], ...]:
    """What a recorder does for one unit, on the calling thread."""
    handle = store.put(block.row_ptr, block.col, block.n_below, block.n_boundary)
    store.record(handle)
    return store.take(handle)


def planned(units: Units, n_ranks: int) -> float:
    """Seconds of the slowest rank under the plan that a run makes."""
    made = assign.plan(units.blocks, [{}] * n_ranks)
    return max(float(units.seconds[list(own)].sum()) for own in made.record)


def longest_first(units: Units, n_ranks: int) -> float:
    """The same if the plan knew the true times, and kept no small blocks together."""
    loads = [0.0] * n_ranks
    for seconds in sorted(units.seconds.tolist(), reverse=True):
        heapq.heapreplace(loads, loads[0] + seconds)
    return max(loads)


def bound(units: Units, n_ranks: int) -> float:
    """No plan is faster than this."""
    return max(float(units.seconds.max()), float(units.seconds.sum()) / n_ranks)


def run_on_every_core(directory: Path) -> list[Report]:
    """Independent runs on one rank, all at the same time."""
    n_cores = len(os.sched_getaffinity(0))
    with ThreadPoolExecutor(n_cores) as pool:
        return list(pool.map(run, [directory] * n_cores, [1] * n_cores))


def recorded(reports: list[Report]) -> float:
    """Seconds of processor of the rank with most, in the middle one of several runs."""
    return median(max(report["record_cpu_seconds"]) for report in reports)


def wall(report: Report) -> float:
    return float(sum(report["stage_seconds"].values()))


class Messages(NamedTuple):
    """Seconds to pack and to read all payloads and all traces."""

    pack: float
    read: float
    pack_traces: float
    read_traces: float


def message_seconds(units: Units) -> Messages:
    """Packs and reads every message once."""
    recorder = Recorder(strategy="sequential", n_threads=1)
    traces = recorder.record(units.blocks)
    times = [time.perf_counter()]
    packed = pack_blocks(units.blocks)
    times.append(time.perf_counter())
    unpack_blocks(memoryview(packed))
    times.append(time.perf_counter())
    message = pack_messages([pack_trace(trace) for trace in traces])
    times.append(time.perf_counter())
    received = np.array(np.frombuffer(message, np.uint8))  # a copy, as by a message
    for part in unpack_messages(received.data):
        unpack_trace(part)
    times.append(time.perf_counter())
    return Messages(*np.diff(times).tolist())


class Model:
    """Seconds of a run, from units and from runs on one rank under the same conditions."""

    def __init__(self, units: Units, messages: Messages, reports: list[Report]) -> None:
        self._units = units
        self._messages = messages
        self._scale = recorded(reports) / float(units.seconds.sum())
        self._keep = median(sum(report["keep_seconds"]) for report in reports)
        record = median(report["stage_seconds"]["record"] for report in reports)
        self._serial = median(map(wall, reports)) - record

    def recording(self, n_ranks: int) -> float:
        """Seconds that the slowest rank records."""
        return self._scale * planned(self._units, n_ranks)

    def run(self, n_ranks: int) -> float:
        """Seconds of all stages."""
        spent, away = self._messages, 1 - 1 / n_ranks
        spread = spent.read + spent.pack_traces if n_ranks > 1 else 0.0
        return (
            self._serial
            + away * (spent.pack + spent.read_traces)
            + self.recording(n_ranks)
            + (spread + self._keep) / n_ranks
        )


def main() -> None:
    description = "Recording and runs on many ranks, by simulation"
    names, repeats = names_and_repeats(description, CASES, repeats=3)
    for name in names:
        simulate(name, repeats)


def simulate(name: str, repeats: int) -> None:
    """Prints the table of one graph, and how far the model is from real runs."""
    console = Console(width=110)
    graph = CASES[name]()
    with tempfile.TemporaryDirectory() as directory:
        save_graph(graph, Path(directory) / "graph.h5")
        alone, beside, two = [], [], []
        for _ in range(repeats):
            alone.append(run(Path(directory), 1))
            beside += run_on_every_core(Path(directory))
            two.append(run(Path(directory), 2))
    units = measure(graph, repeats)
    messages = message_seconds(units)
    one, model = Model(units, messages, alone), Model(units, messages, beside)
    total, n_edges = float(units.seconds.sum()), sum(block.n_edges for block in units.blocks)
    sent = int(units.payload_bytes.sum())
    console.print(
        f"{name}: {len(units.blocks):,} units, {total:.3f} s, longest {units.seconds.max():.2g} s; "
        f"payloads {sent / 1e6:.1f} MB, {sent / n_edges:.1f} bytes per edge, "
        f"traces {units.trace_bytes.sum() / 1e6:.1f} MB"
    )
    table = Table("ranks", "bound, ms", "LPT", "plan", "efficiency: LPT", "plan", "run, s")
    for n_ranks in RANKS:
        lpt, plan = longest_first(units, n_ranks), planned(units, n_ranks)
        table.add_row(
            f"{n_ranks:,}",
            *(f"{1e3 * seconds:.2f}" for seconds in (bound(units, n_ranks), lpt, plan)),
            *(f"{total / (n_ranks * seconds):.2f}" for seconds in (lpt, plan)),
            f"{(one if n_ranks == 1 else model).run(n_ranks):.2f}",
        )
    console.print(table)
    for n_ranks, reports, fitted in ((1, alone, one), (2, two, model)):
        real, real_wall = recorded(reports), median(map(wall, reports))
        ours, ours_wall = fitted.recording(n_ranks), fitted.run(n_ranks)
        console.print(
            f"{n_ranks} real ranks: the slowest records {real:.3f} s, simulated {ours:.3f} s "
            f"({ours / real - 1:+.0%}); all stages {real_wall:.2f} s, simulated {ours_wall:.2f} s "
            f"({ours_wall / real_wall - 1:+.0%})"
        )
    for name, reports in (("a run alone", alone), ("a run beside others", beside)):
        efficiency = recorded(reports) / (2 * recorded(two))
        console.print(f"efficiency of recording on 2 real ranks, by {name}: {efficiency:.2f}")


if __name__ == "__main__":
    main()
