"""PRISM's explicit files: as ``-exportmodel`` writes them, round trips, bad lines by number."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from phasic_mpi.errors import ConfigError, EvaluationError, GraphError
from phasic_mpi.evaluate import moments
from phasic_mpi.graph import PhaseTypeGraph
from phasic_mpi.interchange import load_prism, save_prism
from phasic_mpi.models import build_model
from tests.recording import record_alone

# A machine works (0), is slow (1) or broken (2); from 2 it would be repaired.
FILES = {
    "m.tra": "# Transitions (CTMC)\n3 5\n0 1 0.5 wear\n0 2 0.25 crash\n1 0 3\n1 2 1/4\n2 0 2\n",
    "m.sta": "# States\n(mode,alarm)\n0:(0,false)\n1:(1,false)\n2:(2,true)\n",
    "m.lab": '# Labels\n0="init" 1="deadlock" 2="down" 3="never"\n0: 0\n2: 2\n',
    "m1.srew": '# Reward structure "work"\n# State rewards\n3 2\n0 1\n1 0.5\n',
    "m2.srew": "# Reward structure\n# State rewards\n3 1\n1 -2\n",
}

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes the files of the machine, with other texts for some of them; None leaves one out."""

    def write(**changed: str | None) -> Path:
        texts = {**FILES, **{name.replace("_", "."): text for name, text in changed.items()}}
        for name, text in texts.items():
            if text is not None:
                (tmp_path / name).write_text(text)
        return tmp_path / "m.tra"

    return write


def mean(graph: PhaseTypeGraph, theta: Any = (), reward: str | None = None) -> float:
    return float(moments(record_alone(graph), theta, 1, reward)[0, 0])


def test_a_model_has_its_states_names_rewards_and_expected_values(write: Write) -> None:
    graph = load_prism(write(), absorbing="down")
    assert graph.n_vertices == 4
    assert graph.state_names == ("mode", "alarm")
    assert graph.states.tolist() == [[0, 0], [0, 0], [1, 0], [2, 1]]
    assert graph.reward_names == ("work", "reward_2")
    assert graph.rewards.tolist() == [[0, 1, 0.5, 0], [0, 0, -2, 0]]
    # E0 = 4/3 + 2/3 E1 and E1 = 4/13 + 12/13 E0, so E0 = (4/3 + 8/39) / (1 - 24/39) = 4.
    assert mean(graph) == pytest.approx(4, rel=1e-14)
    # Visits: E0 = v0 * 4/3, E1 = 2/3 v0 * 4/13 with v0 = 1 / (1 - 24/39) = 13/5.
    time_in = 13 / 5 * 4 / 3, 13 / 5 * 2 / 3 * 4 / 13
    assert mean(graph, reward="work") == pytest.approx(time_in[0] + time_in[1] / 2, rel=1e-14)
    assert mean(graph, reward="reward_2") == pytest.approx(-2 * time_in[1], rel=1e-14)


def test_without_labels_state_0_is_initial_and_what_is_not_left_absorbs(write: Write) -> None:
    path = write(m_tra="2 2\n0 1 4.0\n1 1 7.0\n", m_sta=None, m_lab=None, m1_srew=None)
    graph = load_prism(path, rewards=[])
    assert graph.state_length == 0
    assert graph.reward_names == ()
    assert mean(graph) == 0.25


def test_parallel_transitions_add_up(write: Write) -> None:
    path = write(m_tra="3 3\n0 2 1 a\n0 2 3 b\n1 2 1\n")
    assert mean(load_prism(path, absorbing="down")) == 0.25


