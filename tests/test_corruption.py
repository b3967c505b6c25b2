"""Damage of every kind to segments and trace files: noticed each time, before HDF5 sees it."""

import json
import random
from collections.abc import Callable
from pathlib import Path

import h5py
import pytest

from phasic_mpi import cli, segment, store
from phasic_mpi.errors import DamagedFileError, StoreError
from phasic_mpi.graph_io import save_graph
from phasic_mpi.models import build_model
from phasic_mpi.record import Recorder
from phasic_mpi.scc import condense
from phasic_mpi.store import TraceStore
from phasic_mpi.trace_io import load_trace, save_trace
from tests.recording import record_alone

GRAPH = build_model("structured-coalescent", n=7, islands=2)


def flip_a_bit(image: bytearray, rng: random.Random) -> bytearray:
    image[rng.randrange(len(image))] ^= 1 << rng.randrange(8)
    return image


def change_a_byte(image: bytearray, rng: random.Random) -> bytearray:
    image[rng.randrange(len(image))] ^= rng.randrange(1, 256)
    return image


def truncate(image: bytearray, rng: random.Random) -> bytearray:
    return image[: rng.randrange(len(image))]


def zero_a_disk_block(image: bytearray, rng: random.Random) -> bytearray:
    """Zeroes 512 aligned bytes that were not all zero."""
    written = [i for i in range(0, len(image), 512) if any(image[i : i + 512])]
    begin = rng.choice(written)
    n_bytes = len(image[begin : begin + 512])
    image[begin : begin + n_bytes] = bytes(n_bytes)
    return image


DAMAGE = [(flip_a_bit, 500), (change_a_byte, 500), (truncate, 100), (zero_a_disk_block, 100)]


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A cache with one segment."""
    own = TraceStore(tmp_path / "cache", rank=0, local_rank=0, local_size=1)
    own.keep(Recorder(strategy="sequential", n_threads=1).record(condense(GRAPH).distinct))
    return tmp_path / "cache"


@pytest.fixture
def trace_file(tmp_path: Path) -> Path:
    save_trace(record_alone(GRAPH), tmp_path / "trace.h5")
    return tmp_path / "trace.h5"


def refuse_hdf5(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        pytest.fail("HDF5 opens a damaged file")

    monkeypatch.setattr(h5py, "File", refuse)


Damage = Callable[[bytearray, random.Random], bytearray]


@pytest.mark.parametrize(("damage", "count"), DAMAGE)
def test_every_damaged_segment_is_noticed(
    cache: Path, monkeypatch: pytest.MonkeyPatch, damage: Damage, count: int
) -> None:
    refuse_hdf5(monkeypatch)
    (path,) = store.all_segments(cache)
    image, rng = path.read_bytes(), random.Random(0)
    for _ in range(count):
        path.write_bytes(damage(bytearray(image), rng))
        with pytest.raises(DamagedFileError, match=path.name):
            segment.read(path)


@pytest.mark.parametrize(("damage", "count"), DAMAGE)
def test_every_damaged_trace_file_is_noticed(
    trace_file: Path, monkeypatch: pytest.MonkeyPatch, damage: Damage, count: int
) -> None:
    refuse_hdf5(monkeypatch)
    image, rng = trace_file.read_bytes(), random.Random(0)
    for _ in range(count):
        trace_file.write_bytes(damage(bytearray(image), rng))
        with pytest.raises(StoreError, match=trace_file.name):
            load_trace(trace_file)


@pytest.mark.parametrize("damage", [damage for damage, _ in DAMAGE])
@pytest.mark.parametrize("seed", range(5))
def test_verification_finds_the_damage_and_the_second_run_repairs_it(
    tmp_path: Path, trace_file: Path, capfd: pytest.CaptureFixture[str], damage: Damage, seed: int
) -> None:
    save_graph(GRAPH, tmp_path / "graph.h5")
    cache, made = tmp_path / "cache", tmp_path / "made.h5"
    run = ["run", str(tmp_path / "graph.h5"), "-o", str(made), "--cache", str(cache)]
    run += ["--strategy", "sequential", "--format", "json"]
    assert cli.main(run) == 0
    (path,) = store.all_segments(cache)
    path.write_bytes(damage(bytearray(path.read_bytes()), random.Random(seed)))
    capfd.readouterr()
    assert cli.main(["cache", "verify", str(cache), "--format", "json"]) == 1
    assert str(path) in capfd.readouterr().out
    assert cli.main(run) == 1
    assert path.name in capfd.readouterr().err.replace("\n", "")
    assert not path.exists()
    assert cli.main(run) == 0
    assert json.loads(capfd.readouterr().out)["n_recorded"] > 0
    assert made.read_bytes() == trace_file.read_bytes()
    assert cli.main(["cache", "verify", str(cache)]) == 0
