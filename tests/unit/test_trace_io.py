from pathlib import Path

import h5py
import numpy as np
import pytest

from phasic_mpi import files, hdf5, trace_io
from phasic_mpi.errors import StoreError
from phasic_mpi.evaluate import moments
from phasic_mpi.models import build_model
from phasic_mpi.trace import EliminationTrace
from phasic_mpi.trace_io import load_trace, save_trace
from tests.graphs import chain_of_sccs
from tests.recording import record_alone

GRAPHS = {
    "coalescent": build_model("structured-coalescent", n=6, islands=2),
    "kingman": build_model("kingman", n=5),
    "constant": chain_of_sccs(3, 8, seed=1),
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
        assert file.attrs["version"].tolist() == [1, 0]
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
    files.write_atomically(tmp_path / "graph.h5", image)
    with pytest.raises(StoreError, match=r"type phasic_mpi\.trace, got phasic_mpi\.graph"):
        load_trace(tmp_path / "graph.h5")


def test_a_trace_with_a_right_digest_and_wrong_indices_is_refused(tmp_path: Path) -> None:
    scalars, arrays = record_alone(GRAPHS["coalescent"]).parts()
    arrays["edge_slot"] = arrays["edge_slot"][::-1].copy()
    save_trace(EliminationTrace.from_parts(scalars, arrays), tmp_path / "trace.h5")
    with pytest.raises(StoreError, match="edge_slot"):
        load_trace(tmp_path / "trace.h5")


def test_a_loaded_trace_replays_like_the_recorded_one(tmp_path: Path) -> None:
    trace = record_alone(GRAPHS["coalescent"])
    save_trace(trace, tmp_path / "trace.h5")
    loaded = load_trace(tmp_path / "trace.h5")
    np.testing.assert_array_equal(moments(loaded, [1, 0.5], 4), moments(trace, [1, 0.5], 4))
