"""HDF5 files of users, which HDF5 opens in a process of its own, within limits.

A file can make HDF5 crash, run for ever or take all memory, and a run of many ranks would end with
the one that reads it. So a child process (``datasets``, run as a program) opens the file, makes
sure that nothing in it reaches beyond it, and says where its numbers are. Those that lie in the
file as they will lie in memory are read here without HDF5; others, compressed ones above all, come
through a pipe. Nothing that the child says is believed: names, types, sizes and places are checked,
because what HDF5 reads might have taken it over.
"""

from __future__ import annotations

import json
import math
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

import msgspec
import numpy as np
from numpy.typing import NDArray

from phasic_mpi import datasets, hdf5
from phasic_mpi.child import Child, ChildFailure, printable
from phasic_mpi.datasets import (
    BYTES,
    DESCRIPTION,
    LONGEST_REFUSAL,
    MESSAGE,
    NUMBERS,
    REFUSAL,
    STARTED,
    TEXTS,
    Refusal,
)
from phasic_mpi.errors import EnvironmentMismatchError, StoreError
from phasic_mpi.hdf5 import Arrays, Header

# Address space of the child: Python and HDF5 take a tenth of the first number. The rest is for the
# largest chunk, and for as many indices as a file can hold.
MEMORY_BYTES = 1 << 30
MEMORY_PER_BYTE = 4

# Time for the child to start, and to describe a file; to read it at the slowest speed that is taken
# for work, it has more.
SECONDS = 60
SLOWEST_BYTES_PER_SECOND = 16 << 20

# gzip makes at most so many bytes of one. Beside compressed numbers a file may declare a few that
# are nowhere: they are all of one value.
EXPANSION = 1032
UNWRITTEN_BYTES = 64 << 20

_LONGEST_DESCRIPTION = 1 << 20
_DTYPE = re.compile(r"[<>|](?:[iu][1248]|f2|f4|f8|f16|S[1-9][0-9]{0,8})")
_MOST_DIMENSIONS = 32

# Neither the environment nor the site of a user says what the child imports, and no module is
# compiled into a file; see the documentation of these options.
_PROGRAM = ("-I", "-S", "-B", datasets.__file__)


@dataclass(frozen=True)
class _File:
    """An open file, and what may be read of it.

    Attributes:
        path: Its name, for messages.
        descriptor: What is read: the name might lead to another file by now.
        n_bytes: Its size.
        byte_limit: Bytes that its arrays may take in memory, all together.
        image: Its bytes, if they have been read.
    """

    path: Path
    descriptor: int
    n_bytes: int
    byte_limit: int
    image: memoryview | None = None


@dataclass(frozen=True)
class _Place:
    """What the child says of a dataset; without an offset its bytes come through the pipe."""

    name: str
    dtype: str
    shape: list[int]
    offset: int | None


def read(path: Path, wanted: Mapping[str, str], *, byte_limit: int) -> Arrays:
    """Reads arrays of an HDF5 file of anybody.

    Refuses what :func:`phasic_mpi.datasets.harmless` refuses, and more bytes than gzip can pack
    into a file of its size.

    Args:
        path: The file.
        wanted: Datasets of the root group to read, with the kinds of dtype that each may have;
            those that are not there are left out.
        byte_limit: Bytes that the arrays may take in memory, all together.

    Raises:
        StoreError: The file is no HDF5 file or holds what is refused, or the process that read it
            crashed, went beyond its limits, or said what cannot be.
        EnvironmentMismatchError: No process could be started for it.
        OSError: The file cannot be read.
    """
    with path.open("rb") as opened:
        descriptor = opened.fileno()
        n_bytes = os.fstat(descriptor).st_size
        if not _has_signature(descriptor, n_bytes):
            problem = "expected an HDF5 file, but it has no HDF5 signature"
            hdf5.refuse(path, problem, n_bytes=n_bytes)
        limit = min(byte_limit, UNWRITTEN_BYTES + EXPANSION * n_bytes)
        file = _File(path, descriptor, n_bytes, limit)
        with _child_for(file) as child:
            return _read(file, child, wanted)


