"""Reads inputs, one after another, for the process that has started this one.

Each line of standard input is ``KIND PATH``, an empty one asks whether the process is there; each
answer is a line of JSON: verdict, detail, seconds of processor time, bytes by which memory grew.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from pkgutil import resolve_name

from phasic_mpi.errors import PhasicMpiError

Reader = Callable[[str, Path], Iterator[str]]

_SHOWN = 2000  # characters of a detail


def reset_peak() -> int:
    """Bytes of memory in use; the peak is counted from here on."""
    Path("/proc/self/clear_refs").write_text("5")
    return memory("VmRSS")


def memory(name: str) -> int:
    """A figure that Linux keeps of the memory of this process, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise KeyError(name)


def examine(read: Reader, kind: str, path: Path) -> tuple[str, str]:
    """Verdict and detail: "refused", "accepted", "invalid" or "wrong error"."""
    try:
        fault = next(read(kind, path), None)
    except PhasicMpiError as exc:
        return "refused", type(exc).__name__
    except Exception as exc:
        return "wrong error", f"{type(exc).__name__}: {exc}"
    return ("accepted", "") if fault is None else ("invalid", fault)


def main(reader: str) -> None:
    # Sanitizers reserve terabytes: what a reader starts, with less address space, goes without.
    os.environ.pop("LD_PRELOAD", None)
    read: Reader = resolve_name(reader)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        kind, _, path = line.rstrip("\n").partition(" ")
        before, begin = reset_peak(), time.process_time()
        verdict, detail = examine(read, kind, Path(path)) if kind else ("ready", "")
        seconds, growth = time.process_time() - begin, memory("VmHWM") - before
        print(json.dumps([verdict, detail[:_SHOWN], seconds, growth]), file=answers, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
