"""Changes to graphs in HDF5, as datasets and as bytes, with the digests of our own files mended."""

from __future__ import annotations

import hashlib
import io
import json
import random
from collections.abc import Callable
from typing import Any

import h5py
import numpy as np

from phasic_mpi import hdf5
from phasic_mpi.graph_io import FILETYPE, VERSION, columns, summary
from tests.fuzz import examples, json_text, raw_bytes

Columns = dict[str, Any]
_HOSTILE = (-1, 0, 1, 1 << 31, (1 << 31) - 1, -(1 << 31), 1 << 62, (1 << 63) - 1)
_NUMBERS = (np.nan, np.inf, -np.inf, -0.0, 5e-324, 1.7e308, -1.0, 0.0, 1e300)
_DTYPES = ("<i1", "<u1", ">i4", "<u4", "<i8", "<u8", ">f8", "<f2", "<f4", "?", "<c16", "S8", "V4")
_LINKS: tuple[Callable[[], object], ...] = (
    lambda: h5py.SoftLink("/states"),
    lambda: h5py.SoftLink("/nowhere"),
    lambda: h5py.SoftLink("loop"),
    lambda: h5py.ExternalLink("other.h5", "/states"),
    lambda: h5py.ExternalLink("/dev/zero", "/a"),
)


def change_values(content: Columns, rng: random.Random) -> None:
    """Numbers that are not finite, negative or too large, and ends that are not there."""
    name = rng.choice([name for name, array in content.items() if np.size(array)])
    array = np.array(content[name])
    flat = array.reshape(-1)
    for _ in range(rng.choice((1, 2, 5))):
        index = rng.randrange(flat.size)
        if array.dtype.kind == "f":
            flat[index] = rng.choice(_NUMBERS)
        elif array.dtype.kind == "S":
            flat[index] = rng.choice((b"", b"a b", b"\xff\xfe", b"1", flat[0]))
        else:
            flat[index] = np.int64(rng.choice((*_HOSTILE, rng.randrange(30)))).astype(array.dtype)
    content[name] = array


def change_dtype(content: Columns, rng: random.Random) -> None:
    name = rng.choice(list(content))
    with np.errstate(all="ignore"):
        try:
            content[name] = content[name].astype(rng.choice(_DTYPES))
        except (TypeError, ValueError):
            content[name] = np.zeros(content[name].shape, dtype="<f2")


def change_shape(content: Columns, rng: random.Random) -> None:
    name = rng.choice(list(content))
    array = content[name]
    shapes: list[Callable[[], Any]] = [
        lambda: array[:-1],
        lambda: np.concatenate([array, array]),
        lambda: array[np.newaxis],
        lambda: array[..., np.newaxis],
        lambda: array.T,
        lambda: array.ravel(),
        lambda: array[:0],
        lambda: array[..., :0],
        lambda: np.asarray(array.ravel()[0] if array.size else 0),
        lambda: np.zeros((0, 1 << 40), dtype=array.dtype),
        lambda: h5py.Empty(array.dtype),
    ]
    content[name] = rng.choice(shapes)()


def remove(content: Columns, rng: random.Random) -> None:
    del content[rng.choice(list(content))]


def rename(content: Columns, rng: random.Random) -> None:
    other = rng.choice(list(content))
    content[rng.choice(("Edge_weight", "extra", "a/b"))] = content.pop(other)


_VALUES: tuple[Callable[[Columns, random.Random], None], ...] = (
    change_values,
    change_values,
    change_values,
    change_dtype,
    change_shape,
    remove,
    rename,
)


def _variable_length(file: h5py.File, name: str, rng: random.Random) -> None:
    kind = rng.choice((h5py.string_dtype(), h5py.vlen_dtype(np.int32), h5py.ref_dtype))
    file.create_dataset(name, shape=(3,), dtype=kind)


def _compound(file: h5py.File, name: str, _: random.Random) -> None:
    file.create_dataset(name, shape=(3,), dtype=[("x", "f8"), ("y", "i4", (2,))])


def _enumeration(file: h5py.File, name: str, _: random.Random) -> None:
    file.create_dataset(name, data=[0, 1], dtype=h5py.enum_dtype({"a": 0, "b": 1}, "i4"))


def _unwritten(file: h5py.File, name: str, rng: random.Random) -> None:
    """Declares much and stores nothing: it would be filled in when it is read."""
    n = rng.choice((1 << 10, 1 << 26, 1 << 29, 1 << 40))
    file.create_dataset(name, shape=(n,), dtype="f8", chunks=(1 << 10,), fillvalue=1.0)


def _unwritten_contiguous(file: h5py.File, name: str, rng: random.Random) -> None:
    file.create_dataset(name, shape=(rng.choice((1 << 20, 1 << 28)),), dtype="i4")


def _bomb(file: h5py.File, name: str, rng: random.Random) -> None:
    """A chunk of zeros: gzip makes it a thousandth."""
    n = rng.choice((1 << 16, 1 << 22))
    file.create_dataset(name, data=np.zeros(n), chunks=(n,), compression="gzip", shuffle=True)


