"""Recording by every strategy: same traces, loud failures, cancellation."""

from __future__ import annotations

import hashlib
import logging
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from phasic_mpi import record
from phasic_mpi.errors import (
    ConfigError,
    EnvironmentMismatchError,
    MissingDependencyError,
    RecordError,
    RecordingCancelledError,
)
from phasic_mpi.record import Recorder
from phasic_mpi.scc import SccBlock
from phasic_mpi.trace import BlockTrace

ROOT = Path(__file__).parents[2]
ARRAYS = ("order", "row_ptr", "upper_ptr", "col", "edge_slot")


def random_block(n_vertices: int, seed: int, degree: int = 3) -> SccBlock:
    """A ring, which makes it strongly connected, and random edges."""
    rng = np.random.default_rng(seed)
    ring = np.arange(n_vertices)
    source = np.concatenate([ring, np.repeat(ring, degree)])
    target = np.concatenate([np.roll(ring, -1), rng.integers(0, n_vertices, n_vertices * degree)])
    edges = np.unique(np.stack([source, target])[:, source != target], axis=1)
    counts = np.bincount(edges[0], minlength=n_vertices)
    return SccBlock.build(np.concatenate([[0], np.cumsum(counts)]), edges[1])


def fifty_blocks() -> list[SccBlock]:
    return [random_block(40, seed) for seed in range(50)]


def damaged_block(key: str, n_vertices: int) -> SccBlock:
    """One edge leads to a vertex that the block does not have."""
    good = random_block(n_vertices, seed=0)
    col = good.col.copy()
    col[-1] = n_vertices
    return SccBlock(key, good.check, good.row_ptr, col)


def digest(traces: list[BlockTrace]) -> str:
    content = hashlib.sha256()
    for trace in traces:
        content.update(f"{trace.key} {trace.check}".encode())
        for name in ARRAYS:
            array = getattr(trace, name)
            content.update(f"{name} {array.dtype} {array.shape}".encode())
            content.update(array)
    return content.hexdigest()


def eliminate(block: SccBlock, order: np.ndarray) -> list[list[int]]:
    """Columns of L and U by playing the elimination on sets of edges, in elimination positions."""
    position = np.argsort(order)
    rows = [
        set(position[block.col[block.row_ptr[vertex] : block.row_ptr[vertex + 1]]].tolist())
        for vertex in order
    ]
    for pivot in range(len(rows)):
        above = {target for target in rows[pivot] if target > pivot}
        for later in range(pivot + 1, len(rows)):
            if pivot in rows[later]:
                rows[later] |= above - {later}
    return [sorted(row) for row in rows]


def run_python(code: str, **environment: str) -> str:
    """Runs code in a fresh interpreter, where JAX has not started, and returns what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests' / 'unit'}", **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_sequential_unchanged():
    blocks = fifty_blocks()
    traces = Recorder(strategy="sequential", n_threads=1).record(blocks)
    assert len(traces) == 50
    for block, trace in zip(blocks, traces, strict=True):
        assert (trace.key, trace.check) == (block.key, block.check)
        assert sorted(trace.order.tolist()) == list(range(40))
        rows = eliminate(block, trace.order)
        assert [
            trace.col[trace.row_ptr[i] : trace.row_ptr[i + 1]].tolist() for i in range(40)
        ] == rows
        for i, row in enumerate(rows):
            assert trace.upper_ptr[i] == trace.row_ptr[i] + sum(target < i for target in row)
        # Every edge goes to the entry of its own row and column.
        position = np.argsort(trace.order)
        source = np.repeat(np.arange(40), np.diff(block.row_ptr))
        assert np.array_equal(trace.col[trace.edge_slot], position[block.col])
        assert np.array_equal(
            np.searchsorted(trace.row_ptr, trace.edge_slot, side="right") - 1, position[source]
        )


def test_vmap_single_machine():
    blocks = fifty_blocks()
    expected = Recorder(strategy="sequential", n_threads=1).record(blocks)
    recorder = Recorder(strategy="vmap", n_threads=4)
    assert digest(recorder.record(blocks)) == digest(expected)
    assert (recorder.n_done, recorder.n_total) == (50, 50)
    # The store is empty again, and a second round counts on.
    assert recorder._store.size == 0
    recorder.record(blocks[:3])
    assert (recorder.n_done, recorder.n_total) == (53, 53)


def test_vmap_records_on_several_threads_and_on_no_more_than_allowed():
    blocks = [random_block(1500, seed) for seed in range(16)]
    seen = {}
    for n_threads in (1, 2, 4):
        recorder = Recorder(strategy="vmap", n_threads=n_threads)
        recorder.record(blocks)
        seen[n_threads] = recorder.max_concurrency
    assert seen[1] == 1
    assert seen[2] == 2
    assert 2 <= seen[4] <= 4


@pytest.mark.parametrize("n_devices", [2, 4])
def test_pmap_multi_gpu(n_devices):
    """Devices here are CPU devices of one process, which the recorder always runs on."""
    code = f"""
