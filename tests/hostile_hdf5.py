"""HDF5 files that reach beyond themselves, or hold what is not wanted, under the name ``a``."""

import hashlib
import json
import struct
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np


def foreign(path: Path, make: Callable[[h5py.File], object]) -> Path:
    """Makes a file by h5py."""
    with h5py.File(path, "w") as file:
        make(file)
    return path


def with_right_digest(make: Callable[[h5py.File], object], body: Path) -> bytes:
    """The same in our form (``phasic_mpi.test`` 1.0), as docs/file_formats.md describes it.

    Args:
        make: Makes the content.
        body: Where it is made meanwhile.
    """
    with h5py.File(body, "w", userblock_size=512) as file:
        make(file)
    image = body.read_bytes()[512:]
    header = {
        "filetype": "phasic_mpi.test",
        "version": [1, 0],
        "body_offset": 512,
        "body_bytes": len(image),
        "body_sha256": hashlib.sha256(image).hexdigest(),
        "summary": {},
    }
    text = json.dumps(header).encode()
    prefix = struct.pack("<10sHI", b"PHASICMPI\0", 1, len(text)) + text
    return (prefix + hashlib.sha256(prefix).digest()).ljust(512, b"\0") + image


def link_to_another_file(file: h5py.File) -> None:
    other = Path(file.filename).with_name("other.h5")
    foreign(other, lambda content: content.update(b=np.arange(3)))
    file["a"] = h5py.ExternalLink(str(other), "b")


def link_within(file: h5py.File) -> None:
    file["b"] = np.arange(3)
    file["a"] = h5py.SoftLink("/b")


def dangling_link(file: h5py.File) -> None:
    file["a"] = h5py.SoftLink("/nowhere")


def dangling_external_link(file: h5py.File) -> None:
    file["a"] = h5py.ExternalLink("nowhere.h5", "b")


def virtual_dataset(file: h5py.File) -> None:
    other = Path(file.filename).with_name("other.h5")
    foreign(other, lambda content: content.update(b=np.arange(3)))
    layout = h5py.VirtualLayout(shape=(3,), dtype=np.int64)
    layout[:] = h5py.VirtualSource(str(other), "b", shape=(3,))
    file.create_virtual_dataset("a", layout)


def external_storage(file: h5py.File) -> None:
    secret = Path(file.filename).with_name("secret")
    secret.write_bytes(bytes(24))
    file.create_dataset("a", shape=(3,), dtype=np.int64, external=[(str(secret), 0, 24)])


def huge_dataset(file: h5py.File) -> None:
    file.create_dataset("a", shape=(1 << 40,), chunks=(1 << 10,), dtype=np.float64)


def unknown_filter(file: h5py.File) -> None:
    file.create_dataset("a", data=np.arange(100), compression="lzf")


def group(file: h5py.File) -> None:
    file.create_group("a")


def text(file: h5py.File) -> None:
    file["a"] = ["one", "two"]


def references(file: h5py.File) -> None:
    file.create_dataset("a", shape=(2,), dtype=h5py.ref_dtype)


def pairs(file: h5py.File) -> None:
    file.create_dataset("a", shape=(2,), dtype=[("x", "f8"), ("y", "i4")])


def no_value(file: h5py.File) -> None:
    file["a"] = h5py.Empty("f8")


def time_type(file: h5py.File) -> None:
    space = h5py.h5s.create_simple((2,))
    h5py.h5d.create(file.id, b"a", h5py.h5t.UNIX_D32LE, space)
