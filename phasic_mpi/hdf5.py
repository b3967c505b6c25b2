"""HDF5 images that are checked before HDF5 sees them.

Everything this package writes is an ordinary HDF5 file behind a *user block* (a region that HDF5
skips) which holds a header and digests::

    magic (10 bytes) | header version (u16) | header length (u32) | header (JSON) | SHA-256 | zeros

The SHA-256 covers all before it; the header holds the SHA-256 of the HDF5 image behind the user
block. Numbers are little-endian. Traces, segments and manifests are read here, graphs and other
input of users by ``user_hdf5``.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import struct
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, NoReturn

import msgspec
import numpy as np
from numpy.typing import NDArray

from phasic_mpi import files
from phasic_mpi.datasets import Refusal, harmless, offset_of
from phasic_mpi.errors import DamagedFileError, StoreError

MAGIC = b"PHASICMPI\x00"
SIGNATURE = b"\x89HDF\r\n\x1a\n"
HEADER_VERSION = 1

_PREFIX = struct.Struct(f"<{len(MAGIC)}sHI")
_DIGEST_BYTES = 32

# HDF5 looks for its signature at 0, 512, 1024, 2048, ...
SMALLEST_USER_BLOCK = 512
_LARGEST_USER_BLOCK = 1 << 26

# Smaller arrays are copied: a write of each would take longer.
_LARGE_ARRAY_BYTES = 1 << 16

# Large arrays begin at such offsets in the file, so that they can be used where they are read to.
_ALIGNMENT = 64

# The digest of a smaller file takes a few milliseconds, of which a second thread saves none.
_LARGE_FILE_BYTES = 1 << 22

# Of what is read, while a second thread computes the digest of what was read before.
_PIECE_BYTES = 1 << 22

Arrays = dict[str, NDArray[Any]]

# Of a dataset: one array, or parts of one.
Content = NDArray[Any] | Sequence[NDArray[Any]]
_Parts = list[NDArray[Any]]


@dataclass(frozen=True)
class Header:
    """What a file says of itself before it is opened.

    Attributes:
        filetype: Kind of content, such as ``phasic_mpi.trace``.
        version: Major and minor version of its layout.
        body_offset: Bytes of the user block.
        body_bytes: Bytes of the HDF5 image behind it.
        body_sha256: Its digest, 64 hexadecimal digits.
        summary: Facts the writer put here so that they can be read without the body.
    """

    filetype: str
    version: tuple[int, int]
    body_offset: int
    body_bytes: int
    body_sha256: str
    summary: dict[str, Any]


@dataclass(frozen=True)
class FileImage:
    """The bytes of a file that is to be written; its digests are computed when it is.

    Attributes:
        pieces: All bytes in order, with zeros in the place of the header.
        facts: The header, without the digest of the body.
    """

    pieces: list[memoryview]
    facts: dict[str, Any]

    @property
    def nbytes(self) -> int:
        """Bytes of the whole file."""
        return sum(map(len, self.pieces))

    def __bytes__(self) -> bytes:
        header = self._header()
        first, *others = self.pieces
        return b"".join([header, first[len(header) :], *others])

    def write(self, path: Path, *, mode: int = 0o600) -> int:
        """Writes the file, whole or not at all, and returns its size in bytes.

        See :func:`phasic_mpi.files.write_atomically`. A second thread computes the digest of a
        large body while it is written.

        Raises:
            OSError: The file system refuses.
        """
        if self.nbytes < _LARGE_FILE_BYTES:
            files.write_atomically(path, bytes(self), mode=mode)
        else:
            with ThreadPoolExecutor(1) as pool:
                header = pool.submit(self._header)
                files.write_atomically(path, *self.pieces, mode=mode, beginning=header.result)
        return self.nbytes

    def _header(self) -> bytes:
        digest = hashlib.sha256()
        first, *others = self.pieces
        for piece in (first[self.facts["body_offset"] :], *others):
            digest.update(piece)
        facts = {**self.facts, "body_sha256": digest.hexdigest()}
        text = json.dumps(facts, sort_keys=True, separators=(",", ":")).encode()
        prefix = _PREFIX.pack(MAGIC, HEADER_VERSION, len(text)) + text
        return prefix + hashlib.sha256(prefix).digest()


def encode(
    filetype: str,
    version: tuple[int, int],
    *,
    datasets: Mapping[str, Content],
    attributes: Mapping[str, Any],
    summary: Mapping[str, Any],
) -> FileImage:
    """Makes the image of a file; equal content gives equal bytes.

    It refers to large arrays in the memory they lie in: they must not change before it is written.

    Args:
        filetype: Kind of content.
        version: Major and minor version of the layout.
        datasets: Arrays by name, stored contiguously and uncompressed. One that is given in parts,
            arrays of one dimension and one dtype that follow one another, is not put together.
        attributes: Small values for the root group, beside ``filetype`` and ``version``.
        summary: JSON-able facts for the header.

    Raises:
        StoreError: The facts take more room than a header has.
    """
    import h5py

    header_room = len(json.dumps(summary)) + 512
    user_block = SMALLEST_USER_BLOCK
    while user_block < header_room:
        user_block *= 2
    if user_block > _LARGEST_USER_BLOCK:
        raise StoreError(
            "A file cannot be made",
            problem=f"expected facts of less than {_LARGEST_USER_BLOCK} bytes, got {header_room}",
            context={"filetype": filetype},
            resolution="divide the content between several files",
        )
    # The image is made in memory: on a full disk HDF5 would report success and crash later.
    image = _Image()
    with h5py.File(
        image,
        "w",
        userblock_size=user_block,
        libver=("v110", "v110"),
        alignment_threshold=_LARGE_ARRAY_BYTES,
        alignment_interval=_ALIGNMENT,
    ) as file:
        file.attrs["filetype"] = filetype
        file.attrs["version"] = np.array(version, dtype=np.int64)
        for name, value in attributes.items():
            file.attrs[name] = value
        for name, content in datasets.items():
            with image.expecting(_in_large_parts(content)) as array:
                file.create_dataset(name, data=array, track_times=False)
    pieces = image.pieces()
    facts = {
        "body_bytes": sum(map(len, pieces)) - user_block,
        "body_offset": user_block,
        "filetype": filetype,
        "summary": dict(summary),
        "version": list(version),
    }
    return FileImage(pieces, facts)


class _Image(io.RawIOBase):
    """What HDF5 writes as a file, in which large arrays stand where they are in memory.

    HDF5 writes an array that needs no conversion straight from its memory, and never again.
    """

    def __init__(self) -> None:
        self._position = self._end = 0
        self._expected: tuple[NDArray[Any], _Parts] | None = None
        self._arrays: list[tuple[int, int, _Parts]] = []
        self._written: list[tuple[int, bytes]] = []

    @contextmanager
    def expecting(self, parts: _Parts) -> Iterator[NDArray[Any]]:
        """Gives the array to be written inside, for these parts: the only one, or room for all.

        The room is never filled, and memory that nobody touches takes none: the parts are put in
        its place.

        Raises:
            StoreError: HDF5 did not write the room straight from its memory.
        """
        n_arrays = len(self._arrays)
        only, *others = parts
        array = np.empty(sum(map(len, parts)), only.dtype) if others else only
        self._expected = (array, parts) if array.nbytes >= _LARGE_ARRAY_BYTES else None
        yield array
        self._expected = None
        if others and len(self._arrays) == n_arrays:
            raise StoreError(
                "A file cannot be made",
                problem=f"expected HDF5 to write {array.nbytes} bytes at once, from their memory",
                context={"library": library_version()},
                resolution="use versions of h5py and HDF5 with which the tests pass",
            )

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._position = offset + (self._end if whence == os.SEEK_END else 0)
        return self._position

    def truncate(self, size: int | None = None) -> int:
        self._end = self._position if size is None else size
        return self._end

    def write(self, data: Any) -> int:
        begin = self._position
        self._position = begin + len(data)
        self._end = max(self._end, self._position)
        if self._expected is not None and _is_all_of(self._expected[0], data):
            self._arrays.append((begin, self._position, self._expected[1]))
        else:
            self._written.append((begin, bytes(data)))
        return len(data)

    def pieces(self) -> list[memoryview]:
        """All bytes in order; before, between and behind the arrays what else was written."""
        begins = [0, *(end for _, end, _ in self._arrays)]
        ends = [*(begin for begin, _, _ in self._arrays), self._end]
        gaps = [memoryview(bytearray(end - begin)) for begin, end in zip(begins, ends, strict=True)]
        for begin, data in self._written:
            index = bisect_right(begins, begin) - 1
            first = begin - begins[index]
            gaps[index][first : first + len(data)] = data
        pieces = gaps[:1]
        for (_, _, parts), gap in zip(self._arrays, gaps[1:], strict=True):
            pieces += [*(part.reshape(-1).view(np.uint8).data for part in parts), gap]
        return pieces


class _Memory(io.RawIOBase):
    """What HDF5 reads as a file."""

    def __init__(self, image: memoryview) -> None:
        self._image = image
        self._position = 0

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        begins = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: len(self._image)}
        self._position = begins[whence] + offset
        return self._position

    def readinto(self, room: Any) -> int:
        found = self._image[self._position :][: len(room)]
        room[: len(found)] = found
        self._position += len(found)
        return len(found)


def _in_large_parts(content: Content) -> _Parts:
    """One array as it is; of parts, small ones that follow one another are put together."""
    if isinstance(content, np.ndarray):
        return [content]
    dtype = np.result_type(*{part.dtype for part in content})
    parts: _Parts = []
    for is_large, run in groupby(content, lambda part: part.nbytes >= _LARGE_ARRAY_BYTES):
        if is_large:
            parts += [np.ascontiguousarray(part, dtype) for part in run]
        else:
            parts.append(np.concatenate(list(run), dtype=dtype))
    return parts


def _is_all_of(array: NDArray[Any], data: Any) -> bool:
    """Whether these bytes are those of the array, in its own memory."""
    seen = np.frombuffer(data, np.uint8)
    return seen.nbytes == array.nbytes and seen.ctypes.data == array.ctypes.data


def library_version() -> str:
    """Versions of h5py and of the HDF5 library it uses."""
    import h5py

    return f"h5py {h5py.version.version}, HDF5 {h5py.version.hdf5_version}"


def has_header(path: Path) -> bool:
    """Whether the file begins like one of ours."""
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def read_header(
    path: Path, *, filetype: str | None = None, version: tuple[int, int] | None = None
) -> Header:
    """Reads and checks the user block alone.

    Args:
        path: The file.
        filetype: Kind of content expected; not checked if not given.
        version: Version this code writes, given with ``filetype``.

    Raises:
        StoreError: It is not one of our files, it is damaged, or not what is expected.
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        header = _read_header(path, file)
    _require_kind(path, header, filetype, version)
    return header