from test_record import Recorder, digest, fifty_blocks, random_block
blocks = fifty_blocks()
recorder = Recorder(strategy="pmap", n_threads={n_devices}, n_devices={n_devices})
small = digest(recorder.record(blocks))
one = digest(recorder.record(blocks[:1]))
assert recorder._store.size == 0
large = [random_block(1500, seed) for seed in range(4 * {n_devices})]
recorder.record(large)
print(small, one, recorder.max_concurrency)
"""
    small, one, max_concurrency = run_python(code).split()
    sequential = Recorder(strategy="sequential", n_threads=1)
    assert small == digest(sequential.record(fifty_blocks()))
    assert one == digest(sequential.record(fifty_blocks()[:1]))
    # One thread per device, as n_threads says.
    assert 2 <= int(max_concurrency) <= n_devices


def test_strategy_validation_fails():
    with pytest.raises(ValueError, match="sequential, vmap, pmap, got 'gpu'") as caught:
        Recorder(strategy="gpu", n_threads=1)
    assert isinstance(caught.value, ConfigError)


def test_pmap_insufficient_devices():
    code = """
from test_record import Recorder
try:
    Recorder(strategy="pmap", n_threads=2, n_devices=1)
except RuntimeError as exc:
    print(type(exc).__name__, exc)
"""
    printed = run_python(code)
    assert printed.startswith("EnvironmentMismatchError Strategy 'pmap' cannot be used")
    assert "expected at least 2 JAX devices in this process, got 1" in printed
    assert "devices=[CpuDevice(id=0)]" in printed
    assert "'vmap'" in printed


def test_a_second_number_of_devices_is_refused():
    code = """
from test_record import Recorder
Recorder(strategy="pmap", n_threads=2, n_devices=3)
Recorder(strategy="vmap", n_threads=2, n_devices=3)
try:
    Recorder(strategy="pmap", n_threads=2, n_devices=2)
except RuntimeError as exc:
    print(type(exc).__name__, exc)
"""
    printed = run_python(code)
    assert printed.startswith("EnvironmentMismatchError")
    assert "expected 2 CPU devices, JAX has 3" in printed


@pytest.mark.parametrize("strategy", ["vmap", "pmap"])
def test_a_jax_without_cpu_devices_is_named(strategy):
    code = f"""
from test_record import Recorder
try:
    Recorder(strategy={strategy!r}, n_threads=2)
except RuntimeError as exc:
    print(type(exc).__name__, exc)
"""
    printed = run_python(code, JAX_PLATFORMS="nonsense")
    assert printed.startswith("EnvironmentMismatchError JAX has no CPU device")
    assert "JAX_PLATFORMS" in printed


@pytest.mark.parametrize("strategy", ["vmap", "pmap"])
def test_missing_jax_is_an_import_error_before_any_work(strategy):
    code = f"""
import sys
sys.modules["jax"] = None
from test_record import Recorder
try:
    Recorder(strategy={strategy!r}, n_threads=2)
except ImportError as exc:
    print(type(exc).__name__, exc)
"""
    printed = run_python(code)
    assert printed.startswith(f"MissingDependencyError Strategy '{strategy}' cannot be used")
    assert "pip install jax" in printed


def test_sequential_and_auto_need_no_jax():
    code = """
import sys
sys.modules["jax"] = None
import logging
from test_record import Recorder, digest, fifty_blocks, record
record.JAX_START_SECONDS = 0
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
sequential = Recorder(strategy="sequential", n_threads=2).record(fifty_blocks())
auto = Recorder(strategy="auto", n_threads=2).record(fifty_blocks())
assert digest(sequential) == digest(auto)
"""
    printed = run_python(code)
    assert "chose 'sequential' for 50 blocks: it needs JAX, and JAX does not import" in printed


def test_importing_record_does_not_import_jax():
    assert run_python("import sys, phasic_mpi.record; print('jax' in sys.modules)") == "False"


@pytest.mark.parametrize(
    ("n_threads", "n_blocks", "start_seconds", "chosen", "reason"),
    [
        (4, 50, 1.0, "sequential", "ends before JAX has started"),
        (1, 50, 0.0, "sequential", "one thread"),
        (4, 1, 0.0, "sequential", "one block"),
        (4, 50, 0.0, "vmap", "4 threads, one JAX device"),
    ],
)
def test_auto_logs_what_it_chose_and_why(
    monkeypatch, caplog, n_threads, n_blocks, start_seconds, chosen, reason
):
    ffi = pytest.importorskip("phasic_mpi.ffi")
    one_device = ffi.cpu_devices()[:1]
    monkeypatch.setattr(ffi, "cpu_devices", lambda: one_device)
    monkeypatch.setattr(record, "JAX_START_SECONDS", start_seconds)
    blocks = fifty_blocks()[:n_blocks]
    with caplog.at_level(logging.INFO, logger="phasic_mpi"):
        traces = Recorder(strategy="auto", n_threads=n_threads).record(blocks)
    assert f"chose '{chosen}'" in caplog.text
    assert reason in caplog.text
    expected = Recorder(strategy="sequential", n_threads=1).record(blocks)
    assert digest(traces) == digest(expected)


def test_auto_can_be_settled_for_all_batches_at_once(monkeypatch, caplog):
    blocks = fifty_blocks()
    cost = record._costs(blocks).sum()
    all_work = record.SECONDS_PER_COST * cost
    monkeypatch.setattr(record, "JAX_START_SECONDS", 0.9 * all_work)
    with caplog.at_level(logging.INFO, logger="phasic_mpi"):
        batch_alone = Recorder(strategy="auto", n_threads=2)
        batch_alone.record(blocks[:5])
        assert "chose 'sequential' for 5 blocks" in caplog.text
        caplog.clear()
        recorder = Recorder(strategy="auto", n_threads=2)
        assert recorder.prepare(len(blocks), cost) in ("vmap", "pmap")
        recorder.record(blocks[:5])
    assert caplog.text.count("chose") == 1


def test_auto_chooses_pmap_with_two_devices():
    code = """
