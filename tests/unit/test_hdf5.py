"""Files are equal for equal content, and every damage to them is found."""

import errno
import hashlib
import io
import json
import os
import re
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from phasic_mpi import hdf5
from phasic_mpi.errors import DamagedFileError, StoreError
from tests.hostile_hdf5 import (
    external_storage,
    link_to_another_file,
    virtual_dataset,
    with_right_digest,
)

FILETYPE = "phasic_mpi.test"
VERSION = (2, 3)
ARRAYS = {
    "numbers": np.array([[1.5, -2.0], [0.0, 1e300]]),
    "indices": np.arange(5, dtype=np.int32),
    "names": np.array([b"one", b"three"], dtype="S8"),
    "none": np.zeros((3, 0), dtype=np.int64),
}
SUMMARY = {"n_vertices": 7, "keys": ["a", "b"]}

# Where the header of a file stands, by the format in docs/file_formats.md.
PREFIX = struct.Struct("<10sHI")


def image_of(**changes: Any) -> bytes:
    settings = {"datasets": ARRAYS, "attributes": {"n": 3}, "summary": SUMMARY, **changes}
    filetype = settings.pop("filetype", FILETYPE)
    return bytes(hdf5.encode(filetype, settings.pop("version", VERSION), **settings))


def read(path: Path, **changes: Any) -> tuple[hdf5.Arrays, hdf5.Header]:
    return hdf5.read(path, **{"filetype": FILETYPE, "version": VERSION, **changes})


def with_header(image: bytes, change: Callable[[dict[str, Any]], object]) -> bytes:
    """The file with other facts in its header, and the right digest for them."""
    _, _, length = PREFIX.unpack(image[: PREFIX.size])
    header = json.loads(image[PREFIX.size : PREFIX.size + length])
    offset = header["body_offset"]
    change(header)
    return with_header_text(json.dumps(header).encode(), image[offset:], offset=offset)


def with_header_text(text: bytes, body: bytes, *, offset: int = 512, version: int = 1) -> bytes:
    prefix = PREFIX.pack(hdf5.MAGIC, version, len(text)) + text
    return (prefix + hashlib.sha256(prefix).digest()).ljust(offset, b"\0") + body


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file.h5"


def test_what_is_written_is_read_back(path: Path) -> None:
    path.write_bytes(image_of())
    arrays, header = read(path, names=dict.fromkeys(ARRAYS, 0))
    assert set(arrays) == set(ARRAYS)
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype
        assert arrays[name].shape == array.shape
        assert arrays[name].tobytes() == array.tobytes()
    assert (header.filetype, header.version, header.summary) == (FILETYPE, VERSION, SUMMARY)
    assert hdf5.read_header(path) == hdf5.check(path) == header
    assert hdf5.has_header(path)


def test_plain_hdf5_reads_the_file_too(path: Path) -> None:
    path.write_bytes(image_of())
    with h5py.File(path, "r") as file:
        assert file.attrs["filetype"] == FILETYPE
        assert file.attrs["version"].tolist() == list(VERSION)
        assert file.attrs["n"] == 3
        assert file["numbers"][()].tolist() == ARRAYS["numbers"].tolist()
        assert file["numbers"].chunks is None


def test_equal_content_gives_equal_bytes_also_in_another_process_at_another_time() -> None:
    code = (
        "import hashlib; from tests.unit.test_hdf5 import image_of; "
        "print(hashlib.sha256(image_of()).hexdigest())"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "77"}
    here = hashlib.sha256(image_of()).hexdigest()
    there = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert there.stdout.strip() == here


def test_other_content_gives_other_bytes() -> None:
    images = [
        image_of(),
        image_of(version=(2, 4)),
        image_of(summary={}),
        image_of(attributes={"n": 4}),
        image_of(datasets={**ARRAYS, "indices": np.arange(1, 6, dtype=np.int32)}),
        image_of(datasets={**ARRAYS, "indices": np.arange(5, dtype=np.int64)}),
    ]
    assert len(set(images)) == len(images)


@pytest.mark.parametrize("n_keys", [10, 100, 5000])
def test_a_long_summary_makes_room_for_itself(path: Path, n_keys: int) -> None:
    summary = {"keys": [f"{number:064x}" for number in range(n_keys)]}
    path.write_bytes(image_of(summary=summary))
    assert hdf5.read_header(path).summary == summary
    arrays, _ = read(path)
    assert arrays["indices"].tolist() == [0, 1, 2, 3, 4]


