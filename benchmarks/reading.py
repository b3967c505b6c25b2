"""Reading HDF5 graphs: in a child process, as files of users are, and by h5py in this process.

    python -m benchmarks.reading [--repeats 7] [name ...]

Both give the same arrays, and both check the digest of a file of ours. Checks of the graph come
after that and are not measured. CPU seconds include those of the child.
"""

from __future__ import annotations

import resource
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

import h5py
import numpy as np

from benchmarks.options import names_and_repeats
from phasic_mpi import graph_io, hdf5, user_hdf5
from phasic_mpi.datasets import NUMBERS, TEXTS
from phasic_mpi.graph import PhaseTypeGraph
from phasic_mpi.models import build_model

LAYOUTS: dict[str, dict[str, Any]] = {
    "ours": {},
    "contiguous": {},
    "chunked": {"chunks": True},
    "gzip": {"chunks": True, "compression": "gzip", "shuffle": True},
}
LIMIT = 8 << 30


def small() -> PhaseTypeGraph:
    """A coalescent."""
    return build_model("structured-coalescent", n=3, islands=2)


def large(n_vertices: int = 2_000_000, n_edges: int = 10_000_000) -> PhaseTypeGraph:
    """Random edges forward, at least one from each vertex."""
    rng = np.random.default_rng(1)
    last = n_vertices - 1
    source = rng.integers(1, last, n_edges)
    source[: last - 1] = np.arange(1, last)
    return PhaseTypeGraph.from_arrays(
        n_vertices=n_vertices,
        states=rng.integers(0, 50, (n_vertices, 4)),
        param_source=source,
        param_target=np.minimum(source + rng.integers(1, 50, n_edges), last),
        param_coefficient=rng.integers(1, 9, (n_edges, 2)),
        start_target=[1],
        start_weight=[1.0],
    )


GRAPHS: dict[str, Callable[[], PhaseTypeGraph]] = {"small": small, "large": large}


def write(graph: PhaseTypeGraph, path: Path, layout: str) -> None:
    """Writes the graph in one of :data:`LAYOUTS`."""
    if layout == "ours":
        graph_io.save_graph(graph, path)
        return
    with h5py.File(path, "w") as file:
        for name, column in graph_io.columns(graph).items():
            file.create_dataset(name, data=column, **LAYOUTS[layout] if column.size else {})


def wanted() -> dict[str, str]:
    """The columns of a graph, with the kinds of dtype that they may have."""
    names = ("parameter_names", "state_names", "reward_names")
    return {name: TEXTS if name in names else NUMBERS for name in graph_io.COLUMNS}


def by_child(path: Path, layout: str) -> Mapping[str, Any]:
    """What reading a graph does."""
    if layout == "ours":
        names = dict.fromkeys(graph_io.COLUMNS, 0)
        kind = {"filetype": graph_io.FILETYPE, "version": graph_io.VERSION}
        return user_hdf5.read_own(path, names=names, **kind)[0]
    return user_hdf5.read(path, wanted(), byte_limit=LIMIT)


def in_process(path: Path, layout: str) -> Mapping[str, Any]:
    """The same without a child: what reading a trace does."""
    if layout == "ours":
        return hdf5.read(path, filetype=graph_io.FILETYPE, version=graph_io.VERSION)[0]
    with h5py.File(path) as file:
        return {name: file[name][()] for name in wanted()}


def cpu_seconds() -> float:
    """Of this process and of its children that have ended."""
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def main() -> None:
    chosen, repeats = names_and_repeats(__doc__, GRAPHS, repeats=7)
    print("| graph | MB | layout | child, s | in process, s | child, CPU s | in process, CPU s |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as directory:
        for name in chosen:
            graph = GRAPHS[name]()
            for layout in LAYOUTS:
                path = Path(directory) / f"{name}-{layout}.h5"
                write(graph, path, layout)
                taken: list[list[float]] = [[], [], [], []]
                for _ in range(repeats):
                    for at, read in enumerate((by_child, in_process)):
                        begin, begin_cpu = time.perf_counter(), cpu_seconds()
                        arrays = read(path, layout)
                        taken[at].append(time.perf_counter() - begin)
                        taken[2 + at].append(cpu_seconds() - begin_cpu)
                        assert np.array_equal(arrays["param_target"], graph.param_target)
                        del arrays
                size = path.stat().st_size / 1e6
                path.unlink()
                row = " | ".join(f"{median(column):.3f}" for column in taken)
                print(f"| {name} | {size:.2g} | {layout} | {row} |", flush=True)


if __name__ == "__main__":
    main()