def read(
    path: Path, *, filetype: str, version: tuple[int, int], names: Mapping[str, int] | None = None
) -> tuple[Arrays, Header]:
    """Reads all arrays of a file, after the digest of every byte has been checked.

    One that is half of the file or more stays where it was read to, if it is stored as it is in
    memory, and keeps the whole file there.

    Args:
        path: The file.
        filetype: Kind of content expected.
        version: Version this code writes: another major version is refused.
        names: Datasets the file must hold, no more and no fewer, with the minor version that each
            came with; not checked if not given. Files of a later minor version may hold more, which
            is left out.

    Raises:
        StoreError: The file is damaged, of another kind, or of another major version.
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        image, header = read_checked(path, file, filetype=filetype, version=version)
    try:
        # The digest says that nothing was damaged, not that the writer meant well.
        with harmless(_Memory(image), None, len(image)) as datasets:
            arrays = {name: _array(image, dataset) for name, dataset in datasets.items()}
    except Refusal as exc:
        refuse(path, str(exc), n_bytes=len(image))
    if names is not None:
        arrays = only_expected(path, arrays, header, names=names, version=version)
    return arrays, header


def _array(image: memoryview, dataset: Any) -> NDArray[Any]:
    """The numbers of a dataset: where they are, if most of the file is kept for them."""
    offset = offset_of(dataset)
    if offset is not None and len(image) // 2 <= dataset.nbytes <= len(image) - offset:
        array = np.frombuffer(image, dataset.dtype, dataset.size, offset).reshape(dataset.shape)
        if array.flags.aligned:
            return array
    read: NDArray[Any] = dataset[()]
    return read


def only_expected(
    path: Path,
    arrays: Arrays,
    header: Header,
    *,
    names: Mapping[str, int],
    version: tuple[int, int],
) -> Arrays:
    """The datasets that a file must hold; see :func:`read`.

    Raises:
        DamagedFileError: It holds others, or not all of them.
    """
    minor = header.version[1]
    expected = {name for name, since in names.items() if since <= minor}
    found = set(arrays) & expected if minor > version[1] else set(arrays)
    if found != expected:
        _damaged(path, f"expected the datasets {sorted(expected)}, got {sorted(arrays)}")
    return {name: arrays[name] for name in arrays if name in expected}


def read_image(path: Path) -> memoryview:
    """Reads a file of any kind as bytes, and checks the digest of every one.

    Raises:
        StoreError: The file is damaged or not one of ours.
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        image, _ = read_checked(path, file)
    return image