def test_a_summary_that_no_reader_would_accept_is_not_written() -> None:
    with pytest.raises(StoreError, match=f"less than {1 << 26} bytes"):
        image_of(summary={"text": "x" * (1 << 26)})


def test_every_changed_byte_of_a_file_is_refused(path: Path) -> None:
    image = image_of(datasets={"a": np.arange(3)}, attributes={}, summary={})
    rng = np.random.default_rng(1)
    for position in range(len(image)):
        spoilt = bytearray(image)
        spoilt[position] ^= int(rng.integers(1, 256))
        path.write_bytes(spoilt)
        with pytest.raises(DamagedFileError):
            read(path)
        with pytest.raises(DamagedFileError):
            hdf5.check(path)


@pytest.mark.parametrize("reader", [read, hdf5.check])
def test_a_file_cut_short_anywhere_is_refused(path: Path, reader: Callable[[Path], object]) -> None:
    image = image_of(datasets={"a": np.arange(3)}, attributes={}, summary={})
    for end in range(len(image)):
        path.write_bytes(image[:end])
        with pytest.raises(DamagedFileError):
            reader(path)


@pytest.mark.parametrize("reader", [read, hdf5.check])
def test_a_file_with_bytes_behind_its_end_is_refused(
    path: Path, reader: Callable[[Path], object]
) -> None:
    path.write_bytes(image_of() + b"\0")
    with pytest.raises(DamagedFileError, match=r"expected \d+ bytes of content, got \d+"):
        reader(path)


def test_a_damaged_header_is_found_without_the_content(path: Path) -> None:
    image = image_of()
    _, _, length = PREFIX.unpack(image[: PREFIX.size])
    for position in range(PREFIX.size + length + 32):
        spoilt = bytearray(image)
        spoilt[position] ^= 1
        path.write_bytes(spoilt)
        with pytest.raises(DamagedFileError):
            hdf5.read_header(path)


@pytest.mark.parametrize("content", [b"", b"PHASIC", b"\x89HDF\r\n\x1a\n" + bytes(600)])
def test_a_file_that_is_not_ours_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    assert not hdf5.has_header(path)
    with pytest.raises(StoreError, match="a file that begins with b'PHASICMPI"):
        read(path)


def test_a_file_that_is_not_there_is_an_error_of_the_file_system(path: Path) -> None:
    for reader in (read, hdf5.check, hdf5.read_header, hdf5.has_header):
        with pytest.raises(FileNotFoundError):
            reader(path)


@pytest.mark.parametrize(("major", "age"), [(3, "a later"), (1, "an earlier")])
def test_another_major_version_is_refused_and_its_age_said(
    path: Path, major: int, age: str
) -> None:
    path.write_bytes(image_of(version=(major, 0)))
    for reader in (read, lambda p: hdf5.read_header(p, filetype=FILETYPE, version=VERSION)):
        with pytest.raises(StoreError, match=f"expected layout version 2, got {major}.*{age}"):
            reader(path)
    assert hdf5.read_header(path).version == (major, 0)


def test_a_later_minor_version_is_read(path: Path) -> None:
    path.write_bytes(image_of(version=(2, 99)))
    arrays, header = read(path)
    assert header.version == (2, 99)
    assert set(arrays) == set(ARRAYS)


def test_a_later_version_of_the_header_is_refused(path: Path) -> None:
    path.write_bytes(with_header_text(b"{}", b"", version=2))
    with pytest.raises(StoreError, match="expected header version 1, got 2"):
        hdf5.read_header(path)


def test_a_file_of_another_type_is_refused(path: Path) -> None:
    path.write_bytes(image_of(filetype="phasic_mpi.other"))
    with pytest.raises(StoreError, match=r"of type phasic_mpi\.test, got phasic_mpi\.other"):
        read(path)


def test_datasets_too_many_or_too_few_are_refused(path: Path) -> None:
    path.write_bytes(image_of())
    for names in ([*ARRAYS, "more"], list(ARRAYS)[1:]):
        with pytest.raises(DamagedFileError, match="expected the datasets"):
            read(path, names=dict.fromkeys(names, 0))


