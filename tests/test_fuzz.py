"""Some of the hostile input of ``python -m tests.fuzz``, and whether that notices what is wrong."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fuzz import checks, examples, pool, sanitized
from tests.fuzz.pool import MAKERS, Input, Reading, read_all

N_WORKERS = 2
COUNTS = {"json": 300, "payload": 300, "hdf5": 40, "core": 500}

PLAIN = os.environ | {"PYTHONPATH": str(sanitized.ROOT)}


@pytest.fixture(scope="module")
def sanitizing(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment in which the core is one under sanitizers."""
    return sanitized.environment(sanitized.build_package(tmp_path_factory.mktemp("package")))


def read_by(reader: str, directory: Path, environment: dict[str, str] = PLAIN) -> Reading:
    """What comes of one input if this function of ``tests.fuzz.broken`` reads it."""
    reader = f"tests.fuzz.broken:{reader}"
    inputs = [Input("json", 0)]
    (reading,) = read_all(inputs, directory / reader, environment, n_workers=1, reader=reader)
    return reading


@pytest.mark.parametrize("kind", COUNTS)
def test_hostile_input_is_refused_or_read_as_what_it_validly_is(
    kind: str, sanitizing: dict[str, str], tmp_path: Path
) -> None:
    inputs = [Input(kind, seed) for seed in range(COUNTS[kind])]
    readings = list(read_all(inputs, tmp_path / "read", sanitizing, n_workers=N_WORKERS))
    assert [reading for reading in readings if reading.is_finding] == []
    assert {reading.verdict for reading in readings} == {"refused", "accepted"}


def test_a_report_of_a_sanitizer_is_noticed(sanitizing: dict[str, str], tmp_path: Path) -> None:
    reading = read_by("write_beyond_the_end", tmp_path, sanitizing)
    assert reading.verdict == "crash"
    assert "AddressSanitizer: heap-buffer-overflow" in reading.detail


@pytest.mark.parametrize(
    ("reader", "verdict", "detail"),
    [
        ("crash", "crash", "status -11"),
        ("compute_for_ever", "hang", "status -9"),
        ("wait_for_ever", "hang", "status -9"),
        ("raise_another_error", "wrong error", "KeyError"),
        ("accept_an_edge_to_nowhere", "invalid", "edge_target holds a vertex that is not there"),
        ("fill_the_memory", "memory", "bytes in memory"),
    ],
)
def test_a_reader_that_does_wrong_is_noticed(
    reader: str, verdict: str, detail: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if verdict == "hang":
        monkeypatch.setattr(pool, "HANG_SECONDS", 1.0)
        monkeypatch.setattr(pool, "WAIT_SECONDS", 3.0)
    reading = read_by(reader, tmp_path)
    assert reading.is_finding
    assert (reading.verdict, detail in reading.detail) == (verdict, True), reading.detail


def test_reading_goes_on_after_a_crash(tmp_path: Path) -> None:
    inputs = [Input("json", seed) for seed in range(3)]
    readings = read_all(
        inputs, tmp_path / "read", PLAIN, n_workers=1, reader="tests.fuzz.broken:crash"
    )
    assert [reading.verdict for reading in readings] == ["crash"] * 3


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda text: text.replace(b'"edges":', b'"edges":[],"edges":'), "a name stands twice"),
        (lambda text: text.replace(b"1.0", b"NaN", 1), "NaN is not JSON"),
        (lambda text: text.replace(b"1.0", b"1.5", 1), "is not what the file says"),
        (lambda text: text.replace(b"1.0", b"true", 1), "is not what the file says"),
        (lambda text: text + b"]", "Python's parser says"),
        (lambda text: text.replace(b"{", b'{"more":1,', 1), "unknown fields"),
    ],
)
def test_a_document_that_is_not_the_graph_is_noticed(
    change: Callable[[bytes], bytes], fault: str
) -> None:
    graph, text = examples.graphs()[-1], examples.documents()[-1]
    assert list(checks.document_faults(text, graph)) == []
    assert fault in " ".join(checks.document_faults(change(text), graph))


def test_a_kind_of_core_that_is_not_there_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, "setup.py", "--name"],
        cwd=sanitized.ROOT,
        env=PLAIN | {"PHASIC_MPI_CORE": "fast"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "expected one of optimised, sanitized, counting, got 'fast'" in done.stderr


@pytest.mark.parametrize("kind", MAKERS)
def test_an_input_is_the_same_each_time(kind: str) -> None:
    for seed in range(20):
        assert Input(kind, seed).make() == Input(kind, seed).make()
