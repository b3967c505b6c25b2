"""``python -m phasic_mpi`` and ``phasic-mpi``."""

from __future__ import annotations

import sys

from phasic_mpi.cli import main

if __name__ == "__main__":
    sys.exit(main())