def check(path: Path) -> Header:
    """Checks the digests of a file of any kind without opening it as HDF5.

    Raises:
        StoreError: The file is damaged or not one of ours.
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        header = _read_header(path, file)
        _require_size(path, header, file)
        file.seek(header.body_offset)
        _require_digest(path, header, hashlib.file_digest(file, "sha256").hexdigest())
    return header


def read_checked(
    path: Path,
    file: io.BufferedReader,
    *,
    filetype: str | None = None,
    version: tuple[int, int] | None = None,
) -> tuple[memoryview, Header]:
    """Reads an open file as bytes, and checks its kind, if one is expected, and every digest.

    Raises:
        StoreError: The file is damaged or not what is expected.
        OSError: The file cannot be read.
    """
    header = _read_header(path, file)
    _require_kind(path, header, filetype, version)
    _require_size(path, header, file)
    image = np.empty(header.body_offset + header.body_bytes, np.uint8).data
    file.seek(0)
    _fill(path, file, image[: header.body_offset])
    _require_digest(path, header, _read_body(path, file, image[header.body_offset :]))
    return image, header


def _read_body(path: Path, file: io.BufferedReader, body: memoryview) -> str:
    """Fills ``body`` and returns its digest."""
    digest = hashlib.sha256()
    if len(body) < _LARGE_FILE_BYTES:
        digest.update(_fill(path, file, body))
        return digest.hexdigest()
    with ThreadPoolExecutor(1) as pool:
        for begin in range(0, len(body), _PIECE_BYTES):
            pool.submit(digest.update, _fill(path, file, body[begin : begin + _PIECE_BYTES]))
    return digest.hexdigest()


def _fill(path: Path, file: io.BufferedReader, room: memoryview) -> memoryview:
    """Reads into all of ``room`` and returns it."""
    count = file.readinto(room)
    if count < len(room):
        _damaged(path, f"it became shorter: expected {len(room)} more bytes, got {count}")
    return room


def _require_size(path: Path, header: Header, file: io.BufferedReader) -> None:
    body_bytes = os.fstat(file.fileno()).st_size - header.body_offset
    if body_bytes != header.body_bytes:
        _damaged(path, f"expected {header.body_bytes} bytes of content, got {body_bytes}")


def _require_digest(path: Path, header: Header, digest: str) -> None:
    if digest != header.body_sha256:
        _damaged(path, f"expected content of SHA-256 {header.body_sha256}, got {digest}")


def _read_header(path: Path, file: io.BufferedReader) -> Header:
    prefix = file.read(_PREFIX.size)
    if not prefix.startswith(MAGIC) or len(prefix) < _PREFIX.size:
        raise DamagedFileError(
            f"{path} cannot be read",
            problem=f"expected a file that begins with {MAGIC!r}, got {prefix[: len(MAGIC)]!r}",
            context={"path": path, "bytes": os.fstat(file.fileno()).st_size},
            resolution="give a file written by phasic_mpi; if this one was, it is damaged",
        )
    _, version, length = _PREFIX.unpack(prefix)
    if length > _LARGEST_USER_BLOCK:
        _damaged(path, f"expected a header of at most {_LARGEST_USER_BLOCK} bytes, got {length}")
    text, digest = file.read(length), file.read(_DIGEST_BYTES)
    actual = hashlib.sha256(prefix + text).digest()
    if actual != digest:
        _damaged(path, f"expected a header of SHA-256 {digest.hex()}, got {actual.hex()}")
    if version != HEADER_VERSION:
        raise StoreError(
            f"{path} cannot be read",
            problem=f"expected header version {HEADER_VERSION}, got {version}",
            context={"path": path},
            resolution="read it with the version of phasic_mpi that wrote it, or a later one",
        )
    try:
        header = msgspec.json.decode(text, type=Header)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        _damaged(path, f"its header cannot be read: {exc}")
    if not file.tell() <= header.body_offset <= _LARGEST_USER_BLOCK or header.body_bytes < 0:
        _damaged(path, f"impossible: {header.body_bytes} bytes from byte {header.body_offset} on")
    if any(file.read(header.body_offset - file.tell())):
        _damaged(path, "expected zeros between the header and the content")
    return header


def _require_kind(
    path: Path, header: Header, filetype: str | None, version: tuple[int, int] | None
) -> None:
    """Refuses another kind or major version than is expected, if any is."""
    if filetype is not None and header.filetype != filetype:
        raise StoreError(
            f"{path} cannot be read",
            problem=f"expected a file of type {filetype}, got {header.filetype}",
            context={"path": path},
            resolution="see what it is with: python -m phasic_mpi info FILE",
        )
    if version is not None and header.version[0] != version[0]:
        age = "a later" if header.version[0] > version[0] else "an earlier"
        raise StoreError(
            f"{path} cannot be read",
            problem=f"expected layout version {version[0]}, got {header.version[0]}: it was "
            f"written by {age} version of phasic_mpi",
            context={"path": path, "filetype": filetype},
            resolution="read it with that version, or write it again with this one",
        )


def refuse(path: Path, problem: str, *, n_bytes: int) -> NoReturn:
    """Says what HDF5 finds in a file that it shall not or cannot read.

    Raises:
        StoreError: Always.
    """
    raise StoreError(
        f"{path} cannot be read",
        problem=problem,
        context={"path": path, "bytes": n_bytes},
        resolution="write plain contiguous datasets into the root group, see docs/file_formats.md",
    )


def _damaged(path: Path, problem: str) -> NoReturn:
    raise DamagedFileError(
        f"{path} is damaged",
        problem=problem,
        context={"path": path},
        resolution="restore it from a copy, or remove it and make it again",
    )
