"""``docs/file_formats.md`` lists what is in a file just written, no more and no less."""

import re
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from phasic_mpi import hdf5
from phasic_mpi.graph_io import save_graph
from phasic_mpi.models import build_model
from phasic_mpi.quantities import Request, quantities
from phasic_mpi.record import Recorder
from phasic_mpi.results import Results, to_hdf5
from phasic_mpi.scc import condense
from phasic_mpi.store import TraceStore, all_segments
from phasic_mpi.trace_io import save_trace
from tests.launch import ROOT
from tests.recording import record_alone

PAGE = (ROOT / "docs" / "file_formats.md").read_text()
GRAPH = build_model("structured-coalescent", n=5, islands=2)


def write_graph(directory: Path) -> Path:
    save_graph(GRAPH, directory / "graph.h5")
    return directory / "graph.h5"


def write_trace(directory: Path) -> Path:
    save_trace(record_alone(GRAPH), directory / "trace.h5")
    return directory / "trace.h5"


def write_segment(directory: Path) -> Path:
    traces = Recorder(strategy="sequential", n_threads=1).record(condense(GRAPH).distinct)
    TraceStore(directory, rank=0, local_rank=0, local_size=1).keep(traces)
    return all_segments(directory)[0]


def write_results(directory: Path) -> Path:
    request = Request(
        n_moments=2,
        points={"pdf": (1.0,), "cdf": (1.0,), "survival": (1.0,), "quantile": (0.5,)},
        covariance=True,
        gradient=True,
    )
    names = {"parameter_names": ("a", "b"), "reward_names": ("x", "y", "z")}
    asked = quantities(request, n_parameters=2, n_rewards=3, has_rewards=True, **names)
    values = {quantity.name: np.zeros((4, *quantity.shape)) for quantity in asked}
    path = directory / "results.h5"
    path.write_bytes(to_hdf5(Results(np.zeros((4, 2)), asked, values, **names)))
    return path


def documented(filetype: str) -> tuple[list[int], dict[str, tuple[str, int]]]:
    """Version of a file type on the page; dtype and number of dimensions of its datasets."""
    version, section = re.findall(
        rf"(?s)`{re.escape(filetype)}` ([\d.]+)\n(.*?)(?=\n## |\Z)", PAGE
    )[0]
    datasets = {}
    for names, dtypes, shapes in re.findall(r"(?m)^\| (`.*?`) \| ([^|]*) \| ([^|]*) \|", section):
        names = re.findall(r"`(\w+)`", names)
        each_dtype = dtypes.strip().split(", ")
        each_shape = shapes.strip().split(", ")
        for index, name in enumerate(names):
            listed = len(each_dtype) > 1
            dtype = each_dtype[index] if listed else each_dtype[0]
            datasets[name] = (dtype, 1 if listed else len(each_shape))
    return [int(part) for part in version.split(".")], datasets


@pytest.mark.parametrize(
    ("filetype", "write"),
    [
        ("phasic_mpi.graph", write_graph),
        ("phasic_mpi.trace", write_trace),
        ("phasic_mpi.segment", write_segment),
        ("phasic_mpi.results", write_results),
    ],
)
def test_the_page_lists_every_dataset(
    tmp_path: Path, filetype: str, write: Callable[[Path], Path]
) -> None:
    path = write(tmp_path)
    version, datasets = documented(filetype)
    with h5py.File(path) as file:
        found = {name: (data.dtype.str, data.ndim) for name, data in file.items()}
        assert file.attrs["filetype"] == filetype
        assert file.attrs["version"].tolist() == version
    names = {"int32": "<i4", "int64": "<i8", "float64": "<f8", "S64": "|S64", "S32": "|S32"}
    assert found == {name: (names[dtype], ndim) for name, (dtype, ndim) in datasets.items()}


def test_the_page_describes_the_envelope(tmp_path: Path) -> None:
    path = write_trace(tmp_path)
    image = path.read_bytes()
    assert image[:10] == b"PHASICMPI\x00" == hdf5.MAGIC
    length = int.from_bytes(image[12:16], "little")
    for name in re.findall(r"`(\w+)`", PAGE.split("header: JSON with ")[1].split(" |")[0]):
        assert f'"{name}"'.encode() in image[16 : 16 + length]


def test_the_page_lists_the_fields_of_graphs_in_json() -> None:
    section = PAGE.split("## Graph (JSON)")[1].split("\n## ")[0]
    listed = {
        name
        for row in re.findall(r"(?m)^\| (`.*?`) \|", section)
        for name in re.findall(r"`(\w+)`", row)
    }
    assert set(GRAPH.serialize()) <= listed
    assert {"vertex_indices", "constant_edges", "dyn_ordering"} <= listed
