import re
import threading
from pathlib import Path

import numpy as np
import pytest

from phasic_mpi import comm as mpi
from phasic_mpi import config, files, pipeline, segment, store
from phasic_mpi.comm import Comm
from phasic_mpi.errors import RecordError, RunStoppedError, StageError
from phasic_mpi.evaluate import moments
from phasic_mpi.models import build_model
from phasic_mpi.pipeline import Hooks, RunResult, Settings, record_trace
from phasic_mpi.record import Recorder
from phasic_mpi.scc import SccBlock, condense
from phasic_mpi.trace import EliminationTrace
from tests.graphs import chain_of_sccs
from tests.recording import record_alone

pytestmark = pytest.mark.mpi

GRAPH = build_model("structured-coalescent", n=9, islands=3)
N_DISTINCT = 8


def run(comm: Comm, cache: Path, **options) -> RunResult:
    settings = Settings(strategy="sequential", cache_dir=cache, **options.pop("settings", {}))
    return pipeline.run(comm, lambda: GRAPH, settings, **options)


def assert_same_trace(actual: EliminationTrace, expected: EliminationTrace) -> None:
    scalars, arrays = expected.parts()
    actual_scalars, actual_arrays = actual.parts()
    assert actual_scalars == scalars
    for name, array in arrays.items():
        np.testing.assert_array_equal(actual_arrays[name], array, err_msg=name)


def test_pmap_multi_machine(comm: Comm, shared_path: Path) -> None:
    """Ranks take the place of the owner's machines: each block is recorded on exactly one."""
    result = run(comm, shared_path / "cache", settings={"min_size": 1})
    recorded = [len(store.segments(path)) for path in store.rank_directories(shared_path / "cache")]
    assert len(recorded) == comm.size
    assert min(recorded) >= 1, "every rank has recorded something"
    if comm.rank == 0:
        assert result.report.n_recorded == N_DISTINCT
        assert_same_trace(result.trace, record_alone(GRAPH))
    else:
        assert result.trace is None


def test_a_script_gets_the_trace_on_every_rank(comm: Comm, shared_path: Path) -> None:
    graph = GRAPH if comm.rank == 0 else None
    trace = record_trace(graph, comm=comm.mpi, cache_dir=shared_path)
    assert_same_trace(trace, record_alone(GRAPH))
    np.testing.assert_array_equal(
        moments(trace, [1.0, 0.5], 3), moments(record_alone(GRAPH), [1.0, 0.5], 3)
    )


def test_a_second_run_records_nothing(comm: Comm, shared_path: Path) -> None:
    first = run(comm, shared_path)
    again = run(comm, shared_path)
    if comm.rank == 0:
        assert (first.report.n_recorded, first.report.n_cache_hits) == (N_DISTINCT, 0)
        assert (again.report.n_recorded, again.report.n_cache_hits) == (0, N_DISTINCT)
        assert_same_trace(again.trace, first.trace)


def test_a_run_finds_what_another_number_of_ranks_has_cached(comm: Comm, shared_path: Path) -> None:
    if comm.rank == 0:
        blocks = condense(GRAPH).distinct
        traces = Recorder(strategy="sequential", n_threads=1).record(blocks)
        for rank, part in enumerate(np.array_split(np.arange(len(traces)), 5)):
            cache = store.TraceStore(shared_path, rank=rank, local_rank=rank, local_size=5)
            cache.keep([traces[index] for index in part])
    mpi.collect(comm, None)
    result = run(comm, shared_path)
    if comm.rank == 0:
        assert (result.report.n_recorded, result.report.n_cache_hits) == (0, N_DISTINCT)


@pytest.mark.parametrize("round_bytes", [1, 5000])
def test_the_trace_does_not_depend_on_the_size_of_rounds(
    comm: Comm, shared_path: Path, round_bytes: int
) -> None:
    result = run(comm, shared_path, settings={"round_bytes": round_bytes, "min_size": 1})
    if comm.rank == 0:
        assert_same_trace(result.trace, record_alone(GRAPH))


def test_equal_blocks_are_recorded_once(comm: Comm, shared_path: Path) -> None:
    one = chain_of_sccs(1, 30, seed=3)
    inner = one.edge_target < one.n_vertices - 1
    source, target = one.edge_source[inner], one.edge_target[inner]
    copies = [30 * copy for copy in range(6)]
    graph = one.from_arrays(
        n_vertices=6 * 30 + 2,
        edge_source=np.concatenate(
            [source + shift for shift in copies] + [[1 + s] for s in copies]
        ),
        edge_target=np.concatenate(
            [target + shift for shift in copies] + [[31 + s] for s in copies]
        ),
        edge_weight=np.ones(6 * (source.size + 1)),
        start_target=[1],
        start_weight=[1.0],
    )
    settings = Settings(strategy="sequential", cache_dir=shared_path)
    report = pipeline.run(comm, lambda: graph, settings).report
    if comm.rank == 0:
        assert (report.n_blocks, report.n_distinct, report.n_recorded) == (6, 1, 1)