import logging, sys
from test_record import Recorder, fifty_blocks, record
record.JAX_START_SECONDS = 0
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
Recorder(strategy="auto", n_threads=2, n_devices=2).record(fifty_blocks())
"""
    assert "chose 'pmap' for 50 blocks: 2 threads, 2 JAX devices" in run_python(code)


@pytest.mark.parametrize("strategy", ["sequential", "vmap"])
def test_damaged_blocks_are_all_named_and_nothing_is_kept(strategy):
    good = fifty_blocks()[:5]
    blocks = [good[0], damaged_block("ab" * 32, 7), *good[1:], damaged_block("cd" * 32, 9)]
    recorder = Recorder(strategy=strategy, n_threads=4)
    with pytest.raises(RecordError) as caught:
        recorder.record(blocks)
    assert not isinstance(caught.value, RecordingCancelledError)
    text = str(caught.value)
    assert text.startswith("2 of 7 blocks could not be recorded")
    for index, key in ((1, "abababababab"), (6, "cdcdcdcdcdcd")):
        sizes = f"({blocks[index].n_vertices} vertices, {blocks[index].n_edges} edges)"
        assert f"block {key} {sizes}: row pointer or column out of range" in text
    assert good[0].key[:12] not in text
    assert f"strategy={strategy}" in text
    assert recorder._store.size == 0
    # The recorder is still of use.
    assert recorder.n_done == 7
    assert len(recorder.record(good)) == 5


def test_a_broken_batched_call_is_a_record_error_and_leaks_no_handles(monkeypatch):
    ffi = pytest.importorskip("phasic_mpi.ffi")
    real = ffi.record_vmap
    monkeypatch.setattr(ffi, "record_vmap", lambda rows, **options: real(rows + 7, **options))
    recorder = Recorder(strategy="vmap", n_threads=2)
    with pytest.raises(RecordError, match="The batched JAX call failed") as caught:
        recorder.record(fifty_blocks())
    assert "no block store has id" in str(caught.value)
    assert recorder._store.size == 0


@pytest.mark.parametrize("strategy", ["sequential", "vmap"])
def test_cancel_from_another_thread_stops_a_large_block(strategy):
    blocks = [random_block(20_000, seed=1)] * 3  # seconds of work each
    recorder = Recorder(strategy=strategy, n_threads=2)
    caught: list[BaseException] = []

    def work() -> None:
        try:
            recorder.record(blocks)
        except BaseException as exc:
            caught.append(exc)

    worker = threading.Thread(target=work)
    worker.start()
    while recorder.max_concurrency == 0:
        time.sleep(0.01)
    time.sleep(0.1)
    began = time.monotonic()
    recorder.cancel()
    worker.join(timeout=30)
    assert time.monotonic() - began < 1
    assert [type(exc) for exc in caught] == [RecordingCancelledError]
    assert "3 of 3 blocks were not recorded" in str(caught[0])
    assert recorder._store.size == 0


@pytest.mark.parametrize("strategy", ["sequential", "vmap"])
def test_a_cancelled_recorder_stays_cancelled(strategy):
    recorder = Recorder(strategy=strategy, n_threads=2)
    recorder.cancel()
    with pytest.raises(RecordingCancelledError, match="50 of 50 blocks"):
        recorder.record(fifty_blocks())
    assert recorder._store.size == 0


@pytest.mark.parametrize("strategy", record.STRATEGIES[:3])
def test_no_blocks_give_no_traces(strategy):
    recorder = Recorder(strategy=strategy, n_threads=2)
    assert recorder.record([]) == []
    assert (recorder.n_done, recorder.n_total) == (0, 0)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"strategy": "vmap", "n_threads": 0}, "got n_threads=0"),
        ({"strategy": "pmap", "n_threads": 1, "n_devices": 0}, "n_devices=0"),
        ({"strategy": "sequential", "n_threads": 1, "n_devices": 2}, "expected no number"),
    ],
)
def test_options_that_cannot_be_followed_are_refused(options, problem):
    with pytest.raises(ConfigError, match=problem):
        Recorder(**options)


def test_error_classes_are_the_built_in_ones_that_callers_expect():
    assert issubclass(EnvironmentMismatchError, RuntimeError)
    assert issubclass(MissingDependencyError, ImportError)
    assert issubclass(RecordError, RuntimeError)