def test_datasets_are_expected_from_the_minor_version_on_that_brought_them(path: Path) -> None:
    major, minor = VERSION
    since = {name: minor + (name == "names") for name in ARRAYS}
    older = {name: array for name, array in ARRAYS.items() if name != "names"}
    later = (major, minor + 1)
    path.write_bytes(image_of(datasets=older))
    assert set(read(path, version=later, names=since)[0]) == set(older)
    path.write_bytes(image_of(datasets=older, version=later))
    with pytest.raises(DamagedFileError, match="expected the datasets"):
        read(path, version=later, names=since)
    path.write_bytes(image_of(version=later))
    assert set(read(path, version=later, names=since)[0]) == set(ARRAYS)
    # What a reader of the earlier version does not know, it leaves out.
    assert set(read(path, names=dict.fromkeys(older, minor))[0]) == set(older)


@pytest.mark.parametrize(
    "change",
    [
        lambda header: header.clear(),
        lambda header: header.pop("summary"),
        lambda header: header.update(filetype=5),
        lambda header: header.update(version=[2]),
        lambda header: header.update(version="2.3"),
        lambda header: header.update(body_offset=0),
        lambda header: header.update(body_offset=-1),
        lambda header: header.update(body_offset=10**18),
        lambda header: header.update(body_bytes=10**18),
        lambda header: header.update(body_bytes=-1),
        lambda header: header.update(body_sha256="0" * 64),
        lambda header: header.update(summary=[]),
    ],
)
def test_a_header_that_lies_under_a_right_digest_is_refused(
    path: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    image = image_of()
    path.write_bytes(with_header(image, lambda header: header.update(more="is ignored")))
    read(path)
    path.write_bytes(with_header(image, change))
    with pytest.raises(DamagedFileError):
        read(path)


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b"\xff", b"null", b"[" * 100_000])
def test_a_header_that_is_no_json_object_is_refused(path: Path, text: bytes) -> None:
    path.write_bytes(with_header_text(text, b""))
    with pytest.raises(DamagedFileError, match="its header cannot be read"):
        hdf5.read_header(path)


@pytest.mark.parametrize("make", [link_to_another_file, virtual_dataset, external_storage])
def test_a_file_of_our_form_cannot_reach_into_other_files(
    path: Path, make: Callable[[h5py.File], object]
) -> None:
    """Whoever makes a file can give it a right digest, so a right digest is no proof."""
    path.write_bytes(with_right_digest(make, path.with_name("body.h5")))
    with pytest.raises(StoreError, match="got a"):
        hdf5.read(path, filetype="phasic_mpi.test", version=(1, 0))


def large_arrays() -> dict[str, np.ndarray]:
    """In memory as they are written, and not, with small ones among them and one of them twice."""
    numbers = np.random.default_rng(1).integers(0, 99, 90_000)
    return {
        "empty": np.zeros((0, 3)),
        "many": numbers,
        "few": np.arange(3),
        "again": numbers,
        "behind": numbers[7:],
        "apart": numbers[::2],
        "columns": np.asfortranarray(numbers.reshape(-1, 3)),
        "names": np.array([b"a" * 60, b"b"] * 2000, dtype="S64"),
        "other order": numbers.astype(">i8"),
    }


def test_pieces_hold_what_h5py_writes_into_one_buffer() -> None:
    arrays = large_arrays()
    image = image_of(datasets=arrays)
    offset = image.index(hdf5.SIGNATURE)
    buffer = io.BytesIO()
    layout = {"userblock_size": offset, "alignment_threshold": 65_536, "alignment_interval": 64}
    with h5py.File(buffer, "w", libver=("v110", "v110"), **layout) as file:
        file.attrs["filetype"] = FILETYPE
        file.attrs["version"] = np.array(VERSION, dtype=np.int64)
        file.attrs["n"] = 3
        for name, array in arrays.items():
            file.create_dataset(name, data=array, track_times=False)
    assert image[offset:] == buffer.getvalue()[offset:]


def addresses(image: hdf5.FileImage) -> set[int]:
    return {np.frombuffer(piece, np.uint8).ctypes.data for piece in image.pieces}