def test_parts_of_large_blocks_are_spread_over_ranks_cached_and_joined(
    comm: Comm, shared_path: Path
) -> None:
    graph = build_model("sir", sizes=[11, 11], waning=1)
    settings = Settings(strategy="sequential", cache_dir=shared_path)
    first, again = (pipeline.run(comm, lambda: graph, settings) for _ in range(2))
    if comm.rank == 0:
        report = first.report
        assert (report.n_distinct, report.n_cut) == (1, 1)
        assert report.n_recorded == report.n_parts > 20
        assert report.balance < 1.2
        assert (again.report.n_recorded, again.report.n_cache_hits) == (0, report.n_parts)
        for result in (first, again):
            assert_same_trace(result.trace, record_alone(graph))


def test_rank_0_divides_and_joins_on_the_cores_that_others_leave_idle(
    comm: Comm, shared_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config, "_set_here", {})
    monkeypatch.setattr(config, "core_mask", lambda: list(range(12)))
    monkeypatch.setenv("NPROC", "")
    monkeypatch.delenv("NPROC")
    given = []

    def spy_on(name: str) -> None:
        real = getattr(pipeline, name)

        def spy(*args, n_threads: int):
            given.append(n_threads)
            return real(*args, n_threads=n_threads)

        monkeypatch.setattr(pipeline, name, spy)

    spy_on("divide")
    spy_on("Assembly")
    run(comm, shared_path)
    assert given == ([12, 12] if comm.rank == 0 else [])


