"""Diagrams of boxes and arrows: laid out by Graphviz, drawn by matplotlib."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from phasic_mpi.pictures import figures
from phasic_mpi.pictures.graphviz import POINTS_PER_INCH, Curve, Layout, Link, lay_out

# All lengths are in points, but for the letters of a line.
_NODE_FONT, _EDGE_FONT, _TEXT_FONT = 11.0, 9.0, 11.0
_PADDING = (8.0, 6.0)
_LEAST_NODE = (36.0, 26.0)
_FRAME_GAP = 3.0
_LABEL_GAP = 3.0
_LINE_SPACING = 1.25
_LEGEND_LETTERS = 70
_MARGIN = 14.0
_SAMPLE = (34.0, 11.0)
_TITLE_HEIGHT, _LEGEND_GAP, _LEGEND_HEIGHT = 26.0, 10.0, 19.0

_ARROW = "#444444"


@dataclass(frozen=True)
class NodeStyle:
    """How a node looks; ``shape`` is a box style of matplotlib, or "ellipse"."""

    shape: str = "square"
    fill: str = "white"
    line: str = "black"
    text: str = "black"
    double: bool = False


@dataclass(frozen=True)
class Node:
    """A node with the text in it, at least ``width`` wide."""

    label: str
    style: NodeStyle
    width: float = 0.0


@dataclass(frozen=True)
class Edge:
    """An arrow between two nodes, by their numbers, with the text beside it."""

    source: int
    target: int
    label: str = ""
    dashed: bool = False


START = NodeStyle("ellipse", fill="#222222", text="white")
STATE = NodeStyle("round")
ABSORBING = NodeStyle("square", fill="#FBE6B8", line="#8A5A00", double=True)
COMPONENT = NodeStyle("square", fill="#CFE3F1", line=figures.BLUE)
CLUSTER = NodeStyle("round", fill="#E3EFF7", line=figures.BLUE)


@dataclass(frozen=True)
class Diagram:
    """What is drawn.

    Attributes:
        nodes: Nodes.
        edges: Arrows.
        clusters: Numbers of the nodes that lie in an area together.
        depths: How far down each node belongs, see :func:`phasic_mpi.pictures.graphviz.lay_out`.
        legend: Explanations, each of the look of a node or an arrow.
    """

    nodes: list[Node]
    edges: list[Edge]
    clusters: list[list[int]]
    depths: list[float]
    legend: list[tuple[str, NodeStyle | Edge]]


def save_diagram(path: Path, diagram: Diagram, title: str) -> None:
    """Lays out a diagram and draws it.

    Args:
        path: File to write.
        diagram: What to draw.
        title: Line above it.

    Raises:
        MissingDependencyError: A library is not installed.
    """
    sizes = [_node_size(node) for node in diagram.nodes]
    links = [Link(edge.source, edge.target, _label_widths(edge)) for edge in diagram.edges]
    layout = lay_out(sizes, links, diagram.clusters, diagram.depths)
    legend = _legend_lines(diagram)
    texts = [_text_width(text, _TEXT_FONT) + _SAMPLE[0] for text, _ in legend]
    width = max(layout.size[0], _text_width(title, _TEXT_FONT), *texts)
    legend_height = _LEGEND_GAP + _LEGEND_HEIGHT * len(legend)
    height = layout.size[1] + _TITLE_HEIGHT + legend_height
    inches = ((width + 2 * _MARGIN) / POINTS_PER_INCH, (height + 2 * _MARGIN) / POINTS_PER_INCH)

    def draw(figure: Any) -> None:
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        left = (layout.size[0] - width) / 2 - _MARGIN
        low = -legend_height - _MARGIN
        axes.set_xlim(left, left + width + 2 * _MARGIN)
        axes.set_ylim(low, low + height + 2 * _MARGIN)
        place = (left + _MARGIN, layout.size[1] + 12)
        axes.text(*place, title, fontsize=_TEXT_FONT, parse_math=False)
        _draw_layout(axes, diagram, layout, sizes)
        for row, (text, style) in enumerate(legend, 1):
            middle = -_LEGEND_GAP - _LEGEND_HEIGHT * (row - 0.5)
            _draw_legend(axes, left + _MARGIN, middle, text, style)

    figures.save_figure(path, inches, draw, layout="none")


def _draw_layout(
    axes: Any, diagram: Diagram, layout: Layout, sizes: Sequence[tuple[float, float]]
) -> None:
    for left, low, right, high in layout.clusters.tolist():
        centre = ((left + right) / 2, (low + high) / 2)
        _draw_box(axes, centre, (right - left, high - low), CLUSTER)
    for edge, curve in zip(diagram.edges, layout.curves, strict=True):
        _draw_curve(axes, curve, dashed=edge.dashed)
        if curve.label is not None:
            _draw_text(axes, curve.label, edge.label, _EDGE_FONT)
    for node, centre, size in zip(diagram.nodes, layout.centres.tolist(), sizes, strict=True):
        gap = 2 * _FRAME_GAP if node.style.double else 0.0
        _draw_box(axes, centre, (size[0] - gap, size[1] - gap), node.style)
        _draw_text(axes, centre, node.label, _NODE_FONT, color=node.style.text)


def _draw_box(
    axes: Any, centre: Sequence[float], size: tuple[float, float], style: NodeStyle
) -> None:
    patches = figures.load_matplotlib().patches
    look = {"facecolor": style.fill, "edgecolor": style.line, "linewidth": 1.0}
    if style.shape == "ellipse":
        axes.add_patch(patches.Ellipse(centre, *size, **look))
        return
    radius = min(8.0, size[1] / 3)
    form = f"round,pad=0,rounding_size={radius}" if style.shape == "round" else "square,pad=0"
    for gap in (_FRAME_GAP, 0.0) if style.double else (0.0,):
        width, height = size[0] + 2 * gap, size[1] + 2 * gap
        corner = (centre[0] - width / 2, centre[1] - height / 2)
        look["facecolor"] = "white" if gap else style.fill
        axes.add_patch(patches.FancyBboxPatch(corner, width, height, boxstyle=form, **look))


def _draw_curve(axes: Any, curve: Curve, *, dashed: bool) -> None:
    matplotlib = figures.load_matplotlib()
    codes = [matplotlib.path.Path.MOVETO, *[matplotlib.path.Path.CURVE4] * (len(curve.points) - 1)]
    line = matplotlib.path.Path(curve.points, codes)
    style = (0, (4, 3)) if dashed else "solid"
    axes.add_patch(
        matplotlib.patches.PathPatch(line, fill=False, edgecolor=_ARROW, linestyle=style)
    )
    end = curve.points[-1]
    along = curve.tip - end
    across = 0.35 * np.array([-along[1], along[0]])
    corners = [curve.tip, end + across, end - across]
    axes.add_patch(matplotlib.patches.Polygon(corners, facecolor=_ARROW, linewidth=0))


def _draw_text(
    axes: Any, centre: Sequence[float] | Any, text: str, size: float, *, color: str = "black"
) -> None:
    axes.text(
        *centre,
        text,
        fontsize=size,
        color=color,
        ha="center",
        va="center",
        linespacing=_LINE_SPACING,
        parse_math=False,
    )


def _legend_lines(diagram: Diagram) -> list[tuple[str, NodeStyle | Edge | None]]:
    """Lines of the legend; those that continue another show no look."""
    lines: list[tuple[str, NodeStyle | Edge | None]] = []
    for text, style in diagram.legend:
        first, *more = textwrap.wrap(text, _LEGEND_LETTERS, break_long_words=False)
        lines += [(first, style), *((line, None) for line in more)]
    return lines


def _draw_legend(
    axes: Any, left: float, middle: float, text: str, style: NodeStyle | Edge | None
) -> None:
    width, height = _SAMPLE[0] - 8, _SAMPLE[1]
    if isinstance(style, NodeStyle):
        gap = 2 * _FRAME_GAP if style.double else 0.0
        _draw_box(axes, (left + width / 2, middle), (width - gap, height - gap / 2), style)
    elif style is not None:
        points = np.linspace((left, middle), (left + width - 7, middle), 4)
        tip = np.array([left + width, middle])
        _draw_curve(axes, Curve(points, tip, None), dashed=style.dashed)
    axes.text(left + _SAMPLE[0], middle, text, fontsize=_TEXT_FONT, va="center", parse_math=False)


def _node_size(node: Node) -> tuple[float, float]:
    lines = node.label.split("\n")
    gap = 2 * _FRAME_GAP if node.style.double else 0.0
    width = max(_text_width(line, _NODE_FONT) for line in lines) + 2 * _PADDING[0]
    if node.style.shape == "ellipse":
        width *= 1.3
    height = len(lines) * _LINE_SPACING * _NODE_FONT + 2 * _PADDING[1]
    return max(width, node.width, _LEAST_NODE[0]) + gap, max(height, _LEAST_NODE[1]) + gap


def _label_widths(edge: Edge) -> tuple[float, ...]:
    lines = edge.label.split("\n") if edge.label else []
    return tuple(_text_width(line, _EDGE_FONT) + 2 * _LABEL_GAP for line in lines)


def _text_width(text: str, size: float) -> float:
    textpath = figures.load_matplotlib().textpath
    font = figures.load_matplotlib().font_manager.FontProperties(family=figures.FONT, size=size)
    width, _, _ = textpath.text_to_path.get_text_width_height_descent(text, font, ismath=False)
    return float(width)
