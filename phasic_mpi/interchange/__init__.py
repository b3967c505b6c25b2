"""Graphs from and to other programs: PRISM, Storm, phasic, ``scipy.sparse`` and ``networkx``.

Graphs of phasic come in by :meth:`phasic_mpi.PhaseTypeGraph.from_phasic`.
"""

from __future__ import annotations

from phasic_mpi.interchange.convert import convert, load_any, save_any
from phasic_mpi.interchange.drn import load_drn
from phasic_mpi.interchange.drn_write import save_drn
from phasic_mpi.interchange.matrix import SubIntensity, from_scipy, to_scipy
from phasic_mpi.interchange.network import from_networkx, to_networkx
from phasic_mpi.interchange.phasic import phasic_fields
from phasic_mpi.interchange.prism import load_prism
from phasic_mpi.interchange.prism_write import save_prism

__all__ = [
    "SubIntensity",
    "convert",
    "from_networkx",
    "from_scipy",
    "load_any",
    "load_drn",
    "load_prism",
    "phasic_fields",
    "save_any",
    "save_drn",
    "save_prism",
    "to_networkx",
    "to_scipy",
]