def test_rank_0_records_its_blocks_before_all_others_have_theirs(
    comm: Comm, shared_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    has_recorded = threading.Event()
    record, pack = Recorder.record, pipeline.payload.pack_blocks

    def record_and_tell(self, blocks):
        traces = record(self, blocks)
        has_recorded.set()
        return traces

    def pack_late(blocks):
        assert has_recorded.wait(30)
        return pack(blocks)

    monkeypatch.setattr(Recorder, "record", record_and_tell)
    monkeypatch.setattr(pipeline.payload, "pack_blocks", pack_late)
    result = run(comm, shared_path, settings={"min_size": 1})
    if comm.rank == 0:
        assert_same_trace(result.trace, record_alone(GRAPH))


def test_blocks_of_one_vertex_are_never_sent(comm: Comm, shared_path: Path) -> None:
    graph = build_model("kingman", n=40)
    settings = Settings(strategy="sequential", cache_dir=shared_path)
    result = pipeline.run(comm, lambda: graph, settings, theta=np.array([[1.0]]))
    if comm.rank == 0:
        assert (result.report.payload_bytes, result.report.n_recorded) == (0, 0)
        np.testing.assert_allclose(result.moments, [[2 * (1 - 1 / 40)]], rtol=1e-14)


def test_a_failed_cache_write_is_counted_and_the_run_goes_on(
    comm: Comm, shared_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "write_atomically", refuse)
    result = run(comm, shared_path, settings={"min_size": 1})
    if comm.rank == 0:
        assert result.report.n_failed_cache_writes == comm.size
        assert_same_trace(result.trace, record_alone(GRAPH))


def test_a_damaged_cache_entry_is_named_and_removed_and_a_rerun_records_it(
    comm: Comm, shared_path: Path
) -> None:
    run(comm, shared_path)
    (path, *_) = store.all_segments(shared_path)
    if comm.rank == 0:
        image = bytearray(path.read_bytes())
        image[-1] ^= 1
        path.write_bytes(image)
    mpi.collect(comm, None)
    with pytest.raises(RuntimeError, match=re.escape(path.name)) as caught:
        run(comm, shared_path)
    assert "SHA-256" in str(caught.value)
    assert not path.exists()
    result = run(comm, shared_path)
    if comm.rank == 0:
        assert result.report.n_recorded >= 1
        assert_same_trace(result.trace, record_alone(GRAPH))


def test_a_cache_with_other_content_under_the_same_key_is_refused(
    comm: Comm, shared_path: Path
) -> None:
    block = condense(GRAPH).distinct[0]
    if comm.rank == 0:
        (trace,) = Recorder(strategy="sequential", n_threads=1).record([block])
        forged = type(trace)(**{**vars(trace), "check": "0" * 32})
        store.TraceStore(shared_path, rank=0, local_rank=0, local_size=1).keep([forged])
    mpi.collect(comm, None)
    with pytest.raises(RuntimeError, match="another block under the same key") as caught:
        run(comm, shared_path)
    assert block.key in str(caught.value)
    assert block.check in str(caught.value)


def test_a_cache_directory_that_cannot_be_made_is_a_permission_error(
    comm: Comm, shared_path: Path
) -> None:
    if comm.rank == 0:
        (shared_path / "file").touch()
    mpi.collect(comm, None)
    with pytest.raises(PermissionError, match="cache directory cannot be made"):
        run(comm, shared_path / "file" / "cache")


def test_a_cache_that_others_can_write_to_is_refused(comm: Comm, shared_path: Path) -> None:
    if comm.rank == 0:
        shared_path.chmod(0o777)
    mpi.collect(comm, None)
    with pytest.raises(PermissionError, match="mode 0777"):
        run(comm, shared_path)


def test_a_block_that_cannot_be_recorded_is_named_on_every_rank(
    comm: Comm, shared_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = SccBlock("4f1c" * 16, "0" * 32, np.array([0, 1, 2]), np.array([1, 7], dtype=np.int32))
    record = Recorder.record

    def record_bad(self: Recorder, blocks: list[SccBlock]) -> object:
        return record(self, [bad] if comm.rank == comm.size - 1 else blocks)

    monkeypatch.setattr(Recorder, "record", record_bad)
    expected = r"block 4f1c4f1c4f1c \(2 vertices, 2 edges\)"
    with pytest.raises(RuntimeError, match=expected) as caught:
        run(comm, shared_path, settings={"min_size": 1})
    assert caught.value.reports[comm.size - 1].kind == RecordError.__name__


def test_a_stop_commits_what_is_recorded_and_a_rerun_goes_on_from_there(
    comm: Comm, shared_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "BATCH_SECONDS", 0.0)
    keep = store.TraceStore.keep
    kept = []

    def keep_slowly(self: store.TraceStore, traces: list) -> None:
        keep(self, traces)
        kept.append(len(traces))
        pipeline.time.sleep(0.1)

    monkeypatch.setattr(store.TraceStore, "keep", keep_slowly)
    with pytest.raises(RunStoppedError, match="run it again"):
        hooks = Hooks(stop_requested=lambda: len(kept) >= 1)
        run(comm, shared_path, hooks=hooks, settings={"min_size": 1})
    n_kept = sum(mpi.collect(comm, sum(kept)))
    held = sum(len(segment.read(path)) for path in store.all_segments(shared_path))
    assert 1 <= n_kept == held < N_DISTINCT
    result = run(comm, shared_path)
    if comm.rank == 0:
        assert result.report.n_cache_hits == n_kept
        assert_same_trace(result.trace, record_alone(GRAPH))


@pytest.mark.parametrize("stage", ["load", "stitch", "evaluate"])
def test_a_stop_between_recordings_ends_all_ranks_too(
    comm: Comm, shared_path: Path, stage: str
) -> None:
    reached = []

    def note(name: str, *_: int) -> None:
        reached.append(name)

    hooks = Hooks(
        on_progress=note, stop_requested=lambda: comm.rank == comm.size - 1 and stage in reached
    )
    with pytest.raises(RunStoppedError, match=rf"stage '{stage}', by a signal to ranks"):
        run(comm, shared_path, hooks=hooks)


def test_theta_of_another_length_is_refused_before_anything_is_recorded(
    comm: Comm, shared_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"expected theta of shape \(n_theta, 2\), got \(1, 3\)"):
        run(comm, shared_path, theta=np.ones((1, 3)))
    assert store.all_segments(shared_path) == []


def test_an_output_that_cannot_be_written_is_refused_before_anything_is_recorded(
    comm: Comm, shared_path: Path
) -> None:
    with pytest.raises(PermissionError, match="cannot be written"):
        run(comm, shared_path / "cache", output=shared_path / "missing" / "trace.h5")
    assert not (shared_path / "cache").exists() or not store.all_segments(shared_path / "cache")


def test_traces_that_do_not_fit_are_refused_with_both_numbers(
    comm: Comm, shared_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline.config, "available_memory", lambda: 100)
    with pytest.raises(RuntimeError, match="bytes to be free, got 100"):
        run(comm, shared_path)


def test_strategies_that_do_not_exist_are_refused_on_every_rank(
    comm: Comm, shared_path: Path
) -> None:
    with pytest.raises(ValueError, match="expected one of auto, sequential, vmap, pmap, got 'x'"):
        pipeline.run(comm, lambda: GRAPH, Settings(strategy="x", cache_dir=shared_path))


def test_a_rank_that_fails_leaves_no_other_rank_with_a_trace(comm: Comm, shared_path: Path) -> None:
    """The error of rank 0 alone, such as a graph that cannot be read, is every rank's."""

    def load() -> None:
        raise OSError(2, "No such file", "graph.json")

    with pytest.raises(StageError, match=r"graph\.json"):
        pipeline.run(comm, load, Settings(strategy="sequential", cache_dir=shared_path))
