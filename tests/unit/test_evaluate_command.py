"""The command ``evaluate`` in one process, beside the scalar path and closed forms."""

import csv
import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import h5py
import jax
import numpy as np
import pytest

from phasic_mpi import cli, log
from phasic_mpi.evaluate import expected_rewards, moments
from phasic_mpi.graph import PhaseTypeGraph
from phasic_mpi.models import build_model
from phasic_mpi.trace_io import save_trace
from tests.graphs import chain_of_sccs
from tests.recording import record_alone

GRAPH = build_model("structured-coalescent", n=5, islands=2)
TRACE = record_alone(GRAPH)
THETA = [[1.0, 0.5], [2.0, 0.1], [0.3, 3.0]]
FLAGS = [text for row in THETA for text in ("--theta", ",".join(map(str, row)))]


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """The program sets the logger and JAX up for itself; tests after it want them as they were."""
    logger = log.get_logger()
    before = logger.handlers[:], logger.level, logger.propagate
    float64 = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", float64)
    logger.handlers[:], logger.propagate = before[0], before[2]
    logger.setLevel(before[1] or logging.NOTSET)


@pytest.fixture
def trace_file(tmp_path: Path) -> Path:
    save_trace(TRACE, tmp_path / "trace.h5")
    return tmp_path / "trace.h5"


def run(*arguments: object) -> int:
    return cli.main(["evaluate", *map(str, arguments)])


