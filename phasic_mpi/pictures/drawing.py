"""A graph or trace file -> a picture of it, of the kind that suits its size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from phasic_mpi import hdf5, log, trace_io
from phasic_mpi.errors import ConfigError
from phasic_mpi.graph_io import load_graph
from phasic_mpi.pictures import KINDS, components, spy, states
from phasic_mpi.pictures.diagrams import save_diagram
from phasic_mpi.pictures.structure import Structure
from phasic_mpi.record import Recorder
from phasic_mpi.scc import condense
from phasic_mpi.stitch import stitch
from phasic_mpi.trace import EliminationTrace

# What a state diagram can show so that people can read it.
MOST_STATES = 80
MOST_EDGES = 200

# The same for a box per component.
MOST_COMPONENTS = 60
MOST_LINKS = 150
MOST_LEVELS = 25


class Subject:
    """A graph or trace file, read; a graph is recorded when its trace is asked for.

    Args:
        path: The file.

    Raises:
        PhasicMpiError: It is damaged, or neither a graph nor a trace.
        OSError: It cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self._trace: EliminationTrace | None = None
        if hdf5.has_header(path) and hdf5.read_header(path).filetype == trace_io.FILETYPE:
            self._trace = trace_io.load_trace(path)
            self.structure = Structure.of_trace(self._trace)
        else:
            self._graph = load_graph(path)
            self._condensation = condense(self._graph)
            self.structure = Structure.of_graph(self._graph, self._condensation)

    @property
    def title(self) -> str:
        """Name and sizes."""
        shown = self.structure
        components = "component" if shown.n_blocks == 1 else "components"
        return (
            f"{self.name}: {shown.n_vertices:,} vertices, {shown.n_edges:,} edges, "
            f"{shown.n_blocks:,} strongly connected {components}"
        )

    def trace(self) -> EliminationTrace:
        """The trace, recorded in this process if the file is a graph."""
        if self._trace is None:
            recorder = Recorder(strategy="sequential", n_threads=1)
            traces = recorder.record(self._condensation.distinct)
            by_key = {trace.key: trace for trace in traces}
            self._trace = stitch(self._graph, self._condensation, by_key)
        return self._trace


def draw(
    subject: Subject, path: Path, *, kind: str = "auto", theta: NDArray[np.float64] | None = None
) -> None:
    """Draws a graph or a trace.

    Args:
        subject: What to draw.
        path: File to write: ``.png``, ``.svg`` or ``.pdf``.
        kind: ``states``, ``components``, ``spy``, or ``auto``, which logs its choice.
        theta: ``float64[n_parameters]``, for rates as numbers in a state diagram; None for
            formulas.

    Raises:
        ConfigError: An unknown kind, a state diagram of too many states or edges, or a theta where
            no rates are drawn.
        EvaluationError: A rate is negative or not finite at ``theta``.
    """
    if kind == "auto":
        kind, reason = choose(subject.structure)
        log.get_logger().info("Kind 'auto': chose '%s': %s", kind, reason)
    _check(kind, subject, theta)
    if kind == "states":
        save_diagram(path, states.diagram(subject.structure, theta), subject.title)
    elif kind == "components":
        _draw_components(subject, path)
    else:
        spy.save_spy(path, spy.rasterise(subject.trace()), subject.title)


def choose(structure: Structure) -> tuple[str, str]:
    """The kind of picture that suits a graph, and why."""
    sizes = f"{structure.n_vertices:,} vertices and {structure.n_edges:,} edges"
    limits = f"{MOST_STATES} and {MOST_EDGES}"
    if _few(structure):
        return "states", f"{sizes} are at most {limits}"
    largest, n_transient = structure.largest_block, structure.vertex.size
    reason = (
        f"{sizes} are more than {limits}, and the largest component has {largest:,} of "
        f"{n_transient:,} transient vertices"
    )
    return ("spy" if 2 * largest > n_transient else "components"), reason


def _few(structure: Structure) -> bool:
    return structure.n_vertices <= MOST_STATES and structure.n_edges <= MOST_EDGES


def _draw_components(subject: Subject, path: Path) -> None:
    """A box for each component, or all of a level together; the log says when and why."""
    links = components.find_links(subject.structure)
    sizes = (subject.structure.n_blocks, links.source.size, int(links.level.max()))
    limits = (MOST_COMPONENTS, MOST_LINKS, MOST_LEVELS)
    if all(size <= limit for size, limit in zip(sizes, limits, strict=True)):
        save_diagram(path, components.diagram(links), subject.title)
        return
    log.get_logger().info(
        "Components are drawn by level: there are %d, with %d links and up to %d in a row; "
        "each has a box up to %d, %d and %d",
        *sizes,
        *limits,
    )
    components.save_levels(path, links, subject.title)


def _check(kind: str, subject: Subject, theta: NDArray[np.float64] | None) -> None:
    shown = subject.structure
    if kind not in KINDS:
        raise ConfigError(
            "The picture cannot be made",
            problem=f"expected a kind among {', '.join(KINDS)}, got {kind!r}",
            resolution="name one of these",
        )
    if kind == "states" and not _few(shown):
        raise ConfigError(
            "The state diagram cannot be drawn",
            problem=f"expected at most {MOST_STATES} vertices and {MOST_EDGES} edges, got "
            f"{shown.n_vertices:,} and {shown.n_edges:,}",
            context={"file": subject.name},
            resolution="draw components (--kind components) or the matrix (--kind spy), or a "
            "smaller graph of the same model",
        )
    if kind != "states" and theta is not None:
        raise ConfigError(
            "The picture cannot be made",
            problem=f"expected a theta for state diagrams only, got one for the kind '{kind}'",
            resolution="leave theta out: other pictures do not show rates",
        )
