"""Scheduling model: recording and the whole run on 1 to 4,096 ranks, checked on 1 and 2 real ones.

    python -m benchmarks.simulate [--repeats 3] [name ...]

Each unit (a block, several small ones together, or a part of a large one) is recorded by itself and
timed in seconds of its thread. From these follow how long the slowest rank records under the plan
that a run makes, which knows estimates only, under LPT (Graham 1969) with the true times, and at
least: the longest unit, or all work divided by the ranks. Efficiency is all work divided by ranks
times the time of the slowest one.

Rank 0 has freed memory before it records, when it divided the graph; what other ranks record goes
to new pages. So units are timed twice: here, scaled to add up to what real runs on one rank took,
for rank 0, and as they are in a program that has done nothing before, for the others.

The whole run is its stages on rank 0, as runs on one rank have timed them, with the recording
replaced, and what more ranks add: what a run on two takes longer than on one where there is next
to nothing to do; rank 0 packs payloads, beside its recording, and they read them round by round,
they pack their traces and rank 0 reads these, at seconds that are measured here on the messages
themselves.

The speed of a shared host changes within minutes. So each turn times real runs and the units one
after another, the model of that turn is compared with its runs, and medians over turns are printed.
The table is of the least time of each unit.
"""

from __future__ import annotations

import gc
import heapq
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
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


@dataclass(frozen=True)
class Units:
    """What is recorded, with the seconds and bytes of each.

    Attributes:
        seconds: In memory that was used before.
        new_seconds: In new memory.
    """

    blocks: Sequence[SccBlock]
    seconds: Times
    new_seconds: Times
    payload_bytes: NDArray[np.int64]
    trace_bytes: NDArray[np.int64]


class Messages(NamedTuple):
    """Seconds to pack and to read all payloads and all traces."""

    pack: float
    read: float
    pack_traces: float
    read_traces: float


def message_seconds(blocks: Sequence[SccBlock]) -> Messages:
    """Packs and reads every message once."""
    recorder = Recorder(strategy="sequential", n_threads=1)
    traces = recorder.record(blocks)
    times = [time.perf_counter()]
    packed = pack_blocks(blocks)
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


@dataclass(frozen=True)
class Turn:
    """What was timed within half a minute.

    Attributes:
        one: Report of a run on one rank.
        two: Report of a run on two.
        meeting: What a run on two ranks takes longer than on one, on a graph of three vertices.
        units: Each unit by itself.
        messages: All messages.
    """

    one: dict[str, Any]
    two: dict[str, Any]
    meeting: float
    units: Units
    messages: Messages


def measure(directory: Path, blocks: Sequence[SccBlock]) -> Turn:
    """Times runs on the graphs in ``directory`` and each unit by itself, once."""
    alone, both = (wall(run(directory / "small", n)) for n in (1, 2))
    one, two = (run(directory, n) for n in (1, 2))
    packed = bytes(pack_blocks(blocks))
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as fresh:
        new = fresh.submit(times_of_payloads, packed).result()
    # What was freed before is put in order by whoever asks for memory first.
    record(_core.BlockStore(), blocks[0])
    seconds, traces = times_of_units(blocks)
    payloads = np.array([len(encode_block(block)) for block in blocks])
    units = Units(blocks, seconds, new, payloads, traces)
    return Turn(one, two, both - alone, units, message_seconds(blocks))


def least(turns: Sequence[Turn]) -> Units:
    """Each unit at its best."""
    units = [turn.units for turn in turns]
    return replace(
        units[0],
        seconds=np.min([own.seconds for own in units], axis=0),
        new_seconds=np.min([own.new_seconds for own in units], axis=0),
    )


def times_of_payloads(packed: bytes) -> Times:
    """Seconds of each unit of a message, in a program that has not done anything else."""
    return times_of_units(unpack_blocks(memoryview(packed)))[0]


def times_of_units(blocks: Sequence[SccBlock]) -> tuple[Times, NDArray[np.int64]]:
    """Seconds and bytes of each; what was recorded stays in memory, as in a run."""
    seconds, patterns = [], []
    store = _core.BlockStore()
    gc.disable()  # a collection would be charged to the unit that it falls on
    for block in blocks:
        begin = time.thread_time()
        patterns.append(record(store, block))
        seconds.append(time.thread_time() - begin)
    gc.enable()
    n_bytes = [sum(array.nbytes for array in pattern) for pattern in patterns]
    return np.array(seconds), np.array(n_bytes)


def record(store: _core.BlockStore, block: SccBlock) -> tuple[NDArray[Any], ...]:
    """What a recorder does for one unit, on the calling thread."""
    handle = store.put(block.row_ptr, block.col, block.n_below, block.n_boundary)
    store.record(handle)
    return store.take(handle)


def planned(units: Units, n_ranks: int) -> list[NDArray[np.int64]]:
    """The units of each rank under the plan that a run makes."""
    made = assign.plan(units.blocks, [{}] * n_ranks)
    return [np.array(own, dtype=np.int64) for own in made.record]


def slowest(plan: Sequence[NDArray[np.int64]], seconds: Times) -> float:
    """Seconds of the slowest of some ranks."""
    return max((float(seconds[own].sum()) for own in plan), default=0.0)


def longest_first(units: Units, n_ranks: int) -> float:
    """The same if the plan knew the true times, and kept no small blocks together."""
    loads = [0.0] * n_ranks
    for seconds in sorted(units.seconds.tolist(), reverse=True):
        heapq.heapreplace(loads, loads[0] + seconds)
    return max(loads)


