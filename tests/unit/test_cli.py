"""Commands of one process but ``evaluate``; ``tests/test_run.py`` has those of ranks."""

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest

from phasic_mpi import cli
from phasic_mpi.graph import PhaseTypeGraph
from phasic_mpi.graph_io import load_graph, save_graph
from phasic_mpi.models import MODELS, build_model
from phasic_mpi.results import moment_results, to_hdf5
from phasic_mpi.store import TraceStore
from phasic_mpi.trace_io import save_trace
from tests.block_traces import plain_trace, random_block
from tests.recording import record_alone

pytestmark = pytest.mark.usefixtures("untouched_logger")

GRAPH = build_model("structured-coalescent", n=5, islands=2)
TRACE = record_alone(GRAPH)


@pytest.fixture
def trace_file(tmp_path: Path) -> Path:
    save_trace(TRACE, tmp_path / "trace.h5")
    return tmp_path / "trace.h5"


def run(*arguments: object) -> int:
    return cli.main(list(map(str, arguments)))


@pytest.mark.parametrize(
    "command", ["run", "evaluate", "model", "convert", "info", "plot", "cache", "doctor"]
)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        run(command, "--help")
    assert caught.value.code == 0
    assert "--log-level" in capsys.readouterr().out


def test_a_model_becomes_a_graph_file(tmp_path: Path) -> None:
    path = tmp_path / "graph.h5"
    arguments = ("--set", "n=5", "--set", "islands=2", "-o", path)
    assert run("model", "structured-coalescent", *arguments) == 0
    assert load_graph(path).equals(GRAPH)


def test_models_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("model", "--list") == 0
    printed = capsys.readouterr().out
    assert all(model.name in printed for model in MODELS.values())


