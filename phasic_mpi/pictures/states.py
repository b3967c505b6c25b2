"""The state diagram of a small graph: states, rates, and components as clusters."""

from __future__ import annotations

import math
import textwrap
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from phasic_mpi.errors import EvaluationError
from phasic_mpi.names import describe_state, describe_vertex, theta_labels
from phasic_mpi.pictures.diagrams import (
    ABSORBING,
    CLUSTER,
    START,
    STATE,
    Diagram,
    Edge,
    Node,
    NodeStyle,
)
from phasic_mpi.pictures.structure import Structure
from phasic_mpi.theta import describe_theta

# Letters of a line; longer rates and states go over several.
_RATE_LINE, _STATE_LINE = 24, 36

# Of longer states the legend has the names, and the vertices have numbers only.
_MOST_NAMED = 3


def diagram(structure: Structure, theta: NDArray[np.float64] | None) -> Diagram:
    """The state diagram: node ``v`` is vertex ``v``.

    Args:
        structure: What to draw.
        theta: ``float64[n_parameters]`` to write rates as numbers, None for formulas.

    Raises:
        EvaluationError: An edge whose rate is negative or not finite at ``theta``.
    """
    names = structure.state_names
    in_legend = len(names) > _MOST_NAMED
    labels = _state_labels(structure.states, () if in_legend else names)
    transient = set(structure.vertex.tolist())
    nodes = [Node("start", START)]
    for vertex, label in enumerate(labels[1:], 1):
        nodes.append(Node(label, STATE if vertex in transient else ABSORBING))
    edges = []
    merged = merged_edges(structure)
    for (source, target), terms in merged.items():
        if theta is None:
            label = rate_label(terms, structure.parameter_names)
        else:
            label = _number(structure, terms, theta, (source, target))
        is_sure = source == 0 and label == "1"
        edges.append(Edge(source, target, "" if is_sure else label, dashed=source == 0))
    blocks = [structure.vertex[begin:end].tolist() for begin, end in pairwise(structure.block_ptr)]
    clusters = [members for members in blocks if len(members) > 1]
    return Diagram(
        nodes=nodes,
        edges=edges,
        clusters=clusters,
        depths=_depths(structure.n_vertices, list(merged)),
        legend=_legend(names if in_legend else (), has_clusters=bool(clusters)),
    )


def _legend(names: Sequence[str], *, has_clusters: bool) -> list[tuple[str, NodeStyle | Edge]]:
    lines: list[tuple[str, NodeStyle | Edge]] = []
    if names:
        lines.append((f"state ({', '.join(names)})", STATE))
    lines.append(("absorbing", ABSORBING))
    if has_clusters:
        lines.append(("strongly connected component", CLUSTER))
    return [*lines, ("initial probability (1 if not labelled)", Edge(0, 0, dashed=True))]


def merged_edges(structure: Structure) -> dict[tuple[int, int], NDArray[np.float64]]:
    """Constant and coefficients, ``float64[1 + n_parameters]``, of all edges from u to v together.

    Edges of the start, vertex 0, come first.
    """
    n_start = structure.start_vertex.size
    source = np.concatenate([np.zeros(n_start, np.int32), structure.edge_source])
    target = np.concatenate([structure.start_vertex, structure.edge_target])
    terms = np.vstack(
        [
            _terms(structure.start_constant, structure.start_coefficient),
            _terms(structure.constant, structure.coefficient),
        ]
    )
    merged: dict[tuple[int, int], NDArray[np.float64]] = {}
    for pair, row in zip(zip(source.tolist(), target.tolist(), strict=True), terms, strict=True):
        merged[pair] = merged[pair] + row if pair in merged else row
    return merged


def _terms(constant: NDArray[np.float64], coefficient: NDArray[np.float64]) -> NDArray[np.float64]:
    """One row of constant and coefficients per edge: those of either kind lack the other."""
    out = np.zeros((constant.size + len(coefficient), 1 + coefficient.shape[1]))
    out[: constant.size, 0] = constant
    out[constant.size :, 1:] = coefficient
    return out


def _depths(n_vertices: int, edges: list[tuple[int, int]]) -> list[float]:
    """Number of jumps from the start to each transient vertex; absorbing ones are below all."""
    targets: dict[int, list[int]] = {}
    for source, target in edges:
        targets.setdefault(source, []).append(target)
    depth = [math.inf] * n_vertices
    depth[0] = 0
    frontier = [0]
    while frontier:
        reached = {target for vertex in frontier for target in targets[vertex]}
        new = [v for v in sorted(reached) if v in targets and depth[v] == math.inf]
        for vertex in new:
            depth[vertex] = depth[frontier[0]] + 1
        frontier = new
    return depth


def rate_label(terms: NDArray[np.float64], names: Sequence[str] = ()) -> str:
    """A rate as a formula, such as ``0.5 + 3 coalescence``, or with ``theta_1`` without names."""
    symbols = ["", *theta_labels(names, terms.size - 1)]
    parts = []
    for value, symbol in zip(terms.tolist(), symbols, strict=True):
        if value:
            size = "" if abs(value) == 1 and symbol else f"{abs(value):.4g}"
            parts.append(f"{'-' if value < 0 else '+'} {f'{size} {symbol}'.strip()}")
    text = " ".join(parts) or "0"
    text = text.removeprefix("+ ") if text.startswith("+") else text.replace("- ", "-", 1)
    return "\n".join(textwrap.wrap(text, _RATE_LINE, break_long_words=False))


def _number(
    structure: Structure,
    terms: NDArray[np.float64],
    theta: NDArray[np.float64],
    edge: tuple[int, int],
) -> str:
    rate = float(terms[0] + terms[1:] @ theta)
    if not np.isfinite(rate) or rate < 0:
        source, target = (
            describe_vertex(vertex, structure.states, structure.state_names) for vertex in edge
        )
        raise EvaluationError(
            "The rates cannot be drawn",
            problem=f"expected a finite weight of at least 0 from {source} to {target}, got {rate}",
            context={"theta": describe_theta(theta, structure.parameter_names)},
            resolution="use parameters at which every edge has a rate",
        )
    return f"{rate:.4g}"


def _state_labels(states: NDArray[np.int32], names: Sequence[str]) -> list[str]:
    """Text of each vertex: its state, and its number where the state does not tell it."""
    texts = [describe_state(row, names) if row else "" for row in states.tolist()]
    count = Counter(texts[1:])
    labels = []
    for vertex, text in enumerate(texts):
        lines = textwrap.wrap(text, _STATE_LINE, break_long_words=False)
        labels.append("\n".join(lines if count[text] == 1 else [*lines, f"vertex {vertex}"]))
    return labels