def run_json(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict:
    assert run(*arguments, "--format", "json") == 0
    printed: dict = json.loads(capsys.readouterr().out)
    return printed


def test_moments_are_those_of_the_scalar_path(
    trace_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = run_json(capsys, trace_file, *FLAGS, "--moments", 3)
    assert printed["theta"] == THETA
    assert printed["units"] == {"moments": "time^k"}
    np.testing.assert_allclose(printed["moments"], moments(TRACE, THETA, 3), rtol=1e-14)


def test_the_first_moment_is_computed_if_nothing_else_is_asked_for(
    trace_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = run_json(capsys, trace_file, *FLAGS)
    np.testing.assert_allclose(printed["moments"], moments(TRACE, THETA, 1), rtol=1e-14)


def test_graphs_without_parameters_need_no_theta(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trace = record_alone(chain_of_sccs(2, 5, seed=1))
    save_trace(trace, tmp_path / "constant.h5")
    printed = run_json(capsys, tmp_path / "constant.h5", "--moments", 2)
    assert printed["theta"] == [[]]
    np.testing.assert_allclose(printed["moments"], moments(trace, [], 2), rtol=1e-14)


def test_tables_show_theta_and_moments(
    trace_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(trace_file, "--theta", "1,0.25", "--moments", 2) == 0
    printed = capsys.readouterr().out
    first, second = moments(TRACE, [1, 0.25], 2)[0]
    for text in ("theta_2", "moment_2", "[time^k]", "0.25", str(first)[:9], str(second)[:9]):
        assert text in printed


def test_theta_come_from_a_file_and_results_go_to_one(
    trace_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savetxt(tmp_path / "theta.csv", THETA, delimiter=",", header="a,b")
    printed = run_json(capsys, trace_file, *FLAGS, "--moments", 2)
    arguments = (trace_file, "--theta-file", tmp_path / "theta.csv", "--moments", 2)
    for suffix in ("csv", "json", "h5"):
        assert run(*arguments, "-o", tmp_path / f"out.{suffix}") == 0
    assert capsys.readouterr().out == ""
    assert json.loads((tmp_path / "out.json").read_text()) == printed
    header, *rows = csv.reader(io.StringIO((tmp_path / "out.csv").read_text()))
    assert header == ["theta_1", "theta_2", "moment_1 [time]", "moment_2 [time^2]"]
    both = np.concatenate([printed["theta"], printed["moments"]], axis=1)
    np.testing.assert_array_equal(np.array(rows, dtype=np.float64), both)
    with h5py.File(tmp_path / "out.h5") as file:
        np.testing.assert_array_equal(file["moments"][()], printed["moments"])


@pytest.mark.parametrize("suffix", [".npy", ".txt"])
def test_rewards_come_from_a_file(
    trace_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], suffix: str
) -> None:
    rewards = np.arange(GRAPH.n_vertices) / 7
    path = tmp_path / f"rewards{suffix}"
    np.save(path, rewards) if suffix == ".npy" else np.savetxt(path, rewards)
    printed = run_json(capsys, trace_file, *FLAGS, "--rewards", path)
    assert printed["units"] == {"moments": "reward^k"}
    expected = moments(TRACE, THETA, 1, rewards)
    np.testing.assert_allclose(printed["moments"], expected, rtol=1e-14)


def test_several_rewards_give_covariances_and_correlations(
    trace_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """``Cov(X, Y) = (Var(X + Y) - Var(X) - Var(Y)) / 2``, by the scalar path."""
    rewards = np.random.default_rng(2).uniform(0.5, 2, (2, GRAPH.n_vertices))
    np.save(tmp_path / "rewards.npy", [*rewards, np.zeros(GRAPH.n_vertices)])
    arguments = ("--rewards", tmp_path / "rewards.npy", "--covariance", "--moments", 2)
    printed = run_json(capsys, trace_file, *FLAGS, *arguments)
    assert np.shape(printed["moments"]) == (3, 3, 2)
    for index, row in enumerate(rewards):
        actual = np.array(printed["moments"])[:, index]
        np.testing.assert_allclose(actual, moments(TRACE, THETA, 2, row), rtol=1e-14)

    def variance(reward: np.ndarray) -> np.ndarray:
        first, second = moments(TRACE, THETA, 2, reward).T
        return second - first**2

    x, y, both = (variance(reward) for reward in (*rewards, rewards.sum(axis=0)))
    covariance = (both - x - y) / 2
    found = np.array(printed["covariance"])
    np.testing.assert_allclose(found[:, 0, 1], covariance, rtol=1e-12)
    np.testing.assert_allclose(found[:, 1, 1], y, rtol=1e-12)
    correlation = np.array(printed["correlation"])
    expected = covariance / np.sqrt(x * y)
    np.testing.assert_allclose(correlation[:, 0, 1].astype(float), expected, rtol=1e-12)
    assert (correlation[:, 2] == None).all(), "a reward that is 0 correlates with nothing"  # noqa: E711


def erlang(k: int) -> PhaseTypeGraph:
    """``k`` exponential stages of rate theta_1 + theta_2, one after another."""
    chain = np.arange(1, k + 1, dtype=np.int32)
    return PhaseTypeGraph.from_arrays(
        n_vertices=k + 2,
        param_source=chain,
        param_target=chain + 1,
        param_coefficient=np.ones((k, 2)),
        start_target=[1],
        start_weight=[1.0],
    )


def test_gradients_are_those_of_closed_forms(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_trace(record_alone(erlang(3)), tmp_path / "trace.h5")
    arguments = ("--theta", "1,0.5", "--theta", "2,0.25", "--moments", 3, "--gradient")
    printed = run_json(capsys, tmp_path / "trace.h5", *arguments)
    rate = np.array([1.5, 2.25])
    for k, constant in enumerate((3, 12, 60), 1):
        slope = -k * constant / rate ** (k + 1)
        actual = np.array(printed["moments_gradient"])[:, k - 1]
        np.testing.assert_allclose(actual, np.column_stack([slope, slope]), rtol=1e-13)
    assert printed["units"]["moments_gradient"] == "time^k/theta"


def test_more_values_than_parameters_have_the_same_gradient(
    tmp_path: Path, trace_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Reverse mode for one mean, forward mode for three."""
    rewards = np.random.default_rng(3).uniform(size=(3, GRAPH.n_vertices))
    np.save(tmp_path / "one.npy", rewards[1])
    np.save(tmp_path / "three.npy", rewards)
    one, three = (
        run_json(capsys, trace_file, *FLAGS, "--gradient", "--rewards", tmp_path / f"{name}.npy")
        for name in ("one", "three")
    )
    actual = np.array(three["moments_gradient"])[:, 1]
    np.testing.assert_allclose(actual, one["moments_gradient"], rtol=1e-12)


def test_results_do_not_depend_on_the_memory_that_is_given(
    trace_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    theta = np.random.default_rng(4).uniform(0.1, 2, (700, 2))
    np.save(tmp_path / "theta.npy", theta)
    reports = []
    for memory in ("4K", "1G"):
        report, out = tmp_path / f"{memory}.json", tmp_path / f"{memory}.h5"
        arguments = ("--theta-file", tmp_path / "theta.npy", "--moments", 2, "--memory", memory)
        assert run(trace_file, *arguments, "-o", out, "--report", report) == 0
        reports.append(json.loads(report.read_text()))
    small, large = reports
    assert small["call_bytes"] <= 4096
    assert small["n_rows"] < large["n_rows"] == 16
    assert (tmp_path / "4K.h5").read_bytes() == (tmp_path / "1G.h5").read_bytes()
    with h5py.File(tmp_path / "1G.h5") as file:
        np.testing.assert_allclose(file["moments"][()], moments(TRACE, theta, 2), rtol=1e-13)
    capsys.readouterr()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--theta", "1"], "expected theta of shape (n_theta, 2), got (1, 1)"),
        ([], "expected theta of shape (n_theta, 2), got (1, 0)"),
        (["--theta", "1,1", "--theta", "1"], "equally many numbers"),
        (["--theta-file", "{}/ragged.csv"], "line 3: expected 2 numbers, one for each parameter"),
        (["--theta-file", "{}/missing.csv"], "No such file"),
        (["--theta", "1,1", "--theta", "1,-1"], "expected a finite weight of at least 0 on edge"),
        (["--theta", "1,1", "--theta", "1,-1"], "row of theta=1"),
        (["--theta", "0,1"], "absorption cannot be reached"),
        (["--theta", "1e-200,1", "--moments", "2"], "they overflow"),
        (["--theta", "1,1", "--rewards", "{}/words.txt"], "could not convert string 'one'"),
        (["--theta", "1,1", "--rewards", "{}/two.txt"], "expected shape (20,), got (2,)"),
        (["--theta", "1,1", "--covariance"], "expected several rewards"),
        (["--theta", "1,1", "--memory", "1"], "expected one theta to take at most 1 bytes"),
        (["--theta", "1,1", "--format", "hdf5"], "-o FILE with json, csv or hdf5"),
        (["--theta", "1,1", "-o", "{}/out.txt"], "a file that ends in .json, .csv or .h5"),
        (["--theta", "1,1", "-o", "{}/missing/out.h5"], "in a directory that exists"),
        (["--theta", "1,1", "--plot", "{}/plot.pdf"], "ends in .png or .svg"),
    ],
)
def test_what_cannot_be_evaluated_says_why(
    trace_file: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    (tmp_path / "ragged.csv").write_text("a,b\n1,2\n3\n")
    (tmp_path / "words.txt").write_text("one two\n")
    (tmp_path / "two.txt").write_text("1\n2\n")
    assert run(trace_file, *(text.format(tmp_path) for text in arguments)) == 1
    printed = capfd.readouterr()
    assert message in printed.err
    assert "Traceback" not in printed.err
    assert printed.out == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--theta", "1,1", "--theta-file", "a.csv"], "not allowed with argument"),
        (["--pdf", "0:1"], "expected numbers or ranges START:STOP:COUNT"),
        (["--pdf", "0:1:1"], "of at least 2 points"),
        (["--pdf", "0,x"], "expected numbers separated by commas"),
        (["--memory", "lots"], "expected a number of bytes such as"),
    ],
)
def test_wrong_usage_is_answered_with_status_2(
    capfd: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        run("trace.h5", *arguments)
    assert caught.value.code == 2
    assert message in capfd.readouterr().err


def test_a_start_that_is_no_distribution_is_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    whole = erlang(3)
    graph = PhaseTypeGraph.from_arrays(
        n_vertices=5,
        param_source=whole.param_source,
        param_target=whole.param_target,
        param_coefficient=whole.param_coefficient,
        start_param_target=[1],
        start_param_coefficient=[[0.0, 1.0]],
    )
    save_trace(record_alone(graph), tmp_path / "trace.h5")
    assert run(tmp_path / "trace.h5", "--theta", "1,0.5", "--theta", "1,1.5") == 1
    printed = capfd.readouterr().err
    assert "a sum of at most 1, got a smallest of 1.5 and a sum of 1.5" in printed
    assert "row of theta=1" in printed


def test_expected_rewards_of_a_row_per_vertex_are_the_means(
    trace_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rewards of one vertex each add up to the mean time."""
    np.save(tmp_path / "each.npy", np.eye(GRAPH.n_vertices))
    printed = run_json(capsys, trace_file, *FLAGS, "--rewards", tmp_path / "each.npy")
    for row, theta in zip(printed["moments"], THETA, strict=True):
        mean = expected_rewards(TRACE, theta)[0]
        np.testing.assert_allclose(np.sum(row), mean, rtol=1e-13)
