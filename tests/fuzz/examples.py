"""Valid graphs that the mutations start from: small, and together with every feature of a file."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import orjson

from phasic_mpi.graph import PhaseTypeGraph
from phasic_mpi.models import build_model
from tests.graphs import chain_of_sccs, random_scc

Document = dict[str, Any]


def _written_by_phasic() -> Document:
    """All that phasic may write besides: aliases of fields, whole floats, a self-loop."""
    return {
        "states": [[0, 0], [2, 0], [1, 1], [0, 0]],
        "vertex_indices": [0, 1, 2.0, 3],
        "edges": [[2, 2, 0.5], [1, 3, 1e-3]],
        "constant_edges": [[2.0, 3.0, 1.0]],
        "start_edges": [[1, 0.75]],
        "param_edges": [[1, 2, 1.0, 0.0], [2, 1, 0.0, 2.5]],
        "start_param_edges": [[2, 0.25, 0.0]],
        "param_length": 2,
        "state_length": 2,
        "n_vertices": 4,
        "weight_mode": "linear",
        "dyn_ordering": True,
        "parameter_names": ["up", "down"],
        "state_names": ["left", "right"],
        "rewards": {"time": [0, 1, 1.0, 0], "debt": [0, -1, 2e3, 0]},
    }


@cache
def graphs() -> tuple[PhaseTypeGraph, ...]:
    """Acyclic ones, one component, several, with parameters, names and rewards and without."""
    return (
        build_model("structured-coalescent", n=3, islands=2),
        build_model("kingman-spectrum", n=4),
        build_model("mmck-queue"),
        random_scc(8, 0),
        chain_of_sccs(3, 6, 1),
        PhaseTypeGraph.from_serialized(_written_by_phasic()),
    )


@cache
def documents() -> tuple[bytes, ...]:
    """The graphs as JSON."""
    written = [
        orjson.dumps(graph.serialize(), option=orjson.OPT_SERIALIZE_NUMPY) for graph in graphs()
    ]
    return (*written, json.dumps(_written_by_phasic()).encode())
