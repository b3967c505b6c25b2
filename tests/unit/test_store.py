import dataclasses
import math
import os
import re
from pathlib import Path

import h5py
import numpy as np
import pytest

from phasic_mpi import hdf5, segment, store
from phasic_mpi.errors import DamagedFileError, StoreAccessError, StoreError
from phasic_mpi.store import TraceStore
from phasic_mpi.trace import BlockTrace
from tests.block_traces import plain_trace, random_block

TRACES = [plain_trace(random_block(n, seed=n), seed=n) for n in (2, 5, 9, 14, 20, 33)]


def open_store(directory: Path, rank: int = 0, local_rank: int = 0, local_size: int = 1):
    return TraceStore(directory, rank=rank, local_rank=local_rank, local_size=local_size)


def assert_equal(actual: BlockTrace, expected: BlockTrace) -> None:
    assert (actual.key, actual.check) == (expected.key, expected.check)
    for name in ("order", "row_ptr", "upper_ptr", "col", "edge_slot"):
        np.testing.assert_array_equal(getattr(actual, name), getattr(expected, name))


def test_what_is_kept_is_read_back_by_another_process_of_the_same_rank(tmp_path: Path) -> None:
    first = open_store(tmp_path)
    first.keep(TRACES[:2])
    first.keep(TRACES[2:])
    again = open_store(tmp_path)
    assert again.fingerprints() == {trace.key: trace.check for trace in TRACES}
    loaded = again.load([trace.key for trace in TRACES])
    for trace in TRACES:
        assert_equal(loaded[trace.key], trace)


def test_only_the_traces_asked_for_are_loaded(tmp_path: Path) -> None:
    cache = open_store(tmp_path)
    cache.keep(TRACES)
    cache.fingerprints()
    assert list(cache.load([TRACES[3].key])) == [TRACES[3].key]


@pytest.mark.parametrize("local_size", [1, 2, 3, 7])
def test_the_ranks_of_a_host_read_what_any_number_of_ranks_has_written(
    tmp_path: Path, local_size: int
) -> None:
    for rank, trace in enumerate(TRACES):
        open_store(tmp_path, rank=rank).keep([trace])
    found = [
        open_store(tmp_path, rank=rank, local_rank=rank, local_size=local_size).fingerprints()
        for rank in range(local_size)
    ]
    assert set().union(*found) == {trace.key for trace in TRACES}


def test_directories_and_segments_are_for_the_user_alone(tmp_path: Path) -> None:
    open_store(tmp_path / "cache").keep(TRACES)
    (path,) = store.all_segments(tmp_path / "cache")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert re.fullmatch(r"[0-9a-f]{64}\.h5", path.name)


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o722])
def test_a_directory_that_others_can_write_to_is_refused(tmp_path: Path, mode: int) -> None:
    tmp_path.chmod(mode)
    with pytest.raises(StoreAccessError, match=f"with mode {mode:04o}") as caught:
        open_store(tmp_path)
    assert "chmod 700" in caught.value.resolution


@pytest.mark.parametrize("what", ["rank-00000", "rank-00001"])
def test_a_link_in_the_place_of_a_rank_directory_is_refused(tmp_path: Path, what: str) -> None:
    cache, elsewhere = tmp_path / "cache", tmp_path / "elsewhere"
    for directory in (cache, elsewhere):
        directory.mkdir(mode=0o700)
    (cache / what).symlink_to(elsewhere)
    with pytest.raises(StoreAccessError, match=f"a link to {elsewhere}") as caught:
        open_store(cache).fingerprints()
    assert caught.value.context["path"] == cache / what
    assert list(elsewhere.iterdir()) == []


def test_a_link_in_the_place_of_a_segment_is_refused(tmp_path: Path) -> None:
    open_store(tmp_path / "elsewhere").keep(TRACES)
    (segment_elsewhere,) = store.all_segments(tmp_path / "elsewhere")
    cache = open_store(tmp_path / "cache")
    link = tmp_path / "cache" / "rank-00000" / segment_elsewhere.name
    link.symlink_to(segment_elsewhere)
    with pytest.raises(StoreAccessError, match="symbolic link"):
        cache.fingerprints()
    with pytest.raises(StoreAccessError, match="symbolic link"):
        store.prune(tmp_path / "cache")
    assert segment_elsewhere.exists()