def read_own(
    path: Path, *, filetype: str, version: tuple[int, int], names: Mapping[str, int]
) -> tuple[Arrays, Header]:
    """Reads all arrays of a file in the format of :mod:`phasic_mpi.hdf5` that a user brings.

    A digest shows damage, not who made the file: it is checked first, while the child starts, and
    then HDF5 opens the file as it does those of anybody.

    Args:
        path: The file.
        filetype: Kind of content expected.
        version: Version this code writes.
        names: See :func:`phasic_mpi.hdf5.read`.

    Raises:
        StoreError: As :func:`read`, or the file is damaged, of another kind or major version.
        EnvironmentMismatchError: No process could be started for it.
        OSError: The file cannot be read.
    """
    with path.open("rb") as opened:
        n_bytes = os.fstat(opened.fileno()).st_size
        file = _File(path, opened.fileno(), n_bytes, n_bytes)
        with _child_for(file) as child:
            image, header = hdf5.read_checked(path, opened, filetype=filetype, version=version)
            arrays = _read(replace(file, image=image), child, None)
    return hdf5.only_expected(path, arrays, header, names=names, version=version), header


def _has_signature(descriptor: int, n_bytes: int) -> bool:
    """Whether there is an HDF5 signature at one of the places where HDF5 looks for it."""
    at = 0
    while at < n_bytes:
        if os.pread(descriptor, len(hdf5.SIGNATURE), at) == hdf5.SIGNATURE:
            return True
        at = max(2 * at, hdf5.SMALLEST_USER_BLOCK)
    return False


@contextmanager
def _child_for(file: _File) -> Iterator[Child]:
    """Starts the child that has the file open, and says what it does instead of answering."""
    folders = [os.path.abspath(folder) for folder in sys.path if folder]
    command = [sys.executable, *_PROGRAM, str(file.descriptor), str(os.getpid()), *folders]
    limits = {
        "memory_bytes": MEMORY_BYTES + MEMORY_PER_BYTE * file.n_bytes,
        "cpu_seconds": math.ceil(_seconds(file.n_bytes + file.byte_limit)),
    }
    try:
        child = Child(command, descriptor=file.descriptor, **limits)
    except OSError as exc:
        _refuse_to_start(file, f"expected to start {sys.executable}, got: {exc}", exc)
    with child:
        child.allow(SECONDS)
        try:
            yield child
        except ChildFailure as exc:
            raise StoreError(
                f"{file.path} cannot be read",
                problem=f"HDF5 reads it in a process of its own: {exc}",
                context={"path": file.path, "bytes": file.n_bytes, **limits},
                resolution="the file is damaged, made to do harm, or beyond these limits: write it "
                "again, with plain contiguous datasets in the root group, see docs/reliability.md",
            ) from exc


def _read(file: _File, child: Child, wanted: Mapping[str, str] | None) -> Arrays:
    try:
        _next_message(child, STARTED, longest=0)
    except ChildFailure as exc:
        _refuse_to_start(file, str(exc), exc)
    request = {"wanted": wanted, "byte_limit": file.byte_limit}
    child.ask(json.dumps(request).encode() + b"\n")
    child.allow(SECONDS)
    try:
        places = _places(child, file, wanted)
        arrays = {place.name: _room(place) for place in places}
        for place in places:
            if place.offset is not None:
                _copy(file, place.offset, _bytes_of(arrays[place.name]))
        sent = [arrays[place.name] for place in places if place.offset is None]
        child.allow(_seconds(file.n_bytes + sum(array.nbytes for array in sent)))
        for array in sent:
            _receive(child, _bytes_of(array))
    except Refusal as exc:
        hdf5.refuse(file.path, printable(str(exc)), n_bytes=file.n_bytes)
    return arrays


