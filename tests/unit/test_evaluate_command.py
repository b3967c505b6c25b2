"""The command ``evaluate`` in one process, beside `Replay` and closed forms."""

import csv
import io
import json
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy.stats import gamma

from phasic_mpi import cli
from phasic_mpi.evaluate import expected_rewards, moments
from phasic_mpi.graph import PhaseTypeGraph
from phasic_mpi.graph_io import save_graph
from phasic_mpi.models import build_model
from phasic_mpi.trace_io import save_trace
from tests.graphs import chain_of_sccs
from tests.recording import record_alone

pytestmark = pytest.mark.usefixtures("untouched_logger", "float64")

GRAPH = build_model("structured-coalescent", n=5, islands=2)
TRACE = record_alone(GRAPH)
THETA = [[1.0, 0.5], [2.0, 0.1], [0.3, 3.0]]
FLAGS = [text for row in THETA for text in ("--theta", ",".join(map(str, row)))]


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
    for text in ("migration", "moment_2", "[time^k]", "0.25", str(first)[:9], str(second)[:9]):
        assert text in printed


def test_theta_come_from_a_file_and_results_go_to_one(
    trace_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savetxt(tmp_path / "theta.csv", THETA, delimiter=",", header="coalescence,migration")
    printed = run_json(capsys, trace_file, *FLAGS, "--moments", 2)
    arguments = (trace_file, "--theta-file", tmp_path / "theta.csv", "--moments", 2)
    for suffix in ("csv", "json", "h5"):
        assert run(*arguments, "-o", tmp_path / f"out.{suffix}") == 0
    assert capsys.readouterr().out == ""
    assert json.loads((tmp_path / "out.json").read_text()) == printed
    header, *rows = csv.reader(io.StringIO((tmp_path / "out.csv").read_text()))
    assert header == ["coalescence", "migration", "moment_1 [time]", "moment_2 [time^2]"]
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
    """``Cov(X, Y) = (Var(X + Y) - Var(X) - Var(Y)) / 2``, by `Replay`."""
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


NAMES = ("coalescence", "migration")


@pytest.fixture
def named_file(tmp_path: Path) -> Path:
    """The trace with names of its parameters and states, and two rewards."""
    names = {"parameter_names": NAMES, "state_names": ["west", "east"]}
    lineages = GRAPH.states.sum(axis=1)
    rewards = {"lineages": lineages, "pairs": lineages * (lineages - 1) / 2}
    graph = PhaseTypeGraph.from_serialized({**GRAPH.serialize(), **names, "rewards": rewards})
    save_trace(record_alone(graph), tmp_path / "named.h5")
    return tmp_path / "named.h5"


def test_theta_are_given_by_name_and_results_have_the_names(
    named_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ("--theta", "migration=0.5, coalescence=1", "--theta", "2,0.1")
    printed = run_json(capsys, named_file, *flags)
    assert printed["theta"] == [[1.0, 0.5], [2.0, 0.1]]
    assert printed["parameter_names"] == list(NAMES)
    np.testing.assert_allclose(printed["moments"], moments(TRACE, THETA[:2], 1), rtol=1e-14)
    (tmp_path / "theta.csv").write_text("migration,coalescence\n0.5,1\n0.1,2\n")
    from_file = run_json(capsys, named_file, "--theta-file", tmp_path / "theta.csv")
    assert from_file == printed
    assert run(named_file, *flags) == 0
    assert "coalescence" in capsys.readouterr().out


def test_stored_rewards_are_asked_for_by_name(
    named_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lineages = GRAPH.states.sum(axis=1)
    rewards = {"pairs": lineages * (lineages - 1) / 2, "lineages": lineages}
    flags = [text for name in rewards for text in ("--reward", name)]
    plot = ("--plot", tmp_path / "means.svg")
    printed = run_json(capsys, named_file, "--theta", "1,0.5", *flags, "--covariance", *plot)
    assert printed["reward_names"] == ["pairs", "lineages"]
    assert np.shape(printed["covariance"]) == (1, 2, 2)
    drawn = (tmp_path / "means.svg").read_text()
    for name in (*rewards, "coalescence = 1, migration = 0.5"):
        assert f"<!-- {name} -->" in drawn
    for name, reward in rewards.items():
        alone = run_json(capsys, named_file, "--theta", "1,0.5", "--reward", name)
        expected = moments(TRACE, [1.0, 0.5], 1, reward)
        np.testing.assert_allclose(alone["moments"], expected, rtol=1e-14)
        assert alone["reward_names"] == [name]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--theta", "coalescence=1"],
            "coalescence, migration; unknown: none; missing: migration",
        ),
        (["--theta", "coalescence=1,growth=2"], "unknown: 'growth'; missing: migration"),
        (["--theta-file", "{}/other.csv"], "expected columns named coalescence, migration in any"),
        (["--theta", "1,1", "--reward", "length"], "expected one of lineages, pairs, got 'length'"),
        (["--theta", "1,1", "--reward", "pairs", "--reward", "pairs"], "each --reward once, got p"),
        (["--theta", "1,-1"], "theta=[coalescence=1.0, migration=-1.0]"),
        (["--theta", "1,-1"], "from=vertex 1 (west=5, east=0), to=vertex 3 (west=4, east=1)"),
        (["--theta", "1,1", "--covariance", "--reward", "pairs"], "expected several rewards"),
    ],
)
def test_names_that_do_not_fit_the_trace_say_why(
    named_file: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    assert run(named_file, *(text.format(tmp_path) for text in arguments)) == 1
    printed = capfd.readouterr()
    assert message in printed.err
    assert "Traceback" not in printed.err


def test_a_trace_without_names_says_so(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    save_trace(record_alone(erlang(3)), tmp_path / "trace.h5")
    assert run(tmp_path / "trace.h5", "--theta", "a=1,b=2") == 1
    assert "the parameters of this graph have no names, got 'a', 'b'" in capfd.readouterr().err
    assert run(tmp_path / "trace.h5", "--theta", "1,2", "--reward", "length") == 1
    assert "expected no name, there are none, got 'length'" in capfd.readouterr().err


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


@pytest.mark.parametrize(("method", "tolerance"), [("uniformisation", 1e-12), ("inversion", 1e-8)])
def test_functions_and_their_gradients_are_those_of_the_gamma_distribution(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], method: str, tolerance: float
) -> None:
    save_trace(record_alone(erlang(3)), tmp_path / "trace.h5")
    arguments = ("--pdf", "0.5,1:4:3", "--cdf", "0.5", "--survival", 4, "--quantile", "0.05,0.9")
    printed = run_json(
        capsys,
        *(tmp_path / "trace.h5", "--theta", "1,0.5", "--theta", "2,0.25", "--gradient"),
        *(*arguments, "--method", method),
    )
    assert "moments" not in printed
    assert printed["pdf_times"] == [0.5, 1, 2.5, 4]
    assert printed["quantile_probabilities"] == [0.05, 0.9]
    for row, rate in enumerate((1.5, 2.25)):
        law = gamma(3, scale=1 / rate)
        time = np.array(printed["pdf_times"])
        q = law.ppf([0.05, 0.9])
        expected = {
            "pdf": (law.pdf(time), law.pdf(time) * (3 / rate - time)),
            "cdf": (law.cdf([0.5]), 0.5 / rate * law.pdf([0.5])),
            "survival": (law.sf([4]), -4 / rate * law.pdf([4])),
            "quantile": (q, -q / rate),
        }
        for name, (values, slopes) in expected.items():
            np.testing.assert_allclose(printed[name][row], values, rtol=tolerance, err_msg=name)
            gradient = np.array(printed[f"{name}_gradient"][row])
            both = np.column_stack([slopes, slopes])
            np.testing.assert_allclose(gradient, both, rtol=1e2 * tolerance, err_msg=name)


def test_one_method_is_chosen_for_all_theta_and_said(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The theta of the highest rate stands last."""
    save_trace(record_alone(erlang(3)), tmp_path / "trace.h5")
    np.savetxt(tmp_path / "theta.csv", [[1, 1], [3, 4], [60, 40]], delimiter=",")
    arguments = (tmp_path / "trace.h5", "--theta-file", tmp_path / "theta.csv", "--cdf", "1,0.5")
    report = tmp_path / "report.json"
    assert run(*arguments, "--format", "json", "--report", report) == 0
    printed = capfd.readouterr()
    facts = json.loads(report.read_text())
    assert facts["method"] == "uniformisation"
    assert facts["n_terms"] > 100
    assert f"distribution by uniformisation with {facts['n_terms']} terms" in printed.err
    expected = gamma.cdf([1, 0.5], 3, scale=1 / np.array([[2], [7], [100]]))
    np.testing.assert_allclose(json.loads(printed.out)["cdf"], expected, rtol=1e-13)


def test_rewards_of_zero_are_inverted(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Time is spent, but not counted, in the second of three stages; the other reward is time."""
    save_trace(record_alone(erlang(3)), tmp_path / "trace.h5")
    np.save(tmp_path / "rewards.npy", [[0, 2, 0, 2, 0], [0, 1, 1, 1, 0]])
    arguments = (tmp_path / "trace.h5", "--theta", "1,0.5", "--rewards", tmp_path / "rewards.npy")
    assert run(*arguments, "--pdf", "1,4", "--quantile", "0.5", "--format", "json") == 0
    captured = capfd.readouterr()
    assert "inversion: there are rewards of 0" in captured.err
    printed = json.loads(captured.out)
    laws = [gamma(2, scale=2 / 1.5), gamma(3, scale=1 / 1.5)]
    for reward, law in enumerate(laws):
        np.testing.assert_allclose(printed["pdf"][0][reward], law.pdf([1, 4]), rtol=1e-8)
        np.testing.assert_allclose(printed["quantile"][0][reward], law.ppf([0.5]), rtol=1e-8)
    assert printed["units"]["pdf"] == "1/reward"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--pdf", "0,1", "--method", "inversion"], "inversion has no density at 0"),
        (["--pdf", "1", "--rewards", "{}/zero.npy", "--method", "uniformisation"], "above 0"),
        (["--cdf", "1", "--rewards", "{}/negative.npy"], "expected rewards of at least 0, got -1"),
        (["--cdf", "-1"], "expected times of at least 0, got -1.0"),
        (["--quantile", "0.5,1"], "expected probabilities between 0 and 1, got 1.0"),
        (["--pdf", "1", "--theta", "1,-3"], "row of theta=1"),
        (["--quantile", "0.5", "--theta", "1,-3"], "row of theta=1"),
    ],
)
def test_functions_that_cannot_be_computed_say_why(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    save_trace(record_alone(erlang(3)), tmp_path / "trace.h5")
    np.save(tmp_path / "zero.npy", [0, 1, 0, 1, 0])
    np.save(tmp_path / "negative.npy", [[0, 9, 9, 9, 0], [0, 1, -1, 1, 0]])
    filled = [text.format(tmp_path) for text in arguments]
    assert run(tmp_path / "trace.h5", "--theta", "1,0.5", *filled) == 1
    printed = capfd.readouterr()
    assert message in printed.err
    assert "Traceback" not in printed.err


@pytest.mark.parametrize(
    ("suffix", "options"), [(".png", []), (".svg", ["--rewards", "{}/rewards.npy"])]
)
def test_plots_show_densities_or_means(tmp_path: Path, suffix: str, options: list[str]) -> None:
    save_trace(record_alone(erlang(3)), tmp_path / "trace.h5")
    np.save(tmp_path / "rewards.npy", [[0, 1, 0, 0, 0], [0, 0, 1, 1, 0]])
    theta = ("--theta", "1,0.5", "--theta", "2,1", "-o", tmp_path / "out.csv")
    path = tmp_path / f"plot{suffix}"
    filled = [text.format(tmp_path) for text in options]
    assert run(tmp_path / "trace.h5", *theta, *filled, "--plot", path) == 0
    begin = {".png": b"\x89PNG", ".svg": b"<?xml"}[suffix]
    assert path.read_bytes().startswith(begin)
    assert path.stat().st_size > 5000


def test_a_plot_of_many_theta_is_refused(
    trace_file: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "theta.npy", np.ones((9, 2)))
    arguments = ("--theta-file", tmp_path / "theta.npy", "--plot", tmp_path / "plot.png")
    assert run(trace_file, *arguments) == 1
    assert "expected at most 8 theta, got 9" in capfd.readouterr().err


def test_a_missing_matplotlib_is_named_with_the_cure(
    trace_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert run(trace_file, "--theta", "1,1", "--plot", tmp_path / "plot.png") == 1
    assert "pip install 'phasic_mpi[plot]'" in capfd.readouterr().err


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
        (
            ["--theta-file", "{}/ragged.csv"],
            "line 3: expected one number for each parameter, 2 in all",
        ),
        (["--theta-file", "{}/missing.csv"], "No such file"),
        (["--theta", "1,1", "--theta", "1,-1"], "expected a finite weight of at least 0 on edge"),
        (["--theta", "1,1", "--theta", "1,-1"], "row of theta=1"),
        (["--theta", "0,1"], "absorption cannot be reached"),
        (
            ["--theta", "1e-200,1", "--moments", "2"],
            "for moment_2 [time^2], although every weight is legal",
        ),
        (["--theta", "1,1", "--rewards", "{}/words.txt"], "could not convert string 'one'"),
        (["--theta", "1,1", "--rewards", "{}/two.txt"], "expected shape (21,), got (2,)"),
        (["--theta", "1,1", "--covariance"], "expected several rewards"),
        (["--theta", "1,1", "--memory", "1"], "expected one theta to take at most 1 bytes"),
        (["--theta", "1,1", "--format", "hdf5"], "-o FILE with json, csv or hdf5"),
        (["--theta", "1,1", "-o", "{}/out.txt"], "a file that ends in .json, .csv or .h5"),
        (["--theta", "1,1", "-o", "{}/missing/out.h5"], "in a directory that exists"),
        (["--theta", "1,1", "--plot", "{}/plot.jpg"], "ends in .png, .svg or .pdf"),
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
        (["--theta", "a=1,2"], "expected numbers, or NAME=VALUE once for each parameter"),
        (["--theta", "a=1,a=2"], "expected numbers, or NAME=VALUE once for each parameter"),
        (["--theta", "a=x"], "expected numbers separated by commas, got 'x'"),
        (["--theta", "a=1,=2"], "expected numbers, or NAME=VALUE once for each parameter"),
        (["--reward", "a", "--rewards", "b.npy"], "not allowed with argument"),
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


@pytest.fixture
def manifest_file(tmp_path: Path) -> Path:
    save_graph(GRAPH, tmp_path / "graph.h5")
    options = ["run", tmp_path / "graph.h5", "-o", tmp_path / "m.h5", "--cache", tmp_path / "cache"]
    assert cli.main([*map(str, options), "--no-gather"]) == 0
    return tmp_path / "m.h5"


def test_a_manifest_is_evaluated_like_a_trace(
    manifest_file: Path, trace_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    asked = (*FLAGS, "--moments", 2, "--cdf", "1,2")
    assert run_json(capsys, manifest_file, *asked) == run_json(capsys, trace_file, *asked)


def test_distributed_moments_are_those_of_the_scalar_path_bit_for_bit(
    manifest_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    printed = run_json(capsys, manifest_file, *FLAGS, "--moments", 3, "--distributed")
    assert printed["moments"] == moments(TRACE, THETA, 3).tolist()
    reward = GRAPH.reward_names[0]
    printed = run_json(capsys, manifest_file, *FLAGS, "--distributed", "--reward", reward)
    assert printed["reward_names"] == [reward]
    assert printed["moments"] == moments(TRACE, THETA, 1, reward).tolist()


@pytest.mark.parametrize("options", [["--cdf", "1"], ["--gradient"], ["--plot", "x.png"]])
def test_what_is_no_moment_is_not_distributed(
    manifest_file: Path, capfd: pytest.CaptureFixture[str], options: list[str]
) -> None:
    assert run(manifest_file, *FLAGS, "--distributed", *options) == 1
    assert "expected moments alone" in capfd.readouterr().err


def test_several_rewards_are_not_distributed(
    manifest_file: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "rewards.npy", np.ones((2, GRAPH.n_vertices)))
    options = ["--rewards", tmp_path / "rewards.npy", "--distributed"]
    assert run(manifest_file, *FLAGS, *options) == 1
    assert "expected one reward at most, got 2" in capfd.readouterr().err


def test_a_trace_is_no_manifest(trace_file: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(trace_file, *FLAGS, "--distributed") == 1
    assert "phasic_mpi.manifest" in capfd.readouterr().err


@pytest.mark.parametrize(
    "options", [[], ["-o", "m.h5", "--theta", "1,1"], ["-o", "m.h5", "--moments", "2"]]
)
def test_a_run_that_does_not_gather_needs_a_manifest_and_computes_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], options: list[str]
) -> None:
    save_graph(GRAPH, tmp_path / "graph.h5")
    assert cli.main(["run", str(tmp_path / "graph.h5"), "--no-gather", *options]) == 1
    assert "Traces cannot be left in the cache" in capfd.readouterr().err
