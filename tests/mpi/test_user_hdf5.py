"""A hostile HDF5 file on the first rank is the same error on all ranks."""

from collections.abc import Sequence
from pathlib import Path

import h5py
import pytest

from phasic_mpi import comm as mpi
from phasic_mpi import pipeline, user_hdf5
from phasic_mpi.comm import Comm
from phasic_mpi.errors import StageError
from phasic_mpi.graph_io import columns, load_graph
from phasic_mpi.models import build_model
from phasic_mpi.pipeline import Settings
from tests import children

pytestmark = pytest.mark.mpi


def write_graph(path: Path) -> None:
    with h5py.File(path, "w") as file:
        for name, column in columns(build_model("kingman", n=4)).items():
            file[name] = column


def link_states(path: Path) -> None:
    with h5py.File(path, "a") as file:
        del file["states"]
        file["states"] = h5py.ExternalLink("/etc/passwd", "/states")


@pytest.mark.parametrize(
    ("program", "problem"),
    [
        (None, "'states': expected a dataset in this file, got a link"),
        (children.program(children.CRASHES), "the process was ended by SIGSEGV"),
        (children.program(children.SLEEPS), "of an answer within 1 s, got 0"),
        (children.program("os.write(1, bytes(99))"), "got one of kind b'\\x00' and 0 bytes"),
    ],
)
def test_what_a_file_does_to_hdf5_is_one_error_on_all_ranks(
    comm: Comm,
    shared_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    program: Sequence[str] | None,
    problem: str,
) -> None:
    path = shared_path / "graph.h5"
    if comm.rank == 0:
        write_graph(path)
    if program is None:
        if comm.rank == 0:
            link_states(path)
    else:
        monkeypatch.setattr(user_hdf5, "_PROGRAM", program)
    if "within 1 s" in problem:
        monkeypatch.setattr(user_hdf5, "SECONDS", 1)
    settings = Settings(strategy="sequential", cache_dir=shared_path / "cache")
    with pytest.raises(StageError) as caught:
        pipeline.run(comm, lambda: load_graph(path), settings)
    assert caught.value.stage == "load"
    assert list(caught.value.reports) == [0]
    assert f"StoreError: {path} cannot be read" in str(caught.value)
    assert problem in str(caught.value)
    assert mpi.collect(comm, str(caught.value)) == [str(caught.value)] * comm.size