def _next_message(child: Child, kind: bytes, *, longest: int) -> int:
    """Length of the next message, which must be of this kind.

    Raises:
        Refusal: It is one.
        ChildFailure: It is something else, or too long.
    """
    head = bytearray(MESSAGE.size)
    child.receive(memoryview(head))
    found, length = MESSAGE.unpack(head)
    if found == REFUSAL and length <= LONGEST_REFUSAL:
        text = bytearray(length)
        child.receive(memoryview(text))
        raise Refusal(text.decode(errors="replace"))
    if found != kind or length > longest:
        raise ChildFailure(
            f"expected a message of kind {kind!r} and at most {longest} bytes, got one of kind "
            f"{found!r} and {length} bytes"
        )
    return int(length)


def _places(child: Child, file: _File, wanted: Mapping[str, str] | None) -> list[_Place]:
    """The description of the datasets, checked."""
    text = bytearray(_next_message(child, DESCRIPTION, longest=_LONGEST_DESCRIPTION))
    child.receive(memoryview(text))
    try:
        places = msgspec.json.decode(text, type=list[_Place])
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise ChildFailure(f"expected a description of the datasets, got: {exc}") from exc
    left = file.byte_limit
    for place in places:
        _require_possible(place, file, wanted, left)
        left -= _n_bytes(place)
    if len({place.name for place in places}) < len(places):
        raise ChildFailure("expected each dataset once, got one twice")
    return places


def _require_possible(
    place: _Place, file: _File, wanted: Mapping[str, str] | None, byte_limit: int
) -> None:
    kinds = NUMBERS + TEXTS if wanted is None else wanted.get(place.name, "")
    possible = (
        _DTYPE.fullmatch(place.dtype)
        and place.dtype[1] in kinds
        and len(place.shape) <= _MOST_DIMENSIONS
        and all(0 <= length <= sys.maxsize for length in place.shape)
        and _n_bytes(place) <= byte_limit
        and (place.offset is None or 0 <= place.offset <= file.n_bytes - _n_bytes(place))
    )
    if not possible:
        raise ChildFailure(
            f"expected datasets that were asked for, in {file.n_bytes} bytes of a file and "
            f"{byte_limit} of memory, got {printable(repr(place))}"
        )


def _n_bytes(place: _Place) -> int:
    return math.prod(place.shape) * int(place.dtype[2:])


def _room(place: _Place) -> NDArray[Any]:
    try:
        return np.empty(place.shape, dtype=place.dtype)
    except ValueError as exc:
        raise ChildFailure(f"expected the shape of an array, got {place.shape}: {exc}") from exc


def _bytes_of(array: NDArray[Any]) -> memoryview:
    return array.reshape(-1).view(np.uint8).data


def _copy(file: _File, offset: int, room: memoryview) -> None:
    """Fills ``room`` with bytes of the file, without HDF5."""
    if file.image is not None:
        room[:] = file.image[offset : offset + len(room)]
        return
    while room:
        count = os.preadv(file.descriptor, [room], offset)
        if not count:
            raise Refusal(f"expected {len(room)} bytes from byte {offset} on, but the file ends")
        room, offset = room[count:], offset + count


def _receive(child: Child, room: memoryview) -> None:
    """Fills ``room`` with the bytes that the child sends."""
    while room:
        length = _next_message(child, BYTES, longest=len(room))
        child.receive(room[:length])
        room = room[length:]


def _seconds(n_bytes: int) -> float:
    return SECONDS + n_bytes / SLOWEST_BYTES_PER_SECOND


def _refuse_to_start(file: _File, problem: str, exc: Exception) -> NoReturn:
    raise EnvironmentMismatchError(
        "No process can be started in which HDF5 would open a file",
        problem=problem,
        context={"path": file.path, "python": sys.executable},
        resolution="let this program start processes that import h5py, or write the graph as JSON",
    ) from exc
