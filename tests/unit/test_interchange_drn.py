"""DRN files of Storm: round trips, expressions of parameters, and every bad line by its number."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phasic_mpi.errors import ConfigError, EvaluationError, GraphError
from phasic_mpi.evaluate import moments
from phasic_mpi.graph import PhaseTypeGraph
from phasic_mpi.interchange import load_drn, save_drn
from phasic_mpi.interchange.linear import format_linear, parse_linear
from phasic_mpi.models import build_model
from tests.recording import record_alone

HEADER = """\
// Exported by storm
@type: CTMC
@value_type: double
@parameters

@reward_models
work 
@nr_states
3
@nr_choices
3
@model
"""  # noqa: W291
STATES = """\
state 0 !0.75 [1] init "two words"
//[!alarm\t& mode=0]
\taction 0 [0]
\t\t1 : 0.5
\t\t2 : 0.25
state 1 !3.25 [0.5]
//[!alarm\t& mode=1]
\taction 0 [0]
\t\t0 : 3
\t\t2 : 0.25
state 2 !2 [0] down
//[\t& mode=2]
\taction 0 [0]
\t\t0 : 2
"""
FIRST = HEADER.count("\n") + 1


def write(path: Path, text: str) -> Path:
    path = path / "model.drn"
    path.write_text(text)
    return path


def mean(graph: PhaseTypeGraph, theta: Any = (), reward: str | None = None) -> float:
    return float(moments(record_alone(graph), theta, 1, reward)[0, 0])


def test_a_model_has_its_states_names_rewards_and_expected_values(tmp_path: Path) -> None:
    graph = load_drn(write(tmp_path, HEADER + STATES), absorbing="down")
    assert graph.state_names == ("alarm", "mode")
    assert graph.states.tolist() == [[0, 0], [0, 0], [0, 1], [1, 2]]
    assert graph.reward_names == ("work",)
    assert graph.rewards.tolist() == [[0, 1, 0.5, 0]]
    # As in the tests of PRISM's files: E0 = 4.
    assert mean(graph) == pytest.approx(4, rel=1e-14)
    time_in = 13 / 5 * 4 / 3, 13 / 5 * 2 / 3 * 4 / 13
    assert mean(graph, reward="work") == pytest.approx(time_in[0] + time_in[1] / 2, rel=1e-14)


def test_a_label_may_have_spaces(tmp_path: Path) -> None:
    text = (HEADER + STATES).replace("[0] down", '[0] "really down"')
    graph = load_drn(write(tmp_path, text), absorbing="really down")
    assert mean(graph) == pytest.approx(4, rel=1e-14)


@pytest.mark.parametrize(
    "comment", ["", "//[mode=x\t& alarm=1]\n", "//[& ]\n", "// some words\n", "//[mode=1]\n"]
)
def test_comments_that_are_no_values_of_variables_are_no_error(
    tmp_path: Path, comment: str
) -> None:
    text = (HEADER + STATES).replace("//[!alarm\t& mode=1]\n", comment)
    graph = load_drn(write(tmp_path, text), absorbing="down")
    assert graph.state_names == ()
    assert graph.state_length == 0


def test_rewards_without_names_are_numbered_as_storm_does(tmp_path: Path) -> None:
    text = (HEADER + STATES).replace("work ", "").replace("[1]", "[1, 4]")
    text = text.replace("[0.5]", "[0.5, 0]").replace("[0]", "[0, 0]")
    assert load_drn(write(tmp_path, text), absorbing="down").reward_names == ("rew0", "rew1")


def test_six_digits_of_an_exit_rate_are_enough(tmp_path: Path) -> None:
    text = (HEADER + STATES).replace("1 : 0.5", "1 : 0.50001")
    assert load_drn(write(tmp_path, text), absorbing="down").edge_weight[0] == 0.50001


def changed(old: str, new: str) -> str:
    text = HEADER + STATES
    assert old in text
    return text.replace(old, new, 1)


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("", 1, "expected @model, got the end of the file"),
        ("@nr_states\n", 2, "expected the value of the entry before, got the end of the file"),
        (changed("CTMC", "MDP"), 12, "expected a model of type CTMC, got 'MDP'"),
        (changed("@type: CTMC\n", ""), 11, "expected a model of type CTMC, got ''"),
        (changed("@nr_states\n3", "@nr_states\nx"), 9, "expected an integer, got 'x'"),
        (changed("@nr_states\n3", "@nr_states\n0"), 9, r"expected 1 to \d+ states .*, got 0"),
        (changed("@nr_states\n3", "@nr_states\n1999999999"), 9, r"expected 1 to \d+ states"),
        (changed("@nr_states\n3", "@nr_states\n4"), 9, "expected 4 states, got 3"),
        (changed("@nr_states\n3", "@nr_states\n2"), FIRST + 10, "expected state 2 of 2, got 2"),
        (changed("@reward_models", "@rewards"), 6, "expected an entry of the header"),
        (changed("state 1 !", "state 2 !"), FIRST + 5, "expected state 1 of 3, got 2"),
        (changed("state 1 !3.25", "state 1"), FIRST + 5, "expected a state and its exit rate"),
        (changed("!3.25", "!nan"), FIRST + 5, "expected a finite number .*'nan'"),
        (changed("[0.5]", "[0.5, 1]"), FIRST + 5, "expected 1 rewards, got 2"),
        (changed("[0.5]", "[x]"), FIRST + 5, "expected a finite number .*'x'"),
        (
            changed("0 [0]\n\t\t0 : 3", "0 [7]\n\t\t0 : 3"),
            FIRST + 7,
            "no rewards of actions, got '7'",
        ),
        (changed("\t\t0 : 3", "\taction 1 [0]\n\t\t0 : 3"), FIRST + 8, "one action for each state"),
        (changed("\t\t0 : 3", "\t\t3 : 3"), FIRST + 8, r"expected a state in 0\.\.2, got 3"),
        (
            changed("\t\t0 : 3", "\t\t0 3"),
            FIRST + 8,
            "expected a state and a rate, such as 1 : 0.5",
        ),
        (changed("\t\t0 : 3", "\t\t0.5 : 3"), FIRST + 8, "expected a state and a rate"),
        (changed("\t\t0 : 3", "\t\tzero : 3"), FIRST + 8, "expected a state, an action or a trans"),
        (changed("\t\t0 : 3", "\t\t0 : -3"), FIRST + 8, "expected a rate of at least 0, got -3"),
        (changed("\t\t0 : 3", "\t\t0 : inf"), FIRST + 8, "expected a finite number .*'inf'"),
        (changed("\t\t0 : 3", "\t\t0 : 1e400"), FIRST + 8, "expected a finite number, got '1e400'"),
        (changed("\t\t0 : 3", "\t\t0 : x"), FIRST + 8, r"parameters \(there are none\), got 'x'"),
        (changed("\t\t0 : 3", "\t\t0 : $7"), FIRST + 8, "expected a placeholder of the header"),
        (changed("\t\t0 : 3", "\t\t0 : 0.9"), FIRST + 5, r"sum of \[3.25\], the exit rate, got"),
    ],
)
def test_a_bad_line_is_refused_by_its_number(
    tmp_path: Path, text: str, line: int, problem: str
) -> None:
    path = write(tmp_path, text)
    with pytest.raises(GraphError, match=f"line {line}: .*{problem}") as caught:
        load_drn(path, absorbing="down")
    assert caught.value.context["path"] == path
    assert caught.value.resolution


def test_a_truncated_file_is_refused_wherever_it_ends(tmp_path: Path) -> None:
    lines = (HEADER + STATES).splitlines(keepends=True)
    for end in range(len(lines) - 1):
        path = write(tmp_path, "".join(lines[:end]))
        # The last state may lack its transition: it is absorbing.
        if end < len(lines) - 3:
            with pytest.raises(GraphError, match=r"model\.drn cannot be read"):
                load_drn(path, absorbing="down")


# --- expressions ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "row"),
    [
        ("0.5", [0.5, 0, 0]),
        (" 3/10 ", [0.3, 0, 0]),
        ("-2e-3", [-0.002, 0, 0]),
        ("x", [0, 1, 0]),
        ("(lam_2)/(1)", [0, 0, 1]),
        ("(24*x+4*lam_2+27)/(12)", [2.25, 2, 1 / 3]),
        ("(2 * (x))/(1)", [0, 2, 0]),
        ("2*(x+3*(lam_2-1))/4-x*1e-5", [-1.5, 0.5 - 1e-5, 1.5]),
        ("x*lam_2/lam_2", None),
        ("x*lam_2", None),
        ("1/x", None),
        ("x^2", None),
        ("x**2", None),
        ("y", None),
        ("1_0*x", None),
        ("1e400*x", None),
        ("x/0", None),
        ("", None),
        ("__import__('os')", None),
        ("x if 1 else 2", None),
        ("(" * 5000 + "x" + ")" * 5000, None),
        ("-" * 100_000 + "x", None),
        ("9" * 5000 + "*x", None),
    ],
)
def test_only_linear_expressions_are_read(text: str, row: list[float] | None) -> None:
    if row is not None:
        np.testing.assert_allclose(parse_linear(text, ["x", "lam_2"]), row, rtol=1e-15)
        return
    with pytest.raises(ValueError, match="expected a finite number"):
        parse_linear(text, ["x", "lam_2"])


@pytest.mark.parametrize("name", ["lambda", "in", "True", "None", "e", "E1", "_", "v0"])
def test_a_parameter_may_have_any_name(name: str) -> None:
    read = partial(parse_linear, parameters=["v1", name])
    assert read(name).tolist() == [0, 0, 1]
    assert read(f"2*{name}-1e1*v1+({name})*3").tolist() == [0, -10, 5]
    assert read(f"1.5e0-{name}").tolist() == [1.5, 0, -1]
    assert read(format_linear([1e-7, 2, 3], ["v1", name])).tolist() == [1e-7, 2, 3]


@given(st.lists(st.floats(-1e30, 1e30), min_size=1, max_size=4))
def test_an_expression_gives_its_numbers_back(row: list[float]) -> None:
    parameters = ["a", "b_1", "theta_3"][: len(row) - 1]
    text = format_linear(row, parameters)
    assert "e" not in text.replace("theta", "")
    np.testing.assert_array_equal(parse_linear(text, parameters), row)


# --- writing --------------------------------------------------------------------------------------


def test_a_graph_with_parameters_comes_back_from_its_file(tmp_path: Path) -> None:
    graph = PhaseTypeGraph.from_arrays(
        n_vertices=4,
        states=[[0, 0], [-3, 1], [2, 0], [9, 9]],
        state_names=["a", "b"],
        edge_source=[1, 2],
        edge_target=[2, 3],
        edge_weight=[0.1, 1e-7],
        param_source=[1, 1, 2],
        param_target=[2, 3, 1],
        param_coefficient=[[0.2, 0], [1 / 3, -5], [0, 7e21]],
        parameter_names=["x", "y"],
        start_target=[2],
        start_weight=[1.0],
        rewards={"first": [0, 1, 0, 2.5], "second": [0, -1e-5, 7, 0]},
    )
    save_drn(graph, tmp_path / "model.drn")
    assert load_drn(tmp_path / "model.drn").equals(graph)


def test_a_bundled_model_keeps_its_moments_at_theta(tmp_path: Path) -> None:
    graph = build_model("tandem-queue", capacity=3)
    theta = [0.9, 1.0, 1.1]
    ours = moments(record_alone(graph), theta, 3)
    save_drn(graph, tmp_path / "at.drn", theta=theta)
    found = moments(record_alone(load_drn(tmp_path / "at.drn")), (), 3)
    np.testing.assert_allclose(found, ours, rtol=1e-13)
    save_drn(graph, tmp_path / "kept.drn")
    found = moments(record_alone(load_drn(tmp_path / "kept.drn")), theta, 3)
    np.testing.assert_allclose(found, ours, rtol=1e-13)


def test_parameters_without_names_get_some(tmp_path: Path) -> None:
    graph = PhaseTypeGraph.from_arrays(
        n_vertices=3,
        param_source=[1],
        param_target=[2],
        param_coefficient=[[1.0, 2.0]],
        start_target=[1],
        start_weight=[1.0],
    )
    save_drn(graph, tmp_path / "model.drn")
    back = load_drn(tmp_path / "model.drn")
    assert back.parameter_names == ("theta_1", "theta_2")
    assert mean(back, {"theta_1": 1.0, "theta_2": 0.5}) == 0.5


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    graph = build_model("kingman", n=3)
    with pytest.raises(EvaluationError, match="expected theta of shape"):
        save_drn(graph, tmp_path / "model.drn", theta=[1.0, 2.0])
    with pytest.raises(ConfigError, match="cannot be written"):
        save_drn(graph, tmp_path / "absent" / "model.drn")
