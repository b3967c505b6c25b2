"""Whether what a reader has accepted is valid, found out without the package's own checks."""

from __future__ import annotations

import hashlib
import json
import math
import re
import struct
from collections.abc import Iterator
from typing import Any, NoReturn

import numpy as np

from phasic_mpi.graph import PhaseTypeGraph
from phasic_mpi.scc import BLOCK_SCHEMA, PART_SCHEMA, SccBlock

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}\Z")
_INT32 = 1 << 31
_FIELDS = {"n_vertices", "state_length", "param_length", "vertex_indices", "weight_mode"}
_FIELDS |= {"states", "edges", "constant_edges", "param_edges", "start_edges", "start_param_edges"}
_FIELDS |= {"dyn_ordering", "parameter_names", "state_names", "rewards"}


def graph_faults(graph: PhaseTypeGraph) -> Iterator[str]:
    """What no valid graph has."""
    n, p = len(graph.states), graph.param_coefficient.shape[1]
    shapes = {
        "states": ("int32", (n, graph.states.shape[1])),
        "param_coefficient": ("float64", (graph.param_source.size, p)),
        "start_param_coefficient": ("float64", (graph.start_param_target.size, p)),
        "edge_weight": ("float64", (graph.edge_source.size,)),
        "start_weight": ("float64", (graph.start_target.size,)),
        "rewards": ("float64", (len(graph.reward_names), n)),
    }
    for name, sources in (("edge_target", graph.edge_source), ("param_target", graph.param_source)):
        shapes[name] = ("int32", (sources.size,))
    for name, (dtype, shape) in shapes.items():
        array = getattr(graph, name)
        if (str(array.dtype), array.shape) != (dtype, shape):
            yield f"{name} is {array.dtype}{array.shape}, not {dtype}{shape}"
        if dtype == "float64" and not all(map(math.isfinite, array.ravel().tolist())):
            yield f"{name} holds a number that is not finite"
    for name in ("edge_source", "edge_target", "param_source", "param_target", "start_target"):
        if not all(0 < vertex < n for vertex in getattr(graph, name).tolist()):
            yield f"{name} holds a vertex that is not there, or the start"
    if not all(0 < vertex < n for vertex in graph.start_param_target.tolist()):
        yield "start_param_target holds a vertex that is not there, or the start"
    if min([*graph.edge_weight.tolist(), *graph.start_weight.tolist()], default=0) < 0:
        yield "a constant weight is negative"
    if math.fsum(graph.start_weight.tolist()) > 1 + 2e-9:
        yield "initial probabilities sum to more than 1"
    if not graph.start_target.size and not graph.start_param_target.size:
        yield "there is no initial probability"
    yield from _name_faults(graph)


def _name_faults(graph: PhaseTypeGraph) -> Iterator[str]:
    sizes = {"parameter_names": graph.param_coefficient.shape[1]}
    sizes["state_names"] = graph.states.shape[1]
    sizes["reward_names"] = len(graph.rewards)
    for field, size in sizes.items():
        names = getattr(graph, field)
        if names and len(names) != size:
            yield f"{field}: {len(names)} names for {size}"
        if len(set(names)) < len(names) or not all(map(_NAME.match, names)):
            yield f"{field} holds an illegal name or one twice"