def test_large_arrays_are_not_copied() -> None:
    arrays = large_arrays()
    image = hdf5.encode(FILETYPE, VERSION, datasets=arrays, attributes={}, summary={})
    for name in ("many", "again", "behind", "names", "other order"):
        assert arrays[name].ctypes.data in addresses(image), name
    copied = (len(piece) for piece in image.pieces if piece.obj.__class__ is bytearray)
    assert sum(copied) < 1_100_000


def write_large(path: Path) -> dict[str, np.ndarray]:
    """A file that is read in several pieces."""
    arrays = {**large_arrays(), "more": np.arange(1_200_000.0)}
    hdf5.encode(FILETYPE, VERSION, datasets=arrays, attributes={}, summary={}).write(path)
    return arrays


def assert_read_back(path: Path, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    found, _ = hdf5.read(path, filetype=FILETYPE, version=VERSION)
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert found[name].flags.aligned
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)
    return found


def test_an_array_that_is_most_of_a_file_stays_where_that_was_read_to(path: Path) -> None:
    found = assert_read_back(path, write_large(path))
    assert not found["more"].flags.owndata
    assert found["many"].flags.owndata  # it would keep the whole file


def test_arrays_that_begin_anywhere_are_read_too(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hdf5, "_ALIGNMENT", 1)
    found = assert_read_back(path, write_large(path))
    assert found["more"].flags.owndata  # its address in the file is no multiple of 8


class Shrinking(io.BufferedReader):
    """A file that is cut to half of its size once its header has been read."""

    def readinto(self, room: memoryview) -> int:
        os.truncate(self.name, os.path.getsize(self.name) // 2)
        return super().readinto(room)


def test_a_file_that_shrinks_while_it_is_read_is_refused(path: Path) -> None:
    write_large(path)
    with (
        Shrinking(io.FileIO(path)) as file,
        pytest.raises(DamagedFileError, match="it became shorter"),
    ):
        hdf5.read_checked(path, file)


@pytest.mark.parametrize("part", [0.01, 0.5, 0.99])
def test_a_changed_byte_of_a_large_file_is_refused(path: Path, part: float) -> None:
    write_large(path)
    content = bytearray(path.read_bytes())
    content[int(part * len(content))] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedFileError, match="SHA-256"):
        hdf5.read(path, filetype=FILETYPE, version=VERSION)


def cut(sizes: Sequence[int], array: np.ndarray) -> list[np.ndarray]:
    """Parts of these sizes from the beginning of an array, each in memory of its own."""
    return [part.copy() for part in np.split(array, np.cumsum(sizes))[: len(sizes)]]


@pytest.mark.parametrize(
    "sizes",
    [
        [5],
        [0, 0],
        [3, 0, 4],
        [40_000],
        [40_000, 50_000],
        [3, 40_000, 0, 5, 7, 40_000, 9],
        [9_000] * 9,
    ],
)
def test_an_array_in_parts_gives_the_bytes_of_the_whole(sizes: list[int]) -> None:
    numbers = np.random.default_rng(1).integers(0, 99, 90_000)
    names = {"before": np.arange(3), "numbers": cut(sizes, numbers), "behind": np.arange(9_000)}
    whole = {**names, "numbers": numbers[: sum(sizes)].copy()}
    assert image_of(datasets=names) == image_of(datasets=whole)


def test_parts_that_are_not_as_they_are_written_are_put_so() -> None:
    numbers = np.arange(60_000)
    parts = [numbers[::2], numbers[:20_000].astype(np.int32), numbers[:5].astype(">i8"), numbers]
    expected = image_of(datasets={"numbers": np.concatenate(parts)})
    assert image_of(datasets={"numbers": parts}) == expected


def test_large_parts_are_not_copied_and_small_ones_are_put_together() -> None:
    sizes = [4, 20_000, 20_000, *([100] * 50), 20_000]
    parts = cut(sizes, np.arange(90_000))
    image = hdf5.encode(FILETYPE, VERSION, datasets={"all": parts}, attributes={}, summary={})
    assert {part.ctypes.data for part in parts if part.size == 20_000} <= addresses(image)
    # What HDF5 writes before and behind, three large parts, and two runs of small ones.
    assert len(image.pieces) == 2 + 3 + 2


def test_parts_that_hdf5_writes_in_another_way_are_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hdf5, "_is_all_of", lambda *_: False)
    parts = cut([20_000, 20_000], np.arange(40_000))
    with pytest.raises(StoreError, match="expected HDF5 to write 320000 bytes at once"):
        image_of(datasets={"numbers": parts})


