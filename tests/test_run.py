"""The program as users start it: whole processes, real ranks, exit statuses."""

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from phasic_mpi.graph_io import save_graph
from phasic_mpi.models import build_model
from phasic_mpi.trace_io import save_trace
from tests import kills
from tests.kills import END_SECONDS, GRAPH
from tests.launch import ROOT, clean_environment, finish, launch, phasic_mpi, start
from tests.recording import record_alone


@pytest.fixture(scope="module")
def expected_trace(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return kills.expected_trace(tmp_path_factory.mktemp("expected"))


@pytest.fixture
def graph_file(tmp_path: Path) -> Path:
    save_graph(GRAPH, tmp_path / "graph.json")
    return tmp_path / "graph.json"


@pytest.mark.parametrize("n_ranks", [None, 1, 2, 3])
@pytest.mark.parametrize("strategy", ["auto", "sequential", "vmap", "pmap"])
def test_trace_files_are_equal_for_every_strategy_and_number_of_ranks(
    tmp_path: Path, graph_file: Path, expected_trace: bytes, strategy: str, n_ranks: int | None
) -> None:
    done = phasic_mpi(
        *("run", graph_file, "-o", tmp_path / "trace.h5", "--cache", tmp_path / "cache"),
        *("--strategy", strategy, "--report", tmp_path / "report.json"),
        *(["--devices", 2] if strategy == "pmap" else []),
        n_ranks=n_ranks,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "trace.h5").read_bytes() == expected_trace
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["n_recorded"] == report["n_distinct"] == 8
    assert report["n_ranks"] == (n_ranks or 1)
    assert report["strategy"] == ("sequential" if strategy == "auto" else strategy)


def test_a_run_without_a_graph_shows_a_bundled_model(tmp_path: Path) -> None:
    done = phasic_mpi("run", "--cache", tmp_path, n_ranks=2)
    assert done.returncode == 0, done.stderr
    assert "bundled model 'structured-coalescent'" in done.stderr
    for fact in ("vertices", "components (SCCs)", "distinct blocks", "moment_1", "peak memory"):
        assert fact in done.stdout


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path, graph_file: Path) -> None:
    program = f"{sys.executable} -m phasic_mpi info {graph_file}"
    command = f"{program} 2>{tmp_path}/errors | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], env=clean_environment(), check=False)
    assert done.returncode == 0
    assert (tmp_path / "errors").read_text() == ""


def test_json_output_is_one_object_and_nothing_else(tmp_path: Path, graph_file: Path) -> None:
    done = phasic_mpi(
        *("run", graph_file, "--cache", tmp_path, "--theta", "1,0.5", "--theta", "2,0.1"),
        *("--moments", 3, "--format", "json"),
        n_ranks=2,
    )
    facts = json.loads(done.stdout)
    assert facts["theta"] == [[1.0, 0.5], [2.0, 0.1]]
    assert np.shape(facts["moments"]) == (2, 3)


def test_a_run_takes_theta_by_name(tmp_path: Path) -> None:
    graph = replace(GRAPH, parameter_names=("coalescence", "migration"))
    save_graph(graph, tmp_path / "graph.h5")
    options = ("run", tmp_path / "graph.h5", "--cache", tmp_path, "--format", "json")
    done = phasic_mpi(*options, "--theta", "migration=0.5,coalescence=1", n_ranks=2)
    facts = json.loads(done.stdout)
    assert (facts["theta"], facts["parameter_names"]) == (
        [[1.0, 0.5]],
        ["coalescence", "migration"],
    )
    done = phasic_mpi(*options, "--theta", "coalescence=1", n_ranks=2)
    assert done.returncode == 1
    assert "the parameters coalescence, migration; unknown: none; missing: migration" in done.stderr


