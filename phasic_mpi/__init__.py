"""Parallel recording of elimination traces for phase-type distributions, and their replay.

Importing the package starts no MPI, imports no JAX and changes no environment variable.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phasic_mpi.errors import MissingDependencyError

if TYPE_CHECKING:
    from phasic_mpi.builder import build_graph
    from phasic_mpi.evaluate import Replay, expected_rewards, expected_visits, moments
    from phasic_mpi.graph import PhaseTypeGraph
    from phasic_mpi.graph_io import load_graph, save_graph
    from phasic_mpi.models import build_model
    from phasic_mpi.pipeline import record_trace
    from phasic_mpi.replay.program import Program, load_program
    from phasic_mpi.trace import BlockTrace, EliminationTrace
    from phasic_mpi.trace_io import load_trace, save_trace

__all__ = [
    "BlockTrace",
    "EliminationTrace",
    "PhaseTypeGraph",
    "Program",
    "Replay",
    "__version__",
    "build_graph",
    "build_model",
    "expected_rewards",
    "expected_visits",
    "load_graph",
    "load_program",
    "load_trace",
    "moments",
    "record_trace",
    "save_graph",
    "save_trace",
]

if find_spec(f"{__name__}._core") is None:
    raise MissingDependencyError(
        "The compiled core of phasic_mpi is not beside its Python modules",
        problem="expected a file _core.*.so: Python has found the sources before the installed "
        "package",
        context={"path": Path(__file__).parent},
        resolution="run from another directory, or install the sources in place: pip install -e .",
    )

__version__ = version("phasic_mpi")

# Each name is imported when it is first used: `python -m phasic_mpi --help` needs none of them.
_MODULE_OF = {
    "BlockTrace": "trace",
    "EliminationTrace": "trace",
    "PhaseTypeGraph": "graph",
    "Program": "replay.program",
    "Replay": "evaluate",
    "build_graph": "builder",
    "build_model": "models",
    "expected_rewards": "evaluate",
    "expected_visits": "evaluate",
    "load_graph": "graph_io",
    "load_program": "replay.program",
    "load_trace": "trace_io",
    "moments": "evaluate",
    "record_trace": "pipeline",
    "save_graph": "graph_io",
    "save_trace": "trace_io",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
