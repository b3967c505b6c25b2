"""Traces left where they were recorded, and moments of blocks divided between ranks."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from phasic_mpi import _core, distributed, manifest, pipeline
from phasic_mpi import comm as mpi
from phasic_mpi.comm import Comm
from phasic_mpi.distributed import Asked
from phasic_mpi.errors import StageError
from phasic_mpi.evaluate import moments
from phasic_mpi.graph import PhaseTypeGraph
from phasic_mpi.models import build_model
from phasic_mpi.pipeline import Settings
from phasic_mpi.trace_io import save_trace
from tests.recording import record_alone

pytestmark = pytest.mark.mpi

GRAPHS = {
    "islands": (build_model("structured-coalescent", n=9, islands=3), [[1.0, 0.3], [1.0, 5.0]]),
    "one component, cut": (build_model("sir", sizes=[11, 11], waning=1), [[1.5, 1.0, 0.5]]),
    "components of one vertex": (build_model("kingman-spectrum", n=9), [[1.0]]),
}


def leave(comm: Comm, path: Path, graph: PhaseTypeGraph) -> pipeline.RunResult:
    """Records without gathering; the manifest is ``path / "m.h5"``."""
    settings = Settings(strategy="sequential", cache_dir=path / "cache", gather=False)
    return pipeline.run(comm, lambda: graph, settings, output=path / "m.h5")


def asked(graph: PhaseTypeGraph, theta: list[list[float]]) -> Asked:
    reward = np.random.default_rng(3).uniform(size=graph.n_vertices)
    return Asked(np.array(theta), reward)


@pytest.mark.parametrize("name", GRAPHS)
def test_nothing_is_gathered_and_the_manifest_leads_to_the_same_trace_file(
    comm: Comm, shared_path: Path, name: str
) -> None:
    graph = GRAPHS[name][0]
    for n_recorded in (True, False):  # a second run finds everything in the caches
        result = leave(comm, shared_path, graph)
        assert result.trace is None
        if comm.rank == 0:
            assert result.report.gathered_bytes == 0
            assert (result.report.n_recorded > 0) == (n_recorded and "one vertex" not in name)
            save_trace(manifest.load_trace(shared_path / "m.h5"), shared_path / "found.h5")
            save_trace(record_alone(graph), shared_path / "expected.h5")
            files = [(shared_path / f"{kind}.h5").read_bytes() for kind in ("found", "expected")]
            assert files[0] == files[1]


@pytest.mark.parametrize("name", GRAPHS)
def test_divided_moments_have_the_bits_of_one_process(
    comm: Comm, shared_path: Path, name: str
) -> None:
    graph, theta = GRAPHS[name]
    leave(comm, shared_path, graph)
    report, found = distributed.moments(
        comm, shared_path / "m.h5", lambda read: asked(read, theta), 3
    )
    what = asked(graph, theta)
    assert np.array_equal(found, moments(record_alone(graph), what.theta, 3, what.reward))
    assert (report.n_theta, len(report.compute_seconds)) == (len(theta), comm.size)


@pytest.mark.parametrize("n_threads", [1, 2, 5])
def test_threads_of_ranks_leave_no_bit_different(
    comm: Comm, shared_path: Path, monkeypatch: pytest.MonkeyPatch, n_threads: int
) -> None:
    graph = build_model("structured-coalescent", n=24, islands=4)
    trace = record_alone(graph)
    assert _core.FactorPlan(trace.core(), np.unique(trace.edge_slot)).n_in_supernodes > 1
    leave(comm, shared_path, graph)
    monkeypatch.setenv("NPROC", str(n_threads))
    what = asked(graph, [[1.0, 0.5], [2.0, 0.1]])
    _, found = distributed.moments(comm, shared_path / "m.h5", lambda _: what, 2)
    assert np.array_equal(found, moments(trace, what.theta, 2, what.reward))


def test_ranks_hold_no_more_than_their_share(comm: Comm, shared_path: Path) -> None:
    graph = GRAPHS["islands"][0]
    leave(comm, shared_path, graph)
    made = manifest.load(shared_path / "m.h5")
    condensation = distributed.condense(made.graph)
    steps = distributed._steps(made, condensation, comm, 1)
    held = sum(step.layer.n_entries for step in steps if step.layer is not None)
    assert sum(mpi.collect(comm, held)) == record_alone(graph).n_entries
    if comm.size > 1:
        assert held < 0.75 * record_alone(graph).n_entries


def test_an_illegal_theta_ends_all_ranks_with_one_error(comm: Comm, shared_path: Path) -> None:
    graph = GRAPHS["islands"][0]
    leave(comm, shared_path, graph)
    with pytest.raises(StageError, match="expected a finite weight of at least 0") as caught:
        distributed.moments(
            comm, shared_path / "m.h5", lambda read: asked(read, [[1.0, 1.0], [1.0, -1.0]]), 1
        )
    digest = hashlib.sha256(str(caught.value).encode()).hexdigest()
    assert len(set(mpi.collect(comm, digest))) == 1


def test_a_missing_segment_ends_all_ranks_with_one_error(comm: Comm, shared_path: Path) -> None:
    graph = GRAPHS["islands"][0]
    leave(comm, shared_path, graph)
    if comm.rank == 0:
        for path in (shared_path / "cache").rglob("*.h5"):
            path.unlink()
    mpi.collect(comm, None)
    with pytest.raises(StageError, match="segment that a manifest needs cannot be used"):
        distributed.moments(comm, shared_path / "m.h5", lambda read: asked(read, [[1, 1]]), 1)


def test_a_cache_that_cannot_be_written_leaves_no_manifest(
    comm: Comm, shared_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("phasic_mpi.store.files.write_atomically", refuse)
    with pytest.raises(StageError, match="Traces are not in the cache"):
        leave(comm, shared_path, GRAPHS["islands"][0])
    assert not (shared_path / "m.h5").exists()