def document_faults(text: bytes, graph: PhaseTypeGraph) -> Iterator[str]:
    """What in a JSON file is not strict JSON with each field once, or is not in the graph."""
    try:
        document = json.loads(
            text.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse_constant
        )
    except (ValueError, RecursionError) as exc:
        yield f"accepted, and Python's parser says: {exc}"
        return
    if unknown := set(document) - _FIELDS:
        yield f"accepted with unknown fields {unknown}"
    counts = (len(graph.states), graph.states.shape[1], graph.param_coefficient.shape[1])
    names = ("n_vertices", "state_length", "param_length")
    if counts != tuple(document[name] for name in names) or any(
        type(document[name]) is not int for name in names
    ):
        yield f"counts are {[document[name] for name in names]}, the graph has {counts}"
    written = {
        "states": graph.states,
        "edges": _rows(graph.edge_source, graph.edge_target, graph.edge_weight),
        "param_edges": _rows(graph.param_source, graph.param_target, graph.param_coefficient),
        "start_edges": _rows(graph.start_target, graph.start_weight),
        "start_param_edges": _rows(graph.start_param_target, graph.start_param_coefficient),
        "rewards": graph.rewards,
    }
    document["edges"] = document["edges"] + document.get("constant_edges", [])
    document["rewards"] = list(document.get("rewards", {}).values())
    for name, table in written.items():
        if not _same(document[name], table):
            yield f"{name} is not what the file says"


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands twice in an object")
    return found


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _rows(*columns: np.ndarray) -> np.ndarray:
    return np.column_stack(columns)


def _same(rows: Any, table: np.ndarray) -> bool:
    """Whether a table of the file holds these numbers, and nothing but numbers."""
    if len(rows) != len(table) and not (len(rows) == 0 and table.size == 0):
        return False
    for row, numbers in zip(rows, table.tolist(), strict=False):
        if len(row) != len(numbers) or any(type(x) not in (int, float) for x in row):
            return False
        if any(float(x) != y for x, y in zip(row, numbers, strict=True)):
            return False
    return True


def can_be_absorbed(graph: PhaseTypeGraph) -> bool:
    """Whether every vertex has no edges or reaches one without, by edges that can be taken."""
    n = len(graph.states)
    into: list[list[int]] = [[] for _ in range(n)]
    has_edges = [False] * n
    constant = zip(graph.edge_source.tolist(), graph.edge_target.tolist(), strict=True)
    linear = zip(graph.param_source.tolist(), graph.param_target.tolist(), strict=True)
    live = [*(graph.edge_weight != 0).tolist(), *graph.param_coefficient.any(axis=1).tolist()]
    for (source, target), lives in zip([*constant, *linear], live, strict=True):
        has_edges[source] = True
        if lives and source != target:
            into[target].append(source)
    reached = [vertex for vertex in range(1, n) if not has_edges[vertex]]
    seen = set(reached)
    while reached:
        for source in into[reached.pop()]:
            if source not in seen:
                seen.add(source)
                reached.append(source)
    return len(seen) == n - 1


def block_faults(block: SccBlock) -> Iterator[str]:
    """What no valid block or part has; the key is computed again."""
    row_ptr, col, n = block.row_ptr.tolist(), block.col.tolist(), len(block.row_ptr) - 1
    if n < 1 or row_ptr[0] != 0 or row_ptr[-1] != len(col) or row_ptr != sorted(row_ptr):
        yield "row_ptr does not ascend from 0 to the number of columns"
        return
    own_end = n - block.n_boundary
    if min(block.n_below, block.n_boundary) < 0 or block.n_below >= own_end:
        yield "a part has no vertices of its own"
    for row in range(n):
        columns = col[row_ptr[row] : row_ptr[row + 1]]
        if columns != sorted(set(columns)) or row in columns:
            yield f"columns of row {row} do not ascend, or one is the diagonal"
        if columns and not 0 <= min(columns) <= max(columns) < n:
            yield f"row {row} has a column out of range"
        if row >= own_end and any(column >= own_end for column in columns):
            yield f"row {row} of the boundary leads to the boundary"
        if row < block.n_below and any(column < row for column in columns):
            yield f"row {row} below leads back"
    sizes = [n, len(col)] + [block.n_below, block.n_boundary] * block.is_part
    schema = PART_SCHEMA if block.is_part else BLOCK_SCHEMA
    content = schema.encode() + struct.pack(f"<{len(sizes)}q", *sizes)
    content += struct.pack(f"<{n + 1}q", *row_ptr) + struct.pack(f"<{len(col)}i", *col)
    if hashlib.sha256(content).hexdigest() != block.key:
        yield "the key is that of another block"