# --- writing a file whose digest is computed meanwhile --------------------------------------------


def large_image() -> hdf5.FileImage:
    """Of 4 MiB in pieces of 1 MiB, among others."""
    parts = cut([131_072] * 4, np.random.default_rng(2).integers(0, 99, 524_288))
    datasets = {"numbers": parts, "few": np.arange(7)}
    return hdf5.encode(FILETYPE, VERSION, datasets=datasets, attributes={}, summary=SUMMARY)


@pytest.mark.parametrize("at_a_time", [1 << 30, 100_000])
def test_a_large_file_is_the_same_as_in_memory(
    path: Path, monkeypatch: pytest.MonkeyPatch, at_a_time: int
) -> None:
    real_write = os.write
    monkeypatch.setattr(os, "write", lambda file, data: real_write(file, data[:at_a_time]))
    image = large_image()
    assert image.write(path) == image.nbytes == path.stat().st_size > 4 << 20
    monkeypatch.undo()
    assert path.read_bytes() == bytes(image)
    header = hdf5.check(path)
    body = path.read_bytes()[header.body_offset :]
    assert hashlib.sha256(body).hexdigest() == header.body_sha256


def test_the_header_of_a_large_file_is_written_after_its_body_and_before_it_is_synced(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[object] = []
    real_write, real_fsync, real_rename = os.write, os.fsync, os.rename

    def write(descriptor: int, data: memoryview) -> int:
        steps.append((os.lseek(descriptor, 0, os.SEEK_CUR), bytes(data[: len(hdf5.MAGIC)])))
        return real_write(descriptor, data)

    monkeypatch.setattr(os, "write", write)
    monkeypatch.setattr(os, "fsync", lambda file: (steps.append("sync"), real_fsync(file))[1])
    monkeypatch.setattr(os, "rename", lambda *to: (steps.append("rename"), real_rename(*to))[1])
    large_image().write(path)
    assert steps[0] == (0, bytes(len(hdf5.MAGIC)))
    assert steps[-4:] == [(0, hdf5.MAGIC), "sync", "rename", "sync"]
    offsets = [step[0] for step in steps[:-4] if isinstance(step, tuple)]
    assert offsets == sorted(set(offsets))


def fail_at(monkeypatch: pytest.MonkeyPatch, call: str, number: int, failure: Exception) -> None:
    """Has the call of a function of ``os`` with this number fail, counted from 0."""
    real, numbers = getattr(os, call), count()

    def function(*arguments: Any) -> Any:
        if next(numbers) == number:
            raise failure
        return real(*arguments)

    monkeypatch.setattr(os, call, function)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize(
    ("call", "number"), [*(("write", number) for number in range(7)), ("fsync", 0), ("rename", 0)]
)
def test_a_large_file_that_is_refused_leaves_what_was_there_and_names_it(
    path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int, code: int
) -> None:
    path.write_bytes(b"old")
    threads = threading.active_count()
    fail_at(monkeypatch, call, number, OSError(code, "a text that is not passed on"))
    with pytest.raises(OSError, match=re.escape(str(path))) as caught:
        large_image().write(path)
    assert caught.value.errno == code
    assert {entry.name: entry.read_bytes() for entry in path.parent.iterdir()} == {
        path.name: b"old"
    }
    assert threading.active_count() == threads


def test_a_digest_that_cannot_be_computed_leaves_no_file(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = large_image()

    def fail() -> None:
        raise MemoryError("no room for a digest")

    monkeypatch.setattr(hashlib, "sha256", fail)
    with pytest.raises(MemoryError, match="no room for a digest"):
        image.write(path)
    assert list(path.parent.iterdir()) == []


def test_a_small_file_takes_one_write_and_no_thread(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_write, writers = os.write, []

    def write(descriptor: int, data: memoryview) -> int:
        writers.append(threading.active_count())
        return real_write(descriptor, data)

    monkeypatch.setattr(os, "write", write)
    threads = threading.active_count()
    datasets = {"numbers": cut([20_000, 20_000], np.arange(40_000))}
    hdf5.encode(FILETYPE, VERSION, datasets=datasets, attributes={}, summary={}).write(path)
    assert writers == [threads]
    assert read(path)[0]["numbers"].tolist() == list(range(40_000))
