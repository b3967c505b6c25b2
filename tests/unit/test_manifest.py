"""Manifests: what they lead to is the trace that would have been gathered, or an error."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from phasic_mpi import manifest
from phasic_mpi.errors import StoreError
from phasic_mpi.graph import PhaseTypeGraph
from phasic_mpi.manifest import Manifest
from phasic_mpi.models import build_model
from phasic_mpi.parts import divide
from phasic_mpi.record import Recorder
from phasic_mpi.scc import condense
from phasic_mpi.store import TraceStore
from tests.recording import record_alone

GRAPHS = {
    "many components": ("structured-coalescent", {"n": 9, "islands": 3}),
    "one that is cut": ("sir", {"sizes": [11, 11], "waning": 1}),
    "none of two vertices": ("kingman", {"n": 8}),
}


def kept(graph: PhaseTypeGraph, cache: Path) -> Manifest:
    """The graph recorded into a cache."""
    store = TraceStore(cache, rank=0, local_rank=0, local_size=1)
    units = divide(condense(graph).distinct).units
    for unit in units:
        store.keep(Recorder(strategy="sequential", n_threads=1).record([unit]))
    checks = {unit.key: unit.check for unit in units}
    return Manifest(graph, cache, checks, store.places(checks))


@pytest.mark.parametrize("name", GRAPHS)
def test_a_manifest_leads_to_the_trace_that_is_recorded_alone(name: str, tmp_path: Path) -> None:
    model, settings = GRAPHS[name]
    graph = build_model(model, **settings)
    manifest.save(kept(graph, tmp_path / "cache"), tmp_path / "m.h5")
    found, expected = manifest.load_trace(tmp_path / "m.h5", n_threads=2), record_alone(graph)
    for (kind, ours), theirs in zip(
        found.parts()[1].items(), expected.parts()[1].values(), strict=True
    ):
        assert np.array_equal(ours, theirs), kind
    assert found.parts()[0] == expected.parts()[0]


def test_traces_of_some_blocks_keep_no_others_in_memory(tmp_path: Path) -> None:
    store = TraceStore(tmp_path, rank=0, local_rank=0, local_size=1)
    graph = build_model("structured-coalescent", n=9, islands=3)
    blocks = condense(graph).distinct
    store.keep(Recorder(strategy="sequential", n_threads=1).record(blocks))
    checks = {block.key: block.check for block in blocks}
    made = Manifest(graph, tmp_path, checks, store.places(checks))
    whole = {trace.key: trace for trace in made.traces(blocks)}
    some = list(made.traces(blocks[:2]))
    assert [trace.key for trace in some] == [block.key for block in blocks[:2]]
    for trace in some:
        assert np.array_equal(trace.col, whole[trace.key].col)
        assert trace.col.base is None
        assert trace.order.base is None


def test_equal_manifests_are_equal_bytes(tmp_path: Path) -> None:
    made = kept(build_model("structured-coalescent", n=7, islands=2), tmp_path / "cache")
    for name in ("a.h5", "b.h5"):
        assert manifest.save(made, tmp_path / name) == (tmp_path / name).stat().st_size
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_a_segment_that_is_gone_is_named(tmp_path: Path) -> None:
    made = kept(build_model("structured-coalescent", n=7, islands=2), tmp_path)
    gone = sorted(set(made.places.values()))[0]
    (tmp_path / gone).unlink()
    with pytest.raises(StoreError, match="expected it to be there") as caught:
        manifest.block_traces(made, condense(made.graph).distinct)
    assert caught.value.context["path"] == tmp_path / gone


def test_a_segment_that_holds_something_else_is_named(tmp_path: Path) -> None:
    made = kept(build_model("structured-coalescent", n=7, islands=2), tmp_path)
    first, second = list(dict.fromkeys(made.places.values()))[:2]
    (tmp_path / second).replace(tmp_path / first)
    with pytest.raises(StoreError, match="which it does not hold"):
        manifest.block_traces(made, condense(made.graph).distinct)


def test_a_manifest_of_another_graph_is_refused(tmp_path: Path) -> None:
    made = kept(build_model("structured-coalescent", n=7, islands=2), tmp_path)
    other = replace(made, graph=build_model("structured-coalescent", n=8, islands=2))
    with pytest.raises(StoreError, match="manifest is of another recording"):
        manifest.block_traces(other, condense(other.graph).distinct)


@pytest.mark.parametrize(
    "place", ["../../etc/passwd", "rank-00000/x.h5", "/rank-00000/" + "0" * 64]
)
def test_a_manifest_leads_nowhere_but_into_its_cache(place: str, tmp_path: Path) -> None:
    made = kept(build_model("structured-coalescent", n=7, islands=2), tmp_path / "cache")
    lured = replace(made, places=dict.fromkeys(made.places, place))
    manifest.save(lured, tmp_path / "m.h5")
    with pytest.raises(StoreError, match="expected a segment of a rank's directory"):
        manifest.load(tmp_path / "m.h5")


def test_traces_that_could_not_be_kept_have_no_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("phasic_mpi.files.write_atomically", refuse)
    with pytest.raises(StoreError, match="could not be written"):
        kept(build_model("structured-coalescent", n=7, islands=2), tmp_path)