@pytest.mark.parametrize("name", MODELS)
def test_help_on_a_model_shows_settings_parameters_rewards_states_and_source(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("model", name, "--help") == 0
    printed = " ".join(capsys.readouterr().out.split())
    model, process = MODELS[name], MODELS[name].choose({})
    for setting in model.settings:
        assert f"--set {setting.name}=" in printed
    for named in (*process.parameters, *process.rewards):
        assert named.name in printed
    assert all(state_name in printed for state_name in process.state_names)
    assert model.source.split()[0] in printed


def test_help_on_a_model_follows_the_settings(capsys: pytest.CaptureFixture[str]) -> None:
    settings = ("--set", "islands=2", "--set", "separate=1")
    assert run("model", "structured-coalescent", *settings, "--help") == 0
    assert "migration_2_1" in capsys.readouterr().out


def test_help_without_a_model_is_that_of_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run("model", "--help")
    assert ended.value.code == 0
    assert "--max-vertices" in capsys.readouterr().out


def test_a_model_beyond_a_limit_is_not_written(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--set", "n=9", "--max-vertices", "100", "-o", tmp_path / "graph.h5")
    assert run("model", "structured-coalescent", *arguments) == 1
    printed = capfd.readouterr().err
    assert "There are too many states" in printed
    assert "expected at most 100 vertices" in printed
    assert not (tmp_path / "graph.h5").exists()


def test_the_name_of_the_graph_file_is_checked_before_the_graph_is_built(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--set", "capacity=40000", "-o", tmp_path / "graph.txt")
    assert run("model", "tandem-queue", *arguments) == 1
    assert "expected a name that ends in .json or in .h5" in capfd.readouterr().err


def test_a_setting_is_given_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    settings = ("--set", "n=3", "--set", "n=4")
    assert run("model", "kingman", *settings, "-o", tmp_path / "graph.h5") == 1
    assert "expected --set once for each setting, got n=3, n=4" in capfd.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_model_needs_a_file_to_go_to(capfd: pytest.CaptureFixture[str]) -> None:
    assert run("model", "kingman") == 1
    assert "expected -o GRAPH" in capfd.readouterr().err


def test_info_tells_the_facts_of_a_graph(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_graph(GRAPH, tmp_path / "graph.json")
    assert run("info", tmp_path / "graph.json", "--format", "json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["kind"] == "graph"
    assert facts["n_vertices"] == GRAPH.n_vertices
    # Vertices with k lineages on two islands form a component of k + 1.
    assert facts["component_sizes"] == {"2-3": 1, "4-7": 3}


@pytest.mark.parametrize("command", ["info", "plot"])
def test_a_file_that_is_not_there_is_an_error_of_four_parts(
    command: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "missing.h5"
    picture = ["-o", tmp_path / "picture.png"] if command == "plot" else []
    assert run(command, path, *picture) == 1
    assert capfd.readouterr().err.splitlines() == [
        f"ConfigError: {path} cannot be read or written",
        "  Problem: expected a file that the system lets us use, got: No such file or directory",
        "  Resolution: correct the path or its permissions",
    ]


def test_info_tells_the_facts_of_a_trace(
    trace_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("info", trace_file, "--format", "json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["kind"] == "trace"
    assert facts["nnz(L+U)"] == TRACE.n_entries
    assert facts["operations_per_mean"] == sum(1 for _ in TRACE.operations())
    assert run("info", trace_file) == 0
    assert "Component sizes" in capsys.readouterr().out


def test_info_tells_the_names_in_a_graph_and_in_a_trace(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = {"parameter_names": ["coalescence", "migration"], "state_names": ["west", "east"]}
    rewards = {"lineages": GRAPH.states.sum(axis=1)}
    graph = PhaseTypeGraph.from_serialized({**GRAPH.serialize(), **names, "rewards": rewards})
    save_graph(graph, tmp_path / "graph.h5")
    save_trace(record_alone(graph), tmp_path / "trace.h5")
    for name in ("graph.h5", "trace.h5"):
        assert run("info", tmp_path / name, "--format", "json") == 0
        facts = json.loads(capsys.readouterr().out)
        assert facts.items() >= {**names, "reward_names": ["lineages"]}.items()
        assert run("info", tmp_path / name) == 0
        assert re.search(r"parameter names +coalescence, migration", capsys.readouterr().out)


def test_info_tells_the_facts_of_results(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = moment_results(np.ones((7, 2)), np.ones((7, 3)))
    (tmp_path / "out.h5").write_bytes(to_hdf5(found))
    assert run("info", tmp_path / "out.h5", "--format", "json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["kind"], facts["n_theta"], facts["quantities"]) == ("results", 7, ["moments"])
    assert run("info", tmp_path / "out.h5") == 0
    assert "moments" in capsys.readouterr().out


def cache_with(directory: Path, sizes: list[int]) -> Path:
    """A cache of one segment per size; returns the first segment."""
    cache = TraceStore(directory, rank=0, local_rank=0, local_size=1)
    for n in sizes:
        cache.keep([plain_trace(random_block(n, seed=n))])
    return min((directory / "rank-00000").iterdir())


def test_info_tells_the_facts_of_a_cache_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = cache_with(tmp_path, [9])
    assert run("info", path, "--format", "json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["kind"], facts["n_traces"]) == ("cache segment", 1)
    assert facts["traces"][0]["n_vertices"] == 9


def test_a_cache_is_listed_verified_and_pruned(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = cache_with(tmp_path, [5, 9])
    assert run("cache", "list", tmp_path, "--format", "json") == 0
    segments = json.loads(capsys.readouterr().out)["segments"]
    assert sorted(entry["vertices"] for entry in segments) == [5, 9]
    assert run("cache", "verify", tmp_path) == 0
    path.write_bytes(path.read_bytes()[:-1])
    capsys.readouterr()
    assert run("cache", "verify", tmp_path, "--format", "json") == 1
    assert list(json.loads(capsys.readouterr().out)["damaged"]) == [str(path)]
    assert run("cache", "list", tmp_path) == 0
    assert "segments" in capsys.readouterr().out
    assert run("cache", "prune", tmp_path, "--format", "json") == 0
    assert json.loads(capsys.readouterr().out)["removed"] == [str(path)]
    assert run("cache", "prune", tmp_path, "--older-than", 0) == 0
    assert run("cache", "verify", tmp_path) == 0
    assert os.listdir(tmp_path / "rank-00000") == []


def test_a_cache_is_copied(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cache_with(tmp_path / "a", [5, 9])
    assert run("cache", "copy", tmp_path / "a", tmp_path / "b", "--format", "json") == 0
    assert len(json.loads(capsys.readouterr().out)["copied"]) == 2


@pytest.mark.parametrize("arguments", [["copy", "a"], ["list", "a", "b"]])
def test_a_target_is_for_copying_only(
    capfd: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert run("cache", *arguments) == 1
    assert "expected a TARGET directory with 'copy' and only there" in capfd.readouterr().err


def test_an_age_is_for_pruning_only(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run("cache", "list", tmp_path, "--older-than", 3) == 1
    assert "'cache list' removes nothing" in capfd.readouterr().err


def test_the_doctor_finds_this_machine_fit(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("doctor", "--format", "json") == 0
    findings = json.loads(capsys.readouterr().out)["findings"]
    assert {finding["name"] for finding in findings} >= {"MPI", "JAX", "HDF5", "trial run"}
    assert all(finding["fit"] for finding in findings)


def test_the_doctor_says_what_is_wrong(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NPROC", "many")
    assert run("doctor") == 1
    printed = capsys.readouterr().out
    assert "This machine is not fit to run" in printed
    assert "NPROC" in printed