def test_several_initial_states_need_probabilities(write: Write) -> None:
    path = write(m_lab='0="init" 1="down"\n0: 0\n1: 0\n2: 1\n')
    with pytest.raises(
        GraphError, match=r"a probability for each of the 2 initial states, got non"
    ):
        load_prism(path, absorbing="down")
    with pytest.raises(GraphError, match=r"of the 2 initial states, got shape \(3,\)"):
        load_prism(path, absorbing="down", initial_probabilities=[1, 0, 0])
    graph = load_prism(path, absorbing="down", initial_probabilities=[0.25, 0.75])
    # E1 = 4/13 + 12/13 * 4 = 4.
    assert mean(graph) == pytest.approx(4, rel=1e-14)
    assert graph.start_weight.tolist() == [0.25, 0.75]


def test_rewards_of_transitions_are_left_out_with_a_warning(
    write: Write, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(m1_trew="3 1\n0 1 5\n", m2_trew="3 0\n")
    logging.getLogger("phasic_mpi").propagate = True
    with caplog.at_level("WARNING", "phasic_mpi"):
        graph = load_prism(path, absorbing="down")
    assert graph.reward_names == ("reward_1",)
    assert "m1.srew is not read, because rewards of transitions (m1.trew)" in caplog.text


@pytest.mark.parametrize(
    ("name", "text", "line", "problem"),
    [
        ("m_tra", "", 1, "expected two numbers, of states and of entries, got the end of the file"),
        ("m_tra", "# Transitions (DTMC)\n1 0\n", 1, "expected a model of type CTMC, got DTMC"),
        ("m_tra", "3 3 5\n", 1, "expected two numbers, of states and of entries, got '3 3 5'"),
        ("m_tra", "R = sparse(3,3);\n", 1, "expected two numbers"),
        ("m_tra", "3 x\n", 1, "expected an integer, got 'x'"),
        ("m_tra", "0 0\n", 1, "expected 1 to 4 states in a file of this size, got 0"),
        ("m_tra", "2000000000 1\n0 1 1\n", 1, "states in a file of this size, got 2000000000"),
        ("m_tra", "3 2\n0 1 1\n", 1, "expected 2 transitions, got 1"),
        ("m_tra", "3 1\n0 1 1\n0 2 1\n", 1, "expected 1 transitions, got 2"),
        ("m_tra", "3 1\n\n# one\n0 1\n", 4, "expected a state, a state and a rate, got '0 1'"),
        ("m_tra", "3 1\n0 1 1 a b\n", 2, "expected a state, a state and a rate, got '0 1 1 a b'"),
        ("m_tra", "3 2\n0 1 1\n0:1 2:3\n", 3, "expected a state, a state and a rate"),
        ("m_tra", "3 2\n0 1 1\n0 3 1\n", 3, r"expected a state in 0\.\.2, got 3"),
        ("m_tra", "3 2\n0 1 1\n-1 2 1\n", 3, r"expected a state in 0\.\.2, got -1"),
        ("m_tra", "3 2\n0 1 1\n0.5 2 1\n", 3, "expected an integer, got '0.5'"),
        ("m_tra", "3 2\n0 1 1\n1 2 -3\n", 3, "expected a rate of at least 0, got -3"),
        ("m_tra", "3 2\n0 1 1\n1 2 nan\n", 3, "expected a finite number, got 'nan'"),
        ("m_tra", "3 2\n0 1 inf\n1 2 1\n", 2, "expected a finite number, got 'inf'"),
        ("m_tra", "3 2\n0 1 1\n1 2 1e400\n", 3, "expected a finite number, got '1e400'"),
        ("m_tra", "3 2\n0 1 1\n1 2 1/0\n", 3, "expected a finite number, got '1/0'"),
        ("m_tra", "3 2\n0 1 1\n1 2 [1,2]\n", 3, r"expected a finite number, got '\[1,2\]'"),
        ("m_tra", "3 2\n0 1 1\n1 2 1_0\n", 3, "expected a finite number, got '1_0'"),
        ("m_sta", "", 1, r"expected names of variables, such as \(a,b\), got ''"),
        (
            "m_sta",
            "(a)\n0:(1)\n1:(2)\n",
            1,
            "expected 3 states, as there are transitions of, got 2",
        ),
        ("m_sta", "(a)\n0:(1)\n0:(2)\n1:(3)\n", 3, "expected each state once, got 0 again"),
        ("m_sta", "(a)\n0:(1)\n7:(2)\n", 3, r"expected a state in 0\.\.2, got 7"),
        ("m_sta", "(a)\n0:(1,2)\n", 2, "expected 1 values, got 2"),
        ("m_sta", "(a)\n0:(maybe)\n", 2, "expected an integer, got 'maybe'"),
        ("m_sta", "(a)\n0:(3000000000)\n", 2, "expected an integer of 32 bits, got 3000000000"),
        ("m_sta", "(a)\n0 (1)\n", 2, r"expected a state such as 0:\(1,false\), got '0 \(1\)'"),
        ("m_lab", "", 1, "expected labels such as"),
        ("m_lab", '0="init" 2="down"\n', 1, "expected labels such as"),
        ("m_lab", '0="init" 1="init"\n', 1, "expected each label once"),
        ("m_lab", '0="init" 1="down"\n0: 0\n2: 2\n', 3, r"expected labels in 0\.\.1, got 2"),
        ("m_lab", '0="init" 1="down"\n0: 0\n0: 1\n', 3, "expected each state once, got 0 again"),
        ("m_lab", '0="init" 1="down"\n0: 0\n9: 1\n', 3, r"expected a state in 0\.\.2, got 9"),
        ("m_lab", '0="init" 1="down"\n0 0\n', 2, "expected a state and its labels"),
        ("m1_srew", "3 1\n", 1, "expected 1 rewards, got 0"),
        ("m1_srew", "4 1\n0 1\n", 1, "expected 3 states, got 4"),
        ("m1_srew", "3 2\n0 1\n0 2\n", 3, "expected each state once, got 0 again"),
        ("m1_srew", "3 1\n3 1\n", 2, r"expected a state in 0\.\.2, got 3"),
        ("m1_srew", "3 1\n0 x\n", 2, "expected a finite number, got 'x'"),
    ],
)
def test_a_bad_line_is_refused_by_its_number(
    write: Write, name: str, text: str, line: int, problem: str
) -> None:
    path = write(**{name: text})
    with pytest.raises(GraphError, match=f"line {line}: .*{problem}") as caught:
        load_prism(path, absorbing="down")
    assert caught.value.context["path"] == path.with_name(name.replace("_", "."))
    assert caught.value.resolution


def test_bytes_that_are_no_text_are_refused_by_line(write: Write) -> None:
    path = write()
    path.write_bytes(b"3 1\n0 1 \xff\n")
    with pytest.raises(GraphError, match="line 2: expected UTF-8: invalid start byte"):
        load_prism(path)


def test_labels_that_fit_no_state_are_refused(write: Write) -> None:
    path = write()
    with pytest.raises(GraphError, match="of the label 'done', got no such label") as caught:
        load_prism(path, absorbing="done")
    assert caught.value.context == {"path": path, "labels": "init, deadlock, down, never"}
    with pytest.raises(GraphError, match="of the label 'never', got a label that no state has"):
        load_prism(path, absorbing="never")
    with pytest.raises(GraphError, match="expected a state that no transition leaves, got none"):
        load_prism(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.tra cannot be read\n.*No such file"):
        load_prism(tmp_path / "absent.tra")


# --- writing --------------------------------------------------------------------------------------


@pytest.mark.parametrize("absorbing", [None, "absorbing"])
def test_a_graph_comes_back_from_its_files(tmp_path: Path, absorbing: str | None) -> None:
    graph = PhaseTypeGraph.from_arrays(
        n_vertices=5,
        states=[[0, 0], [-3, 1], [2, 0], [0, 0], [9, 9]],
        state_names=["a", "b"],
        edge_source=[1, 1, 2, 2, 1],
        edge_target=[2, 3, 1, 4, 2],
        edge_weight=[0.1, 1e-300, 1 / 3, 1e17, 0.2],
        start_target=[2],
        start_weight=[1.0],
        rewards={"x": [0, 1, 0, 2.5, 0], "y": [0, -1e-5, 7, 0, 0]},
    )
    written = save_prism(graph, tmp_path / "m.tra")
    assert [path.name for path in written] == ["m.tra", "m.lab", "m.sta", "m1.srew", "m2.srew"]
    back = load_prism(tmp_path / "m.tra", absorbing=absorbing)
    assert back.edge_source.tolist() == [1, 1, 2, 2]
    assert back.edge_target.tolist() == [2, 3, 1, 4]
    assert back.edge_weight.tolist() == [0.1 + 0.2, 1e-300, 1 / 3, 1e17]
    for name in ("states", "state_names", "start_target", "start_weight", "rewards"):
        np.testing.assert_array_equal(getattr(back, name), getattr(graph, name), err_msg=name)


def test_the_files_are_what_prism_writes(tmp_path: Path) -> None:
    graph = PhaseTypeGraph.from_arrays(
        n_vertices=3,
        states=[[0], [5], [6]],
        edge_source=[1],
        edge_target=[2],
        edge_weight=[0.5],
        start_target=[1],
        start_weight=[1.0],
        rewards={"held": [0, 2, 0]},
    )
    texts = {path.name: path.read_text() for path in save_prism(graph, tmp_path / "m.tra")}
    assert texts == {
        "m.tra": "# Transitions (CTMC)\n2 2\n0 1 0.5\n1 1 1.0\n",
        "m.lab": '# Labels\n0="init" 1="absorbing"\n0: 0\n1: 1\n',
        "m.sta": "# States\n(x_1)\n0:(5)\n1:(6)\n",
        "m.srew": '# Reward structure "held"\n# State rewards\n2 1\n0 2.0\n',
    }


def test_a_bundled_model_keeps_its_moments_at_theta(tmp_path: Path) -> None:
    graph = build_model("structured-coalescent", n=5, islands=2)
    theta = [1.0, 0.4]
    save_prism(graph, tmp_path / "m.tra", theta=theta)
    back = load_prism(tmp_path / "m.tra")
    ours = moments(record_alone(graph), theta, 3)
    np.testing.assert_allclose(moments(record_alone(back), (), 3), ours, rtol=1e-13)


def test_what_the_files_cannot_hold_is_refused(tmp_path: Path) -> None:
    graph = build_model("kingman", n=3)
    with pytest.raises(EvaluationError, match="expected theta, because the graph has 1 parameters"):
        save_prism(graph, tmp_path / "m.tra")
    with pytest.raises(EvaluationError, match="expected a finite rate of at least 0, got -"):
        save_prism(graph, tmp_path / "m.tra", theta=[-1.0])
    with pytest.raises(EvaluationError, match="expected one theta, got 2"):
        save_prism(graph, tmp_path / "m.tra", theta=[[1.0], [2.0]])
    spread = PhaseTypeGraph.from_arrays(
        n_vertices=4,
        edge_source=[1, 2],
        edge_target=[3, 3],
        edge_weight=[1, 2],
        start_target=[1, 2],
        start_weight=[0.5, 0.5],
    )
    with pytest.raises(GraphError, match="got 2 initial vertices with a constant mass of 1"):
        save_prism(spread, tmp_path / "m.tra")
    assert not list(tmp_path.iterdir())


def test_files_of_another_model_are_not_mixed_with_new_ones(write: Write) -> None:
    path = write()
    before = path.read_text()
    graph = build_model("kingman", n=3)
    with pytest.raises(ConfigError, match=r"expected no files of another model beside it, got m"):
        save_prism(graph, path, theta=[1.0])
    assert path.read_text() == before


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    graph = build_model("kingman", n=3)
    with pytest.raises(ConfigError, match=r"m\.tra cannot be written\n.*No such file"):
        save_prism(graph, tmp_path / "absent" / "m.tra", theta=[1.0])
