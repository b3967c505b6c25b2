"""Strongly connected components: each as a box, or those of each topological level together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phasic_mpi.pictures import figures
from phasic_mpi.pictures.diagrams import (
    ABSORBING,
    COMPONENT,
    START,
    STATE,
    Diagram,
    Edge,
    Node,
    NodeStyle,
)
from phasic_mpi.pictures.structure import Structure

# Widths of the boxes in points: of the largest component, and of all of one level.
_WIDEST, _WIDEST_LEVEL = 288.0, 864.0

# More steps than this cannot be told apart on an axis.
_MOST_STEPS = 500

_LEGEND: list[tuple[str, NodeStyle | Edge]] = [
    ("strongly connected component, its vertices", COMPONENT),
    ("absorbing vertices", ABSORBING),
    ("edges, their number", Edge(0, 0)),
    ("possible start", Edge(0, 0, dashed=True)),
]


@dataclass(frozen=True, eq=False)
class Links:
    """Components and which follow which; the absorbing vertices together are the last one.

    Attributes:
        n_vertices: ``int64[n_blocks + 1]``, vertices of each component.
        source: ``int64[n_links]``, component that edges leave.
        target: ``int64[n_links]``, another one that they lead to.
        n_edges: ``int64[n_links]``, how many there are.
        level: ``int64[n_blocks + 1]``, links of the longest way to each component.
        start: ``int64[n_starts]``, components that the start leads to.
    """

    n_vertices: NDArray[np.int64]
    source: NDArray[np.int64]
    target: NDArray[np.int64]
    n_edges: NDArray[np.int64]
    level: NDArray[np.int64]
    start: NDArray[np.int64]


def find_links(structure: Structure) -> Links:
    """Counts the edges between each two components, and finds levels."""
    n_vertices = np.append(np.diff(structure.block_ptr), structure.n_absorbing)
    component = np.full(structure.n_vertices, structure.n_blocks, dtype=np.int64)
    component[structure.vertex] = np.repeat(np.arange(structure.n_blocks), n_vertices[:-1])
    source, target = component[structure.edge_source], component[structure.edge_target]
    outer = source != target
    pair, n_edges = np.unique(source[outer] * n_vertices.size + target[outer], return_counts=True)
    source, target = np.divmod(pair, n_vertices.size)
    return Links(
        n_vertices=n_vertices,
        source=source,
        target=target,
        n_edges=n_edges,
        level=_levels(source, target, n_vertices.size),
        start=np.unique(component[structure.start_vertex]),
    )


def _levels(
    source: NDArray[np.int64], target: NDArray[np.int64], n_components: int
) -> NDArray[np.int64]:
    """Longest paths; links are sorted by their source, and lead to later components."""
    level = [0] * n_components
    for before, after in zip(source.tolist(), target.tolist(), strict=True):
        level[after] = max(level[after], level[before] + 1)
    return np.array(level, dtype=np.int64)


def diagram(links: Links) -> Diagram:
    """A box for each component, as wide as it has vertices, below the start."""
    sizes, levels = links.n_vertices[:-1], links.level[:-1]
    per_level = np.bincount(levels, weights=sizes)
    scale = min(_WIDEST / sizes.max(), _WIDEST_LEVEL / per_level.max())
    boxes = [
        Node(f"{size:,}", STATE if size == 1 else COMPONENT, width=scale * size)
        for size in sizes.tolist()
    ]
    absorbing = Node(f"{links.n_vertices[-1]:,}", ABSORBING)
    starts = [Edge(0, 1 + component, dashed=True) for component in links.start.tolist()]
    ends = zip(links.source.tolist(), links.target.tolist(), links.n_edges.tolist(), strict=True)
    return Diagram(
        nodes=[Node("start", START), *boxes, absorbing],
        edges=starts + [Edge(1 + before, 1 + after, f"{n:,}") for before, after, n in ends],
        clusters=[],
        depths=[-1, *links.level.tolist()],
        legend=_LEGEND,
    )


def save_levels(path: Path, links: Links, title: str) -> None:
    """Draws how many components and vertices each level has, and its largest component.

    Args:
        path: File to write.
        links: The components.
        title: First line above the figure.
    """
    level, size = links.level[:-1], links.n_vertices[:-1]
    n_levels = int(level.max()) + 1
    per_step = -(-n_levels // _MOST_STEPS)
    n_steps = -(-n_levels // per_step)
    step = level // per_step
    largest = np.zeros(n_steps, dtype=np.int64)
    np.maximum.at(largest, step, size)
    edges = np.arange(n_steps + 1) * per_step
    name = "level" if per_step == 1 else f"{per_step} levels"
    panels = (
        (f"vertices\nper {name}", np.bincount(step, weights=size), figures.BLUE),
        (f"components\nper {name}", np.bincount(step), figures.GREEN),
        ("vertices of the\nlargest component", largest, figures.ORANGE),
    )

    def draw(figure: Any) -> None:
        figure.suptitle(title, fontsize="medium", parse_math=False)
        rows = figure.subplots(len(panels), sharex=True)
        for axes, (label, heights, colour) in zip(rows, panels, strict=True):
            axes.stairs(heights, edges, fill=True, color=colour)
            axes.set_ylabel(label, fontsize="small")
            axes.set_ylim(bottom=0)
            axes.yaxis.get_major_locator().set_params(integer=True)
            axes.yaxis.set_major_formatter("{x:,.0f}")
        rows[-1].set_xlim(0, edges[-1])
        rows[-1].xaxis.set_major_formatter("{x:,.0f}")
        rows[-1].set_xlabel("topological level: components on the longest way from a source")

    figures.save_figure(path, (8, 7), draw)
