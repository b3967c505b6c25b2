"""The matrix in block-triangular form, and what its elimination fills in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phasic_mpi.pictures import figures
from phasic_mpi.trace import EliminationTrace

# Up to so many vertices every entry is a square of its own; from there on squares are counted.
MOST_SHARP = 512

# Entries that are placed at a time.
_CHUNK = 1 << 22

# More frames than this would hide the entries.
_MOST_FRAMES = 100


@dataclass(frozen=True, eq=False)
class Raster:
    """Entries of the matrix in elimination order, counted in squares.

    Attributes:
        n_vertices: Rows of the matrix.
        inner: ``int64[n, n]``, entries that are edges within components.
        outer: ``int64[n, n]``, entries that are edges between components.
        factor: ``int64[n, n]``, entries of L and U: the inner ones and those that fill in.
        frames: First row and number of rows of each component of more than one vertex.
    """

    n_vertices: int
    inner: NDArray[np.int64]
    outer: NDArray[np.int64]
    factor: NDArray[np.int64]
    frames: list[tuple[int, int]]


def rasterise(trace: EliminationTrace, n_squares: int = MOST_SHARP) -> Raster:
    """Counts the entries of a trace in ``n_squares`` by ``n_squares`` squares at most."""
    n = trace.n_transient
    n_squares = min(n, n_squares)

    def count(row: NDArray[np.int64], col: NDArray[np.int64]) -> NDArray[np.int64]:
        square = row * n_squares // n * n_squares + col * n_squares // n
        counts = np.bincount(square, minlength=n_squares**2)
        return counts.astype(np.int64, copy=False).reshape(n_squares, n_squares)

    place = _places(trace)
    factor = np.zeros((n_squares, n_squares), dtype=np.int64)
    for row, col in _factor_entries(trace):
        factor += count(row, col)
    _, edge = np.unique(trace.edge_slot, return_index=True)
    edge = edge[trace.edge_slot[edge] < trace.n_entries]
    position = trace.position()
    source, target = position[trace.edge_source[edge]], position[trace.edge_target[edge]]
    off_row = np.repeat(place, np.diff(trace.off_ptr))
    sizes = np.diff(trace.block_ptr)
    several = sizes > 1
    return Raster(
        n_vertices=n,
        inner=count(place[source], place[target]),
        outer=count(off_row, place[trace.off_col]),
        factor=factor,
        frames=np.column_stack([trace.block_ptr[:-1], sizes])[several].tolist(),
    )


def _blocks_of_patterns(trace: EliminationTrace) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Each pattern with the first positions of its blocks."""
    order = np.argsort(trace.block_pattern, kind="stable")
    bounds = np.searchsorted(trace.block_pattern[order], np.arange(trace.n_patterns + 1))
    for pattern in range(trace.n_patterns):
        blocks = order[bounds[pattern] : bounds[pattern + 1]]
        yield pattern, trace.block_ptr[blocks]


def _places(trace: EliminationTrace) -> NDArray[np.int64]:
    """Row of the matrix at each position: blocks stay, and each is in elimination order."""
    place = np.arange(trace.n_transient)
    for pattern, first in _blocks_of_patterns(trace):
        order = trace.order[trace.pattern_ptr[pattern] : trace.pattern_ptr[pattern + 1]]
        place[first[:, np.newaxis] + order] = first[:, np.newaxis] + np.arange(order.size)
    return place