@pytest.mark.parametrize("form", ["json", "csv", "h5"])
def test_results_are_equal_for_every_number_of_ranks(tmp_path: Path, form: str) -> None:
    save_trace(record_alone(GRAPH), tmp_path / "trace.h5")
    np.save(tmp_path / "theta.npy", np.random.default_rng(1).uniform(0.2, 2, (150, 2)))
    images = []
    for n_ranks in (None, 1, 2, 3):
        out = tmp_path / f"{n_ranks}.{form}"
        done = phasic_mpi(
            *("evaluate", tmp_path / "trace.h5", "--theta-file", tmp_path / "theta.npy"),
            *("--moments", 2, "--gradient", "-o", out),
            n_ranks=n_ranks,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout == ""
        images.append(out.read_bytes())
    assert len(set(images)) == 1


def test_an_illegal_theta_ends_all_ranks_with_one_message(tmp_path: Path) -> None:
    save_trace(record_alone(GRAPH), tmp_path / "trace.h5")
    (tmp_path / "theta.csv").write_text("1,0.5\n" * 20 + "1,-0.5\n")
    done = phasic_mpi(
        *("evaluate", tmp_path / "trace.h5", "--theta-file", tmp_path / "theta.csv"), n_ranks=2
    )
    assert done.returncode == 1
    assert done.stderr.count("EvaluationError") == 1
    assert "rank 1 on" in done.stderr
    assert "row of theta=20" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_graph_that_is_malformed_ends_all_ranks_with_one_message(
    tmp_path: Path, graph_file: Path
) -> None:
    fields = json.loads(graph_file.read_text())
    fields["param_edges"][17][1] = 9999
    graph_file.write_text(json.dumps(fields))
    done = phasic_mpi("run", graph_file, "--cache", tmp_path, n_ranks=3)
    assert done.returncode == 1
    assert done.stderr.count("GraphIndexError") == 1
    assert "row 17: expected a vertex in 0.." in done.stderr
    assert "got 9999" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["run", "--strategy", "warp"], 1, "expected one of auto, sequential, vmap, pmap"),
        (["run", "--strategy", "pmap"], 1, "expected at least 2 JAX devices"),
        (["run", "--strategy", "sequential", "--devices", "2"], 1, "no use for devices"),
        (["run", "--min-size", "0"], 2, "expected a positive integer, got '0'"),
        (["run", "--theta", "1,x"], 2, "expected numbers separated by commas"),
        (["run", "missing.json"], 1, "missing.json cannot be read"),
        (["run", "--theta", "1", "--moments", "2"], 1, "of the graph: coalescence, migration"),
        (["evaluate", "missing.h5", "--theta", "1"], 1, "No such file or directory: 'missing.h5'"),
        (["info", "missing.h5"], 1, "runs in one process"),
        (["walk"], 2, "invalid choice: 'walk'"),
    ],
)
def test_wrong_requests_end_all_ranks_with_one_status_and_one_message(
    tmp_path: Path, arguments: list[str], status: int, message: str
) -> None:
    cache = ["--cache", tmp_path] if arguments[0] == "run" else []
    done = phasic_mpi(*arguments, *cache, n_ranks=2, cwd=tmp_path)
    assert done.returncode == status, done.stderr
    assert done.stderr.count(message) == 1, done.stderr
    assert done.stdout == ""


def test_processes_of_another_launcher_are_refused(tmp_path: Path) -> None:
    done = phasic_mpi("run", "--cache", tmp_path, env={"OMPI_COMM_WORLD_SIZE": "4"})
    assert done.returncode == 1
    assert "expected 4 ranks" in done.stderr
    assert "believes it is alone" in done.stderr


def test_a_missing_mpi_library_is_named_with_the_cure(tmp_path: Path) -> None:
    done = phasic_mpi("run", "--cache", tmp_path, env={"MPI4PY_LIBMPI": "/missing/libmpi.so"})
    assert done.returncode == 1
    assert "No MPI library can be loaded" in done.stderr
    assert "pip install 'phasic_mpi[mpich]'" in done.stderr


