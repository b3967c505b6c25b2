"""Files are whole or absent, whatever happens while they are written."""

import errno
import os
import secrets
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from phasic_mpi import files


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file.h5"


def write_attempt(path: Path, image: bytes = b"new") -> None:
    files.write_atomically(path, image)


def refusing(code: int) -> Callable[..., Any]:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    return refuse


@pytest.mark.parametrize("before", [None, b"old"])
@pytest.mark.parametrize("call", ["write", "fsync", "rename"])
def test_a_failed_write_leaves_what_was_there_and_nothing_else(
    path: Path, monkeypatch: pytest.MonkeyPatch, call: str, before: bytes | None
) -> None:
    if before is not None:
        path.write_bytes(before)
    monkeypatch.setattr(os, call, refusing(errno.ENOSPC))
    with pytest.raises(OSError, match="No space left"):
        write_attempt(path)
    found = {entry.name: entry.read_bytes() for entry in path.parent.iterdir()}
    assert found == ({} if before is None else {path.name: before})


def test_a_disk_that_fills_up_halfway_leaves_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_write, written = os.write, []

    def write(descriptor: int, data: memoryview) -> int:
        if written:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written.append(real_write(descriptor, data[:2]))
        return written[-1]

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(OSError, match="No space left"):
        write_attempt(path)
    assert written == [2]
    assert list(path.parent.iterdir()) == []


def test_an_interrupt_while_writing_leaves_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_attempt(path)
    assert list(path.parent.iterdir()) == []


def test_a_write_in_small_pieces_is_whole(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real_write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real_write(descriptor, data[:7]))
    image = bytes(range(256)) * 5
    write_attempt(path, image)
    assert path.read_bytes() == image


@pytest.mark.parametrize("at_a_time", [100, 3])
def test_the_beginning_is_asked_for_when_all_else_is_written(
    path: Path, monkeypatch: pytest.MonkeyPatch, at_a_time: int
) -> None:
    real_write = os.write
    monkeypatch.setattr(os, "write", lambda file, data: real_write(file, data[:at_a_time]))

    def beginning() -> bytes:
        (temporary,) = path.parent.iterdir()
        assert temporary.read_bytes() == b"....... and more"
        return b"Written"

    files.write_atomically(path, b".......", b" and ", b"more", beginning=beginning)
    assert path.read_bytes() == b"Written and more"


def test_a_beginning_that_fails_leaves_nothing(path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        files.write_atomically(path, b"......", beginning=lambda: bytes(1 // 0))
    assert list(path.parent.iterdir()) == []


def test_content_is_synced_before_and_the_directory_after_the_renaming(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    real_fsync = os.fsync

    def fsync(descriptor: int) -> None:
        kind = "directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file"
        seen.append((kind, path.exists()))
        real_fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    write_attempt(path)
    assert seen == [("file", False), ("directory", True)]


@pytest.mark.parametrize(("mode", "expected"), [(None, 0o600), (0o666, 0o640)])
def test_a_file_is_private_unless_the_caller_says_otherwise(
    path: Path, mode: int | None, expected: int
) -> None:
    before = os.umask(0o027)
    try:
        files.write_atomically(path, b"new", **({} if mode is None else {"mode": mode}))
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == expected


def test_a_replaced_file_stays_readable_to_who_has_it_open(path: Path) -> None:
    path.write_bytes(b"old")
    with path.open("rb") as reader:
        write_attempt(path)
        assert reader.read() == b"old"
    assert path.read_bytes() == b"new"


def test_a_link_in_the_place_of_the_temporary_file_is_not_followed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim = path.with_name("victim")
    victim.write_bytes(b"precious")
    monkeypatch.setattr(secrets, "token_hex", lambda _: "cafe")
    path.with_name(f".{path.name}.cafe.tmp").symlink_to(victim)
    with pytest.raises(FileExistsError):
        write_attempt(path)
    assert victim.read_bytes() == b"precious"
    monkeypatch.undo()
    write_attempt(path)
    assert (path.read_bytes(), victim.read_bytes()) == (b"new", b"precious")


@pytest.mark.parametrize("name", ["missing/file", "."])
def test_a_place_that_cannot_be_written_is_found_out_before(tmp_path: Path, name: str) -> None:
    with pytest.raises(PermissionError, match="cannot be written"):
        files.require_writable(tmp_path / name)
    files.require_writable(tmp_path / "file")
    assert list(tmp_path.iterdir()) == []