def _factor_entries(
    trace: EliminationTrace,
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Rows and columns of the entries of L and U in all blocks, some at a time."""
    for pattern, first in _blocks_of_patterns(trace):
        rows = slice(trace.pattern_ptr[pattern], trace.pattern_ptr[pattern + 1] + 1)
        row_ptr = trace.row_ptr[rows]
        for begin in range(int(row_ptr[0]), int(row_ptr[-1]), _CHUNK):
            end = min(begin + _CHUNK, int(row_ptr[-1]))
            bounds = np.clip(row_ptr, begin, end)
            lengths = bounds[1:] - bounds[:-1]
            row = np.repeat(np.arange(lengths.size), lengths)
            col = trace.col[begin:end]
            n_together = max(1, _CHUNK // row.size)
            for block in range(0, first.size, n_together):
                shift = first[block : block + n_together, np.newaxis]
                yield (shift + row).ravel(), (shift + col).ravel()


def save_spy(path: Path, raster: Raster, title: str) -> None:
    """Draws every entry by its kind, or where there are too many, how densely they lie.

    Args:
        path: File to write.
        raster: The entries.
        title: First line above the figure.
    """
    inner, outer, factor = (int(x.sum()) for x in (raster.inner, raster.outer, raster.factor))
    counts = (
        f"edges: {inner:,} within components, {outer:,} between them; "
        f"L + U: {factor:,}, of which {factor - inner:,} fill in"
    )
    sharp = raster.n_vertices <= len(raster.inner)

    def draw(figure: Any) -> None:
        figure.suptitle(f"{title}\n{counts}", fontsize="medium", parse_math=False)
        (_draw_kinds if sharp else _draw_densities)(figure, raster)

    figures.save_figure(path, (8, 8.6) if sharp else (11.5, 5.8), draw)


def _draw_kinds(figure: Any, raster: Raster) -> None:
    """One square per entry, coloured by what it is."""
    matplotlib = figures.load_matplotlib()
    kinds = np.zeros(raster.factor.shape, dtype=np.int8)
    names = ("", "diagonal", "edge between components", "edge within a component", "fill-in")
    colours = ("white", "#BBBBBB", figures.GREEN, figures.BLUE, figures.ORANGE)
    np.fill_diagonal(kinds, 1)
    for kind, entries in ((2, raster.outer), (4, raster.factor), (3, raster.inner)):
        kinds[entries > 0] = kind
    axes = figure.add_subplot()
    axes.imshow(
        kinds,
        cmap=matplotlib.colors.ListedColormap(colours),
        vmin=-0.5,
        vmax=len(colours) - 0.5,
        interpolation="nearest",
        extent=(0, raster.n_vertices, raster.n_vertices, 0),
    )
    _finish(axes, raster)
    axes.set_ylabel("vertex, in elimination order")
    found = [kind for kind in range(1, len(names)) if (kinds == kind).any()]
    patches = [matplotlib.patches.Patch(color=colours[kind], label=names[kind]) for kind in found]
    figure.legend(handles=patches, loc="outside lower center", ncols=len(found), fontsize="small")


def _draw_densities(figure: Any, raster: Raster) -> None:
    """Entries per square before and after the elimination, on one logarithmic scale."""
    matplotlib = figures.load_matplotlib()
    panels = {
        "edges": raster.inner + raster.outer,
        "edges, L and U": raster.factor + raster.outer,
    }
    most = max(int(counts.max()) for counts in panels.values())
    shades = matplotlib.colormaps["viridis_r"](np.linspace(0.25, 1, 256))
    scale = matplotlib.colors.LogNorm(1, max(most, 2))
    both = figure.subplots(1, 2, sharey=True)
    for axes, (name, counts) in zip(both, panels.items(), strict=True):
        image = axes.imshow(
            np.ma.masked_equal(counts, 0),
            cmap=matplotlib.colors.ListedColormap(shades),
            norm=scale,
            interpolation="nearest",
            extent=(0, raster.n_vertices, raster.n_vertices, 0),
        )
        _finish(axes, raster)
        axes.set_title(name, fontsize="medium")
    both[0].set_ylabel("vertex, in elimination order")
    side = raster.n_vertices / len(raster.inner)
    length = f"{side:,.0f}" if side >= 100 else f"{side:.3g}"
    text = f"entries per square of {length} by {length} vertices"
    figure.colorbar(image, ax=both, label=text, format="{x:,.0f}", shrink=0.8)


def _finish(axes: Any, raster: Raster) -> None:
    matplotlib = figures.load_matplotlib()
    if len(raster.frames) <= _MOST_FRAMES:
        for first, size in raster.frames:
            frame = matplotlib.patches.Rectangle((first, first), size, size, fill=False)
            frame.set(edgecolor="#666666", linewidth=0.6)
            axes.add_patch(frame)
    for axis in (axes.xaxis, axes.yaxis):
        axis.get_major_locator().set_params(integer=True, nbins=6)
        axis.set_major_formatter("{x:,.0f}")
    axes.set_xlabel("vertex, in elimination order")
    for spine in axes.spines.values():
        spine.set_visible(True)