def bound(units: Units, n_ranks: int) -> float:
    """No plan is faster than this."""
    return max(float(units.seconds.max()), float(units.seconds.sum()) / n_ranks)


def recorded(reports: list[dict[str, Any]]) -> float:
    """Seconds of processor of the rank with most, in the best of several runs."""
    return min(max(report["record_cpu_seconds"]) for report in reports)


def wall(report: dict[str, Any]) -> float:
    return float(sum(report["stage_seconds"].values()))


class Model:
    """Seconds of a run on any number of ranks, from units and from runs on one.

    Args:
        meeting: What a run on several ranks takes longer for their messages, however short.
        messages: What these messages take on one rank.
    """

    def __init__(
        self,
        units: Units,
        reports: list[dict[str, Any]],
        meeting: float,
        messages: Messages,
    ) -> None:
        self._units = units
        self._meeting = meeting
        self._messages = messages
        self._scale = recorded(reports) / float(units.seconds.sum())
        self._keep = median(sum(report["keep_seconds"]) for report in reports)
        record = median(report["stage_seconds"]["record"] for report in reports)
        self._serial = median(map(wall, reports)) - record

    def recording(self, n_ranks: int) -> tuple[float, float]:
        """Seconds that rank 0 and the slowest other rank record."""
        first, *others = planned(self._units, n_ranks)
        own = self._scale * slowest([first], self._units.seconds)
        return own, slowest(others, self._units.new_seconds)

    def run(self, n_ranks: int) -> float:
        """Seconds of all stages."""
        own, others = self.recording(n_ranks)
        if n_ranks == 1:
            return self._serial + own + self._keep
        spent, away = self._messages, 1 - 1 / n_ranks
        # Rank 0 packs beside its recording; others read a round while it packs the next.
        packed, has_read = away * spent.pack, 0.0
        for n_packed in range(1, assign.ROUNDS + 1):
            arrived = packed * n_packed / assign.ROUNDS
            has_read = max(has_read, arrived) + spent.read / n_ranks / assign.ROUNDS
        recorded = max(packed, own, has_read + others) + self._keep / n_ranks
        joined = away * spent.read_traces + spent.pack_traces / n_ranks
        return self._serial + self._meeting + recorded + joined


def main() -> None:
    description = "Recording and runs on many ranks, by simulation"
    names, repeats = names_and_repeats(description, CASES, repeats=3)
    for name in names:
        simulate(name, repeats)


def simulate(name: str, repeats: int) -> None:
    """Prints the table of one graph, and how far the model is from real runs."""
    console = Console(width=110)
    graph = CASES[name]()
    blocks = divide(condense(graph).distinct).units
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        (directory / "small").mkdir()
        small = build_model("birth-death-catastrophe", capacity=2)
        save_graph(small, directory / "small" / "graph.h5")
        save_graph(graph, directory / "graph.h5")
        turns = [measure(directory, blocks) for _ in range(repeats)]
    units = least(turns)
    columns = zip(*(turn.messages for turn in turns), strict=True)
    messages = Messages(*map(median, columns))
    meeting = median(turn.meeting for turn in turns)
    model = Model(units, [turn.one for turn in turns], meeting, messages)
    total, n_edges = float(units.seconds.sum()), sum(block.n_edges for block in units.blocks)
    sent = int(units.payload_bytes.sum())
    console.print(
        f"{name}: {len(units.blocks):,} units, {total:.3f} s, longest {units.seconds.max():.2g} s; "
        f"payloads {sent / 1e6:.1f} MB, {sent / n_edges:.1f} bytes per edge, "
        f"traces {units.trace_bytes.sum() / 1e6:.1f} MB"
    )
    table = Table("ranks", "bound, ms", "LPT", "plan", "efficiency: LPT", "plan", "run, s")
    for n_ranks in RANKS:
        lpt = longest_first(units, n_ranks)
        plan = slowest(planned(units, n_ranks), units.seconds)
        table.add_row(
            f"{n_ranks:,}",
            *(f"{1e3 * seconds:.2f}" for seconds in (bound(units, n_ranks), lpt, plan)),
            *(f"{total / (n_ranks * seconds):.2f}" for seconds in (lpt, plan)),
            f"{model.run(n_ranks):.2f}",
        )
    console.print(table)
    compare(console, turns)


def compare(console: Console, turns: Sequence[Turn]) -> None:
    """Prints how far the models of turns are from the runs of these turns."""
    models = [Model(turn.units, [turn.one], turn.meeting, turn.messages) for turn in turns]
    for n_ranks, reports in ((1, [turn.one for turn in turns]), (2, [turn.two for turn in turns])):
        pairs = list(zip(models, reports, strict=True))
        error = median(model.run(n_ranks) / wall(report) - 1 for model, report in pairs)
        seconds = median(map(wall, reports))
        console.print(f"{n_ranks} real ranks: all stages {seconds:.2f} s, simulated {error:+.0%}")
    # With one rank the model has the seconds of recording from the run itself.
    error = median(
        max(model.recording(2)) / recorded([turn.two]) - 1
        for model, turn in zip(models, turns, strict=True)
    )
    seconds = median(recorded([turn.two]) for turn in turns)
    console.print(f"2 real ranks: the slowest records {seconds:.3f} s, simulated {error:+.0%}")
    efficiency = median(recorded([turn.one]) / (2 * recorded([turn.two])) for turn in turns)
    console.print(f"efficiency of recording on 2 real ranks, turn by turn: {efficiency:.2f}")


if __name__ == "__main__":
    main()
