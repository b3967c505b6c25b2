"""Programs in place of the one that reads HDF5: what a child taken over by a file might do."""

import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from phasic_mpi import datasets

_SAYS = f"""\
import json, os, resource, signal, struct, sys, time
sys.path.insert(0, {str(Path(datasets.__file__).parent)!r})
from datasets import MESSAGE, _end_with
def say(kind, content=b"", length=None):
    length = len(content) if length is None else length
    os.write(1, MESSAGE.pack(kind, length) + content)
"""

_STARTS = f"{_SAYS}say(b'S'); request = json.loads(sys.stdin.buffer.readline())\n"

CRASHES = "os.kill(os.getpid(), signal.SIGSEGV)"
SLEEPS = "time.sleep(600)"


def program(does: str, *, starts: bool = True) -> Sequence[str]:
    """Options of Python to run a child that does this, by default once it has been asked."""
    return ("-I", "-S", "-B", "-c", (_STARTS if starts else _SAYS) + does)


def describes(*places: dict[str, object], then: str = "") -> Sequence[str]:
    """The same for one that gives this description."""
    return program(f"say(b'D', {json.dumps(places).encode()!r}); {then}")


def _read_with(does: str, path: str) -> None:
    from phasic_mpi import user_hdf5

    user_hdf5._PROGRAM = program(does)
    user_hdf5.read(Path(path), {"a": datasets.NUMBERS}, byte_limit=1 << 20)


if __name__ == "__main__":
    # A shell ignores it for what it starts in the background, tests included.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _read_with(*sys.argv[1:])
