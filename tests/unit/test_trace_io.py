from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from phasic_mpi import hdf5, trace_io
from phasic_mpi.errors import DamagedFileError, EvaluationError, StoreError
from phasic_mpi.evaluate import moments
from phasic_mpi.graph import PhaseTypeGraph
from phasic_mpi.models import build_model
from phasic_mpi.names import encode_names
from phasic_mpi.trace import EliminationTrace
from phasic_mpi.trace_io import load_trace, save_trace
from tests.graphs import chain_of_sccs
from tests.recording import record_alone


def named() -> PhaseTypeGraph:
    """Two islands with names of everything, and two rewards."""
    graph = build_model("structured-coalescent", n=4, islands=2)
    names = {"parameter_names": ["coalescence", "migration"], "state_names": ["west", "east"]}
    rewards = {"lineages": graph.states.sum(axis=1), "loss": -1.5 * graph.states[:, 0]}
    return PhaseTypeGraph.from_serialized({**graph.serialize(), **names, "rewards": rewards})


GRAPHS = {
    "coalescent": build_model("structured-coalescent", n=6, islands=2),
    "kingman": build_model("kingman", n=5),
    "constant": chain_of_sccs(3, 8, seed=1),
    "named": named(),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_a_trace_comes_back_as_it_was(tmp_path: Path, name: str) -> None:
    trace = record_alone(GRAPHS[name])
    n_bytes = save_trace(trace, tmp_path / "trace.h5")
    assert n_bytes == (tmp_path / "trace.h5").stat().st_size
    scalars, arrays = trace.parts()
    loaded_scalars, loaded_arrays = load_trace(tmp_path / "trace.h5").parts()
    assert loaded_scalars == scalars
    for key, array in arrays.items():
        np.testing.assert_array_equal(loaded_arrays[key], array)
        assert loaded_arrays[key].dtype == array.dtype


def test_equal_traces_give_equal_files(tmp_path: Path) -> None:
    for name in ("a.h5", "b.h5"):
        save_trace(record_alone(GRAPHS["coalescent"]), tmp_path / name)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_any_hdf5_reader_opens_a_trace_file(tmp_path: Path) -> None:
    trace = record_alone(GRAPHS["coalescent"])
    save_trace(trace, tmp_path / "trace.h5")
    with h5py.File(tmp_path / "trace.h5") as file:
        assert file.attrs["filetype"] == "phasic_mpi.trace"
        assert file.attrs["version"].tolist() == [1, 1]
        np.testing.assert_array_equal(file["col"][()], trace.col)


def test_a_trace_on_disk_takes_eight_bytes_per_entry_at_most(tmp_path: Path) -> None:
    graph = build_model("tandem-queue", capacity=60)
    trace = record_alone(graph)
    n_bytes = save_trace(trace, tmp_path / "trace.h5")
    assert n_bytes <= 8 * (trace.n_entries + graph.n_edges + graph.param_coefficient.size)
    assert trace.nbytes <= n_bytes


def test_every_flipped_bit_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "trace.h5"
    save_trace(record_alone(GRAPHS["kingman"]), path)
    image = path.read_bytes()
    rng = np.random.default_rng(5)
    for place in rng.integers(0, len(image), 300).tolist():
        damaged = bytearray(image)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        with pytest.raises(StoreError):
            load_trace(path)


def test_a_trace_that_was_cut_short_is_refused_with_both_sizes(tmp_path: Path) -> None:
    path = tmp_path / "trace.h5"
    save_trace(record_alone(GRAPHS["kingman"]), path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(StoreError, match=r"expected \d+ bytes of content, got \d+"):
        load_trace(path)


def test_a_trace_of_a_later_layout_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as later:
        later.setattr(trace_io, "VERSION", (2, 0))
        save_trace(record_alone(GRAPHS["kingman"]), tmp_path / "trace.h5")
    with pytest.raises(StoreError, match="by a later version of phasic_mpi"):
        load_trace(tmp_path / "trace.h5")


def test_a_file_of_another_kind_is_refused_by_name(tmp_path: Path) -> None:
    image = hdf5.encode(
        "phasic_mpi.graph", (1, 0), datasets={"x": np.zeros(1)}, attributes={}, summary={}
    )
    image.write(tmp_path / "graph.h5")
    with pytest.raises(StoreError, match=r"type phasic_mpi\.trace, got phasic_mpi\.graph"):
        load_trace(tmp_path / "graph.h5")


def test_a_trace_with_a_right_digest_and_wrong_indices_is_refused(tmp_path: Path) -> None:
    scalars, arrays = record_alone(GRAPHS["coalescent"]).parts()
    arrays["edge_slot"] = arrays["edge_slot"][::-1].copy()
    save_trace(EliminationTrace.from_parts(scalars, arrays), tmp_path / "trace.h5")
    with pytest.raises(StoreError, match="edge_slot"):
        load_trace(tmp_path / "trace.h5")


def test_names_and_rewards_of_the_graph_are_in_its_trace(tmp_path: Path) -> None:
    save_trace(record_alone(GRAPHS["named"]), tmp_path / "trace.h5")
    trace = load_trace(tmp_path / "trace.h5")
    assert trace.parameter_names == ("coalescence", "migration")
    assert trace.state_names == ("west", "east")
    assert trace.reward_names == ("lineages", "loss")
    np.testing.assert_array_equal(trace.reward("loss"), -1.5 * trace.states[:, 0])
    with pytest.raises(EvaluationError, match="expected one of lineages, loss, got 'gain'"):
        trace.reward("gain")


def write_trace(path: Path, version: tuple[int, int], left_out: list[str], **changed: Any) -> None:
    """A trace of the named graph with good digests, of whatever content."""
    trace = record_alone(GRAPHS["named"])
    scalars, arrays = trace.parts()
    for name in ("pattern_key", "parameter_names", "state_names", "reward_names"):
        arrays[name] = encode_names(scalars.pop(name))
    arrays |= changed
    datasets = {name: array for name, array in arrays.items() if name not in left_out}
    hdf5.encode(
        trace_io.FILETYPE,
        version,
        datasets=datasets,
        attributes=scalars,
        summary=trace_io.summary(trace),
    ).write(path)


def test_a_trace_of_version_1_0_has_no_names_and_no_rewards(tmp_path: Path) -> None:
    path = tmp_path / "trace.h5"
    added = ["parameter_names", "state_names", "reward_names", "rewards"]
    write_trace(path, (1, 0), added)
    trace = load_trace(path)
    assert (trace.parameter_names, trace.state_names, trace.reward_names) == ((), (), ())
    assert trace.rewards.shape == (0, trace.n_vertices)
    write_trace(path, (1, 1), added)
    with pytest.raises(StoreError, match="expected the datasets"):
        load_trace(path)


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"parameter_names": encode_names(("a",))}, "expected 2 names or none, got 1: a"),
        ({"state_names": encode_names(("a", "b c"))}, "entry 1: expected a letter or _"),
        ({"pattern_key": np.zeros(3)}, "expected byte strings in one dimension"),
        ({"rewards": np.zeros((1, 4))}, "expected float64 of shape"),
    ],
)
def test_names_that_do_not_fit_a_trace_are_refused_although_the_digest_is_right(
    tmp_path: Path, changed: dict[str, Any], problem: str
) -> None:
    write_trace(tmp_path / "trace.h5", trace_io.VERSION, [], **changed)
    with pytest.raises(DamagedFileError, match=problem):
        load_trace(tmp_path / "trace.h5")


def test_a_loaded_trace_replays_like_the_recorded_one(tmp_path: Path) -> None:
    trace = record_alone(GRAPHS["coalescent"])
    save_trace(trace, tmp_path / "trace.h5")
    loaded = load_trace(tmp_path / "trace.h5")
    np.testing.assert_array_equal(moments(loaded, [1, 0.5], 4), moments(trace, [1, 0.5], 4))
