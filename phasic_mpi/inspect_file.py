"""What a graph, trace or cache file holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phasic_mpi import hdf5, manifest, results, segment, trace_io
from phasic_mpi.display import Table, size
from phasic_mpi.graph import PhaseTypeGraph
from phasic_mpi.graph_io import load_graph
from phasic_mpi.scc import condense
from phasic_mpi.trace import EliminationTrace

_SHOWN_TRACES = 20


def describe(path: Path) -> dict[str, Any]:
    """Facts about a file of any kind that this package reads; JSON-able.

    Raises:
        PhasicMpiError: The file is damaged, or of no such kind.
        OSError: The file cannot be read.
    """
    facts: dict[str, Any] = {"file": str(path), "bytes": path.stat().st_size}
    filetype = hdf5.read_header(path).filetype if hdf5.has_header(path) else "graph"
    if filetype == trace_io.FILETYPE:
        return facts | {"kind": "trace"} | _describe_trace(path)
    if filetype == results.FILETYPE:
        return facts | {"kind": "results"} | hdf5.check(path).summary
    if filetype == manifest.FILETYPE:
        return facts | {"kind": "manifest"} | hdf5.check(path).summary
    if filetype == segment.FILETYPE:
        return facts | {"kind": "cache segment"} | _describe_segment(path)
    return facts | {"kind": "graph"} | _describe_graph(path)


def tables(facts: dict[str, Any]) -> list[Table]:
    """The facts as tables."""
    main = Table(f"{facts['file']}: {facts['kind']}", "", "")
    rest = []
    for name, value in facts.items():
        if name in ("file", "kind"):
            continue
        if name == "component_sizes":
            histogram = Table("Component sizes", "vertices", "components")
            for sizes, count in value.items():
                histogram.add(sizes, f"{count:,}")
            rest.append(histogram)
        elif name == "traces":
            rest.append(_trace_list(value))
        else:
            main.add(name.removeprefix("n_").replace("_", " "), _text(name, value))
    return [main, *rest]


def _text(name: str, value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(value)
    if isinstance(value, str):
        return value
    return size(value) if name.endswith("bytes") else f"{value:,}"


def _describe_graph(path: Path) -> dict[str, Any]:
    graph = load_graph(path)
    condensation = condense(graph)
    return {
        "n_vertices": graph.n_vertices,
        "n_transient": condensation.vertex.size,
        "n_constant_edges": graph.edge_source.size,
        "n_parameterised_edges": graph.param_source.size,
        "n_self_loops": condensation.n_self_loops,
        "n_parameters": graph.n_parameters,
        "state_length": graph.state_length,
        "n_components": condensation.n_blocks,
        "n_distinct_blocks": len(condensation.distinct),
        **_names(graph),
        "component_sizes": _histogram(condensation.block_ptr),
    }


def _describe_trace(path: Path) -> dict[str, Any]:
    trace = trace_io.load_trace(path)
    return {
        "n_vertices": trace.n_vertices,
        "n_transient": trace.n_transient,
        "n_edges": trace.n_edges,
        "n_parameters": trace.n_parameters,
        "state_length": trace.states.shape[1],
        "n_components": trace.n_blocks,
        "n_distinct_blocks": trace.n_patterns,
        "nnz(L+U)": trace.n_entries,
        "operations_per_mean": trace.n_operations(),
        "memory_bytes": trace.nbytes,
        "memory_bytes_per_theta": 8 * trace.n_slots,
        **_names(trace),
        "component_sizes": _histogram(trace.block_ptr),
    }


def _names(holder: PhaseTypeGraph | EliminationTrace) -> dict[str, list[str]]:
    """Names of parameters, states and rewards, where there are some."""
    kinds = ("parameter_names", "state_names", "reward_names")
    return {kind: list(getattr(holder, kind)) for kind in kinds if getattr(holder, kind)}


def _describe_segment(path: Path) -> dict[str, Any]:
    traces = segment.read(path).values()
    return {
        "n_traces": len(traces),
        "nnz(L+U)": sum(trace.n_entries for trace in traces),
        "traces": [segment.entry_of(trace)._asdict() for trace in traces],
    }


def _trace_list(entries: list[dict[str, Any]]) -> Table:
    table = Table("Largest traces", "block", "vertices", "edges", "nnz(L+U)")
    largest = sorted(entries, key=lambda entry: -entry["n_entries"])
    for entry in largest[:_SHOWN_TRACES]:
        counts = (entry["n_vertices"], entry["n_edges"], entry["n_entries"])
        table.add(entry["key"][:16], *(f"{count:,}" for count in counts))
    return table


def _histogram(block_ptr: NDArray[np.int64]) -> dict[str, int]:
    """Components by size, in classes between powers of two."""
    sizes = np.diff(block_ptr)
    classes, counts = np.unique(np.frexp(sizes.astype(np.float64))[1] - 1, return_counts=True)
    return {
        (str(2**c) if c == 0 else f"{2**c}-{2 ** (c + 1) - 1}"): int(count)
        for c, count in zip(classes.tolist(), counts.tolist(), strict=True)
    }