def test_a_bug_outside_of_any_agreement_ends_all_ranks(tmp_path: Path) -> None:
    process = start([ROOT / "tests" / "faulty_run.py", "bug", tmp_path], n_ranks=3)
    begin = time.monotonic()
    done = finish(process, timeout=60)
    assert done.returncode != 0
    assert "[rank 1/3" in done.stderr
    assert "ZeroDivisionError" in done.stderr
    assert time.monotonic() - begin < END_SECONDS


def link_states(path: Path) -> None:
    """Puts in place of the states a link into another file."""
    with h5py.File(path, "w") as file:
        file["states"] = h5py.ExternalLink("/etc/passwd", "/states")


@pytest.mark.parametrize("n_ranks", [2, 3])
@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["-m", "phasic_mpi", "run", "graph.h5"], "'states': expected a dataset in this file, got"),
        ([ROOT / "tests" / "faulty_run.py", "crash", "."], "the process was ended by SIGSEGV"),
    ],
)
def test_a_hostile_hdf5_file_ends_all_ranks_with_one_error_and_status_1(
    tmp_path: Path, n_ranks: int, arguments: list[object], problem: str
) -> None:
    link_states(tmp_path / "graph.h5")
    done = launch(arguments, n_ranks=n_ranks, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert f"StageError: Stage 'load' failed on 1 of {n_ranks} ranks" in done.stderr
    assert "StoreError: graph.h5 cannot be read" in done.stderr
    assert done.stderr.count(problem) == 1
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("gaps", [[], [0.0], [0.1, 0.1]])
def test_a_signal_however_often_it_is_forwarded_stops_the_run_and_a_rerun_goes_on(
    tmp_path: Path, expected_trace: bytes, gaps: list[float]
) -> None:
    process = start([ROOT / "tests" / "faulty_run.py", "slow", tmp_path], n_ranks=2)
    _wait_for_segments(tmp_path, 1)
    process.send_signal(signal.SIGUSR1)
    for gap in gaps:
        time.sleep(gap)
        process.send_signal(signal.SIGUSR1)
    done = finish(process, timeout=30)
    assert done.returncode == 75, done.stderr
    assert "run it again" in done.stderr
    assert kills.complete(tmp_path) == expected_trace


@pytest.mark.parametrize("seed", range(20))
def test_a_killed_process_ends_the_run_and_loses_nothing_that_was_committed(
    tmp_path: Path, expected_trace: bytes, seed: int
) -> None:
    # A run that ends before it is hit is no kill; the next seeds are as good.
    seeds = range(seed, 1000, 20)
    assert any(kills.kill_once(tmp_path / str(seed), seed, expected_trace) for seed in seeds)


def test_sixty_four_ranks_on_a_few_cores_run_the_bundled_model(tmp_path: Path) -> None:
    done = phasic_mpi(
        *("run", "--cache", tmp_path, "--format", "json", "--strategy", "sequential"),
        n_ranks=64,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["n_ranks"] == 64
    assert report["moments"][0][0] == pytest.approx(5.913563106, rel=1e-9)


def test_sixty_four_ranks_on_a_few_cores_give_the_trace_of_one(tmp_path: Path) -> None:
    graph = build_model("structured-coalescent", n=20, islands=4)
    save_graph(graph, tmp_path / "graph.h5")
    save_trace(record_alone(graph), tmp_path / "expected.h5")
    done = phasic_mpi(
        *("run", tmp_path / "graph.h5", "-o", tmp_path / "trace.h5"),
        *("--cache", tmp_path / "cache", "--format", "json", "--strategy", "sequential"),
        n_ranks=64,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["n_ranks"] == 64
    assert sum(spent > 0 for spent in report["record_seconds"]) > 32
    assert (tmp_path / "trace.h5").read_bytes() == (tmp_path / "expected.h5").read_bytes()


def _wait_for_segments(cache: Path, n: int) -> None:
    deadline = time.monotonic() + 30
    while not cache.exists() or len(list(cache.glob("cache/rank-*/*.h5"))) < n:
        assert time.monotonic() < deadline, "nothing is recorded"
        time.sleep(0.01)
