"""Which datasets HDF5 may read of a file that a stranger may have made, and the reading of them.

Run as a program, this file is the process in which files of users are opened: ``user_hdf5`` starts
it by its path, so that it imports nothing of this package, which would take longer than its work.
It answers on its standard output with messages, each a kind (1 byte) and a length (u64,
little-endian) before so many bytes::

    S   it has started, and waits for a request (a line of JSON) on its standard input
    D   a description of each dataset, JSON
    B   bytes of the datasets that have no offset in the description, one after another
    R   what is refused, UTF-8, in place of any of these
"""

from __future__ import annotations

import codecs
import ctypes
import io
import json
import os
import resource
import signal
import struct
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, BinaryIO

STARTED, DESCRIPTION, BYTES, REFUSAL = b"S", b"D", b"B", b"R"
MESSAGE = struct.Struct("<cQ")
LONGEST_REFUSAL = 4096

# Kinds of dtype, as NumPy abbreviates them.
NUMBERS, TEXTS = "iuf", "S"

# The filters HDF5 itself brings: gzip, shuffle, Fletcher checksum.
_KNOWN_FILTERS = {1, 2, 3}

# Few enough to be sent while they are in the cache.
_SLAB_BYTES = 2 << 20

_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
_IGNORED = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


class Refusal(Exception):  # noqa: N818
    """Why a file is not read: expected and actual."""


@contextmanager
def harmless(
    source: BinaryIO | io.RawIOBase, wanted: Mapping[str, str] | None, byte_limit: int
) -> Iterator[dict[str, Any]]:
    """Opens a file, and yields those datasets of its root group that are wanted, checked.

    Refuses what could read other files or fill the memory: soft and external links, external
    storage, virtual datasets, filters other than those of HDF5 itself, and more bytes than the
    limit.

    Args:
        source: The file.
        wanted: Names of datasets, with the kinds of dtype that each may have; those that are not
            there are left out. None stands for all datasets, of any of these kinds.
        byte_limit: Bytes that they may take in memory, all together.

    Raises:
        Refusal: The file is no HDF5 file, is damaged, or holds one of these.
    """
    import h5py

    try:
        with h5py.File(source, "r", locking=False) as file:
            if wanted is None:
                wanted = dict.fromkeys(file, NUMBERS + TEXTS)
            found = {}
            for name, kinds in wanted.items():
                # Not `name in file`: that would follow the link, into another file if it says so.
                if file.id.links.exists(name.encode()):
                    found[name] = _require_harmless(file, name, kinds, byte_limit)
                    byte_limit -= found[name].nbytes
            yield found
    except (OSError, RuntimeError, ValueError, KeyError, TypeError) as exc:
        raise Refusal(f"HDF5 cannot read it: {exc}") from exc


def _require_harmless(file: Any, name: str, kinds: str, byte_limit: int) -> Any:
    """The dataset of this name."""
    import h5py

    if file.id.links.get_info(name.encode()).type != h5py.h5l.TYPE_HARD:
        raise Refusal(f"'{name}': expected a dataset in this file, got a link")
    dataset = file[name]
    if not isinstance(dataset, h5py.Dataset) or dataset.dtype.kind not in kinds:
        content = "byte strings of one length" if kinds == TEXTS else "numbers"
        raise Refusal(f"'{name}': expected a dataset of {content}, got {dataset!r}")
    if dataset.shape is None:
        raise Refusal(f"'{name}': expected numbers, got a dataset without any (H5S_NULL)")
    if dataset.is_virtual or dataset.external:
        raise Refusal(f"'{name}': expected its numbers in this file, got a reference")
    settings = dataset.id.get_create_plist()
    filters = {settings.get_filter(i)[0] for i in range(settings.get_nfilters())}
    if not filters <= _KNOWN_FILTERS:
        raise Refusal(f"'{name}': expected gzip or no filter, got filters {filters}")
    if dataset.nbytes > byte_limit:
        raise Refusal(
            f"'{name}': expected at most {byte_limit} bytes, it declares {dataset.nbytes}"
        )
    return dataset


def offset_of(dataset: Any) -> int | None:
    """Where the file holds the array just as it is in memory; None if it does not."""
    import h5py

    stored = dataset.id
    if (
        dataset.chunks is None
        and stored.get_type() == h5py.h5t.py_create(dataset.dtype)
        and stored.get_storage_size() == dataset.nbytes
    ):
        offset: int | None = stored.get_offset()
        return offset
    return None


def _slabs(dataset: Any) -> Iterator[Any]:
    """The array a few rows at a time, so that each chunk is read once and few are held."""
    if not dataset.size or not dataset.shape:
        yield dataset[()]
        return
    n_rows = dataset.shape[0]
    least = 1 if dataset.chunks is None else dataset.chunks[0]
    step = least * max(1, _SLAB_BYTES * n_rows // (least * dataset.nbytes))
    for row in range(0, n_rows, step):
        yield dataset[row : row + step]


def _say(kind: bytes, content: bytes | memoryview = b"") -> None:
    sys.stdout.buffer.write(MESSAGE.pack(kind, len(content)))
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()


def _answer(source: BinaryIO, wanted: Mapping[str, str] | None, byte_limit: int) -> None:
    """Describes the datasets, and sends those that cannot be read without HDF5."""
    import numpy as np

    with harmless(source, wanted, byte_limit) as datasets:
        offsets = {name: offset_of(dataset) for name, dataset in datasets.items()}
        places = [
            {"name": name, "dtype": d.dtype.str, "shape": d.shape, "offset": offsets[name]}
            for name, d in datasets.items()
        ]
        _say(DESCRIPTION, json.dumps(places).encode())
        for name, dataset in datasets.items():
            if offsets[name] is None and dataset.size:
                for slab in _slabs(dataset):
                    _say(BYTES, np.asarray(slab).reshape(-1).view(np.uint8).data)


def _end_with(parent: int) -> None:
    """Has this process end when its parent does, and only then: signals are meant for the run."""
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    system = ctypes.CDLL(None, use_errno=True)
    for option, value in ((_PR_SET_PDEATHSIG, signal.SIGKILL), (_PR_SET_NO_NEW_PRIVS, 1)):
        if system.prctl(option, int(value), 0, 0, 0):
            raise OSError(ctypes.get_errno(), "prctl")
    if os.getppid() != parent:
        raise SystemExit("the parent has ended")


def _main(descriptor: int, parent: int, path: list[str]) -> None:
    _end_with(parent)
    sys.path[:] = path
    import h5py  # noqa: F401

    codecs.lookup("ascii")  # for names in files: a module that Python reads when it is first used
    # From here on no file, socket or process can be opened or started, whatever a file says.
    for kind in (resource.RLIMIT_NOFILE, resource.RLIMIT_NPROC):
        resource.setrlimit(kind, (0, 0))
    _say(STARTED)
    request = json.loads(sys.stdin.buffer.readline())
    try:
        with open(descriptor, "rb", buffering=0) as source:
            _answer(source, **request)
    except Refusal as exc:
        _say(REFUSAL, str(exc).encode(errors="replace")[:LONGEST_REFUSAL])
    except MemoryError:
        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        _say(REFUSAL, b"expected HDF5 to take at most %d bytes of memory, it asks for more" % limit)


if __name__ == "__main__":
    _main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
