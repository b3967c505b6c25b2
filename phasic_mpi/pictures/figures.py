"""Figures by matplotlib: their style, and how they become files."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

from phasic_mpi import files
from phasic_mpi.errors import ConfigError, MissingDependencyError

SUFFIXES = (".png", ".svg", ".pdf")

# Colours that people with any colour vision tell apart (Okabe and Ito 2008).
BLUE, ORANGE, GREEN = "#0072B2", "#E69F00", "#009E73"

# The font that matplotlib brings, so that pictures need none of the system.
FONT = "DejaVu Sans"

_STYLE = {
    "font.size": 11.0,
    "font.family": FONT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "svg.hashsalt": "phasic_mpi",  # equal figures give equal bytes
}

# What would make equal figures differ.
_UNDATED: dict[str, dict[str, None]] = {
    "png": {"Software": None},
    "svg": {"Date": None},
    "pdf": {"CreationDate": None},
}


def require_picture(path: Path) -> None:
    """Checks, before any work is done, that a figure can be made.

    Raises:
        ConfigError: The suffix of the file is of another format.
        MissingDependencyError: matplotlib is not installed.
    """
    if path.suffix not in SUFFIXES:
        raise ConfigError(
            "The picture cannot be made",
            problem=f"expected a file that ends in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}, "
            f"got {path.name!r}",
            resolution="name such a file",
        )
    load_matplotlib()


def save_figure(
    path: Path,
    size: tuple[float, float],
    draw: Callable[[Any], None],
    *,
    layout: str = "constrained",
) -> None:
    """Writes a figure, whole or not at all.

    Args:
        path: File to write; its suffix is one of :data:`SUFFIXES`.
        size: Width and height in inches.
        draw: Fills the ``matplotlib.figure.Figure`` that it gets.
        layout: How matplotlib arranges axes; "none" leaves them where they are put.
    """
    matplotlib = load_matplotlib()
    with matplotlib.rc_context(_STYLE):
        figure = matplotlib.figure.Figure(figsize=size, layout=layout)
        draw(figure)
        image = io.BytesIO()
        form = path.suffix.removeprefix(".")
        figure.savefig(image, format=form, dpi=150, metadata=_UNDATED[form])
    files.write_atomically(path, image.getbuffer(), mode=0o666)


def load_matplotlib() -> Any:
    """Imports matplotlib with the parts that figures use.

    Raises:
        MissingDependencyError: It is not installed.
    """
    try:
        import matplotlib
        import matplotlib.colors
        import matplotlib.figure
        import matplotlib.font_manager
        import matplotlib.patches
        import matplotlib.path
        import matplotlib.textpath
    except ImportError as exc:
        raise MissingDependencyError(
            "The picture cannot be made",
            problem=f"expected matplotlib, which does not import: {exc}",
            resolution="install it: pip install 'phasic_mpi[plot]'",
        ) from exc
    return matplotlib