def _filtered(file: h5py.File, name: str, rng: random.Random) -> None:
    options = rng.choice(({"compression": "lzf"}, {"scaleoffset": 3}, {"compression": "gzip"}))
    file.create_dataset(name, data=np.arange(64), **options)


def _virtual(file: h5py.File, name: str, rng: random.Random) -> None:
    layout = h5py.VirtualLayout(shape=(5,), dtype="f8")
    layout[:] = h5py.VirtualSource(rng.choice(("other.h5", ".")), rng.choice(("a", name)), (5,))
    file.create_virtual_dataset(name, layout)


def _external(file: h5py.File, name: str, _: random.Random) -> None:
    file.create_dataset(name, shape=(5,), dtype="f8", external=[("/dev/zero", 0, 40)])


def _group(file: h5py.File, name: str, _: random.Random) -> None:
    """A group that holds itself."""
    group = file.create_group(name)
    group["self"] = group
    file["loop"] = file["/"]


def _named_type(file: h5py.File, name: str, _: random.Random) -> None:
    file[name] = np.dtype("f8")


def _attributes(file: h5py.File, name: str, rng: random.Random) -> None:
    for index in range(rng.choice((1, 200))):
        file.attrs[f"{name}{index}"] = np.zeros(rng.choice((1, 8000)), dtype="u1")


def _deep(file: h5py.File, name: str, _: random.Random) -> None:
    file.create_group("/".join(["g"] * 200))[name] = 1


def _link(file: h5py.File, name: str, rng: random.Random) -> None:
    file[name] = rng.choice(_LINKS)()


_OBJECTS: tuple[Callable[[h5py.File, str, random.Random], None], ...] = (
    _variable_length,
    _compound,
    _enumeration,
    _unwritten,
    _unwritten_contiguous,
    _bomb,
    _filtered,
    _virtual,
    _external,
    _group,
    _named_type,
    _attributes,
    _deep,
    _link,
    _link,
)

_STORAGE: tuple[dict[str, Any], ...] = (
    {},
    {"chunks": True},
    {"compression": "gzip", "shuffle": True},
    {"fletcher32": True, "chunks": True},
)


def make(rng: random.Random) -> bytes:
    """A graph in HDF5, ours or of somebody else, changed in one or more ways."""
    graph = rng.choice(examples.graphs())
    content: Columns = dict(columns(graph))
    if rng.random() < 0.5:
        for _ in range(rng.choice((1, 1, 3))):
            rng.choice(_VALUES)(content, rng)
    if rng.random() < 0.4:
        return _own(content, summary(graph), rng)
    image = _foreign(content, rng)
    return raw_bytes.changed(image, rng) if rng.random() < 0.5 else image


def _foreign(content: Columns, rng: random.Random) -> bytes:
    buffer = io.BytesIO()
    libver = rng.choice(("earliest", "latest"))
    storage = rng.choice(_STORAGE)
    replaced = rng.choice(list(content)) if rng.random() < 0.3 else None
    with h5py.File(buffer, "w", libver=libver) as file:
        for name, array in content.items():
            if name != replaced:
                chunkable = isinstance(array, np.ndarray) and array.ndim and array.size
                file.create_dataset(name, data=array, **(storage if chunkable else {}))
        if replaced is not None:
            rng.choice(_OBJECTS)(file, replaced, rng)
    return buffer.getvalue()


def _own(content: Columns, facts: dict[str, int], rng: random.Random) -> bytes:
    """A file of ours whose digests are right whatever it holds, most of the time."""
    content = {name: array for name, array in content.items() if isinstance(array, np.ndarray)}
    encoded = hdf5.encode(FILETYPE, VERSION, datasets=content, attributes={}, summary=facts)
    image = bytes(encoded)
    kind = rng.random()
    if kind < 0.2:
        return raw_bytes.changed(image, rng)
    header, body = _parts(image)
    if kind < 0.7:
        body = raw_bytes.changed(body, rng)
        header.put("body_bytes", len(body))
        header.put("body_sha256", hashlib.sha256(body).hexdigest())
    if kind > 0.5:
        name = rng.choice(header.names())
        value = rng.choice((*json_text.NUMBERS, *json_text.OTHERS, *json_text.NOT_JSON))
        header.put(name, json_text.Raw(value))
    return _sealed(header, body, rng)


def _parts(image: bytes) -> tuple[json_text.Object, bytes]:
    """Header and HDF5 image of a file of ours; docs/file_formats.md says where they are."""
    length = int.from_bytes(image[12:16], "little")
    text = image[16 : 16 + length]
    return json_text.parse(text), image[json.loads(text)["body_offset"] :]


def _sealed(header: json_text.Object, body: bytes, rng: random.Random) -> bytes:
    text = json_text.render(header).encode("utf-8", "surrogatepass")
    version = rng.choice((1, 1, 1, 1, 2))
    prefix = hdf5.MAGIC + version.to_bytes(2, "little") + len(text).to_bytes(4, "little") + text
    prefix += hashlib.sha256(prefix).digest()
    offset = header.get("body_offset")
    return prefix.ljust(offset if isinstance(offset, int) else 512, b"\0") + body