def test_copying_does_not_write_through_a_link_in_the_target(tmp_path: Path) -> None:
    open_store(tmp_path / "source").keep(TRACES)
    for name in ("target", "elsewhere"):
        (tmp_path / name).mkdir(mode=0o700)
    (tmp_path / "target" / "rank-00000").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreAccessError, match="symbolic link"):
        store.copy(tmp_path / "source", tmp_path / "target")
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_cache_may_be_named_by_a_link(tmp_path: Path) -> None:
    open_store(tmp_path / "elsewhere")
    (tmp_path / "cache").symlink_to(tmp_path / "elsewhere")
    open_store(tmp_path / "cache").keep(TRACES)
    assert set(open_store(tmp_path / "elsewhere").fingerprints()) == {t.key for t in TRACES}


def test_a_directory_of_another_user_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getuid", lambda: tmp_path.stat().st_uid + 1)
    with pytest.raises(PermissionError, match="that nobody else can write to"):
        open_store(tmp_path)


def test_a_directory_that_cannot_be_made_is_a_permission_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PermissionError, match="cannot be made"):
        open_store(tmp_path / "file" / "cache")


def test_a_full_disk_is_a_warning_and_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cache = open_store(tmp_path)

    def refuse(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", refuse)
    cache.keep(TRACES)
    monkeypatch.undo()
    assert cache.n_failed_writes == 1
    assert "No space left on device" in caplog.text
    assert list((tmp_path / "rank-00000").iterdir()) == []


@pytest.mark.parametrize("place", [3, 700, -1])
def test_a_damaged_segment_is_named_and_removed(tmp_path: Path, place: int) -> None:
    cache = open_store(tmp_path)
    cache.keep(TRACES)
    cache.fingerprints()
    (path,) = store.all_segments(tmp_path)
    image = bytearray(path.read_bytes())
    image[place] ^= 0x10
    path.write_bytes(image)
    with pytest.raises(StoreError, match="damaged") as caught:
        cache.load([TRACES[0].key])
    assert caught.value.context["path"] == path
    assert TRACES[0].key in caught.value.context["blocks"]
    assert not path.exists()
    assert open_store(tmp_path).fingerprints() == {}


def keep_in_a_later_layout(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as later:
        later.setattr(segment, "VERSION", (2, 0))
        open_store(directory).keep(TRACES)


def test_a_segment_of_a_later_layout_is_an_error_and_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_in_a_later_layout(tmp_path, monkeypatch)
    with pytest.raises(StoreError, match="expected layout version 1, got 2"):
        open_store(tmp_path).fingerprints()
    assert len(store.all_segments(tmp_path)) == 1


def test_a_segment_whose_content_contradicts_its_header_is_refused(tmp_path: Path) -> None:
    trace = TRACES[2]
    forged = BlockTrace(**{**vars(trace), "edge_slot": trace.edge_slot + trace.n_entries})
    open_store(tmp_path).keep([forged])
    (path,) = store.all_segments(tmp_path)
    with pytest.raises(StoreError, match="edge_slot"):
        segment.read(path)


def test_pruning_removes_leftovers_damage_and_duplicates_only(tmp_path: Path) -> None:
    open_store(tmp_path, rank=0).keep(TRACES[:3])
    open_store(tmp_path, rank=1).keep(TRACES[:2])
    open_store(tmp_path, rank=2).keep(TRACES[3:])
    open_store(tmp_path, rank=3).keep(TRACES[4:5])
    duplicate = next((tmp_path / "rank-00001").iterdir())
    repeated = next((tmp_path / "rank-00003").iterdir())
    repeated.write_bytes(repeated.read_bytes()[:-1])
    leftover = tmp_path / "rank-00002" / f".{'0' * 64}.h5.123.tmp"
    leftover.write_bytes(b"half")
    stranger = tmp_path / "rank-00002" / "notes.txt"
    stranger.touch()
    removed, n_bytes = store.prune(tmp_path)
    assert set(removed) == {duplicate, repeated, leftover}
    assert n_bytes > 0
    assert stranger.exists()
    assert len(open_store(tmp_path).fingerprints()) == len(TRACES)


def test_pruning_leaves_a_segment_of_a_later_layout_unless_it_is_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_in_a_later_layout(tmp_path, monkeypatch)
    with pytest.raises(StoreError, match="expected layout version 1, got 2"):
        store.prune(tmp_path)
    assert len(store.all_segments(tmp_path)) == 1
    assert len(store.prune(tmp_path, before=math.inf)[0]) == 1


def test_pruning_by_age_removes_what_is_older(tmp_path: Path) -> None:
    open_store(tmp_path, rank=0).keep(TRACES[:3])
    open_store(tmp_path, rank=1).keep(TRACES[3:])
    old, _ = store.all_segments(tmp_path)
    os.utime(old, (1000, 1000))
    assert store.prune(tmp_path, before=2000)[0] == [old]
    assert len(store.prune(tmp_path, before=math.inf)[0]) == 1


def test_copying_brings_over_what_is_missing_and_checks_it(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    open_store(source, rank=0).keep(TRACES[:3])
    open_store(source, rank=4).keep(TRACES[3:])
    assert [path.parent.name for path in store.copy(source, target)] == ["rank-00000", "rank-00004"]
    assert store.copy(source, target) == []
    assert len(open_store(target).fingerprints()) == len(TRACES)
    open_store(source, rank=5).keep(TRACES[:1])
    damaged = next((source / "rank-00005").iterdir())
    damaged.write_bytes(damaged.read_bytes()[:-1])
    with pytest.raises(StoreError, match="damaged"):
        store.copy(source, target)
    assert not (target / "rank-00005" / damaged.name).exists()


def test_a_directory_that_is_not_there_is_no_cache(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is no cache"):
        store.all_segments(tmp_path / "missing")


def test_equal_traces_give_equal_segments() -> None:
    assert bytes(segment.encode(TRACES)) == bytes(segment.encode(list(TRACES)))


def test_a_segment_holds_the_columns_of_large_and_small_traces_in_order(tmp_path: Path) -> None:
    dense = random_block(150, seed=1, n_extra=15_000)
    large = [plain_trace(dense, seed=seed) for seed in (1, 2)]
    assert all(trace.col.nbytes > 1 << 16 for trace in large)
    large[1] = dataclasses.replace(large[1], key="f" * 64)
    traces = [TRACES[5], *large, *TRACES[:4]]
    open_store(tmp_path).keep(traces)
    (path,) = store.all_segments(tmp_path)
    with h5py.File(path) as file:
        columns = file["col"][()]
    assert columns.tolist() == [column for trace in traces for column in trace.col.tolist()]
    for key, trace in segment.read(path).items():
        assert_equal(trace, next(kept for kept in traces if kept.key == key))


def test_a_segment_lists_its_traces_before_its_content(tmp_path: Path) -> None:
    open_store(tmp_path).keep(TRACES)
    (path,) = store.all_segments(tmp_path)
    assert segment.read_entries(path) == [segment.entry_of(trace) for trace in TRACES]
    assert hdf5.check(path).filetype == "phasic_mpi.segment"


@pytest.mark.parametrize("n_entries", [-5, 10**17, 10**30, "abc", None])
def test_a_segment_that_lists_sizes_that_it_cannot_have_is_damaged(
    n_entries: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its digests fit: whoever can write a file can write those too."""
    entry_of = segment.entry_of
    changed = {"n_entries": n_entries}
    monkeypatch.setattr(segment, "entry_of", lambda trace: entry_of(trace)._replace(**changed))
    open_store(tmp_path).keep(TRACES)
    (path,) = store.all_segments(tmp_path)
    for read in (segment.read_entries, segment.read):
        with pytest.raises(DamagedFileError, match="is damaged") as caught:
            read(path)
        assert caught.value.context["path"] == path
