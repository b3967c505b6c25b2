"""Feeds hostile input to the readers: ``python -m tests.fuzz [--json 10000] [--hdf5 2000]``.

Valid graphs in JSON and HDF5, messages between ranks, and arrays on their way into the compiled
core are changed: values, text, bytes. Each input is read, checked and used by a process whose core
runs under AddressSanitizer and UBSan. A reader either raises an error of this package or returns a
valid graph, in ten seconds and in memory that is bounded by the size of the file; anything else is
printed with what makes the same input again: ``--only json:17``.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.fuzz import sanitized
from tests.fuzz.pool import MAKERS, MEMORY, Input, Reading, read_all


def main() -> int:
    options = _options()
    inputs = options.only or [
        Input(kind, options.seed + index)
        for kind in MAKERS
        for index in range(getattr(options, kind))
    ]
    with tempfile.TemporaryDirectory() as name:
        package = options.package or sanitized.build_package(Path(name))
        readings = []
        for reading in read_all(
            inputs, Path(name) / "read", sanitized.environment(package), n_workers=options.workers
        ):
            readings.append(reading)
            if reading.is_finding:
                _report(reading, options.keep)
    _print(readings)
    return int(any(reading.is_finding for reading in readings))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Feeds hostile input to the readers")
    parser.add_argument("--json", type=int, default=10_000, metavar="N", help="graphs in JSON")
    parser.add_argument("--payload", type=int, default=10_000, metavar="N", help="messages")
    parser.add_argument("--hdf5", type=int, default=2_000, metavar="N", help="graphs in HDF5")
    parser.add_argument("--core", type=int, default=10_000, metavar="N", help="calls of the core")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", type=_input, nargs="+", metavar="KIND:SEED")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="where to put what was found")
    parser.add_argument("--package", type=Path, metavar="DIR", help="a package that is built")
    return parser.parse_args()


def _input(text: str) -> Input:
    kind, _, seed = text.partition(":")
    return Input(kind, int(seed))


def _report(reading: Reading, keep: Path | None) -> None:
    print(f"{reading.input}: {reading.verdict}: {reading.detail}", flush=True)
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        (keep / f"{reading.input.kind}-{reading.input.seed}").write_bytes(reading.input.make())


def _print(readings: Sequence[Reading]) -> None:
    table = Table("input", "read", "refused", "accepted", "found", "longest, s", "most memory")
    for kind in MAKERS:
        own = [reading for reading in readings if reading.input.kind == kind]
        if not own:
            continue
        counts = [sum(r.verdict == verdict for r in own) for verdict in ("refused", "accepted")]
        found = sum(reading.is_finding for reading in own)
        seconds = max(reading.seconds for reading in own)
        table.add_row(
            kind, str(len(own)), *map(str, counts), str(found), f"{seconds:.2f}", _most(own)
        )
    console = Console(width=100)
    console.print(table)


def _most(readings: Sequence[Reading]) -> str:
    """Most growth, and most per byte of an input beyond what an empty one may take."""
    growth = max(reading.growth for reading in readings)
    ratio = max((r.growth - MEMORY[r.input.kind][0]) / max(r.n_bytes, 1) for r in readings)
    return f"{growth >> 20} MiB, {max(ratio, 0):.0f} per byte"


if __name__ == "__main__":
    sys.exit(main())
