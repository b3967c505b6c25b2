"""Files of one format become files of another, by suffix, in Python and on the command line."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from phasic_mpi.errors import ConfigError
from phasic_mpi.evaluate import moments
from phasic_mpi.graph_io import load_graph, save_graph
from phasic_mpi.interchange import convert, load_any
from phasic_mpi.models import build_model
from tests.launch import phasic_mpi
from tests.recording import record_alone

GRAPH = build_model("structured-coalescent", n=4, islands=2)
THETA = [1.0, 0.4]


def test_a_graph_goes_through_every_format(tmp_path: Path) -> None:
    ours = moments(record_alone(GRAPH), THETA, 2)
    save_graph(GRAPH, tmp_path / "0.json")
    names = ["0.json", "1.h5", "2.drn", "3.hdf5", "4.tra", "5.json", "6.tra"]
    for source, target in pairwise(names):
        theta = THETA if target == "4.tra" else None
        convert(tmp_path / source, tmp_path / target, theta=theta)
    back = load_any(tmp_path / "6.tra")
    np.testing.assert_allclose(moments(record_alone(back), (), 2), ours, rtol=1e-13)
    np.testing.assert_array_equal(back.states[1:], GRAPH.states[1:])


@pytest.mark.parametrize(
    ("source", "target", "options", "problem"),
    [
        ("graph.json", "graph.dot", {}, "expected a name that ends in .json, .*, got '.dot'"),
        ("graph.txt", "graph.json", {}, "expected a name that ends in .json, .*, got '.txt'"),
        ("graph.json", "graph.h5", {"theta": THETA}, "expected no theta, because a .h5 file keeps"),
        ("graph.json", "graph.h5", {"absorbing": "x"}, "expected no label of absorbing states"),
        ("graph.json", "graph.h5", {"initial_probabilities": [1]}, "expected no label of absorb"),
    ],
)
def test_what_a_format_does_not_have_is_refused(
    tmp_path: Path, source: str, target: str, options: dict[str, object], problem: str
) -> None:
    save_graph(GRAPH, tmp_path / "graph.json")
    with pytest.raises(ConfigError, match=problem):
        convert(tmp_path / source, tmp_path / target, **options)  # type: ignore[arg-type]
    assert [path.name for path in tmp_path.iterdir()] == ["graph.json"]


def test_the_command_converts_a_model_of_prism(tmp_path: Path) -> None:
    (tmp_path / "m.tra").write_text("3 3\n0 1 2\n0 2 2\n2 1 4\n")
    (tmp_path / "m.lab").write_text('0="init" 1="done"\n0: 0\n1: 1\n2: 0\n')
    arguments = ["--absorbing", "done", "--initial", "0.5,0.5"]
    done = phasic_mpi("convert", tmp_path / "m.tra", tmp_path / "m.h5", *arguments)
    assert done.returncode == 0, done.stderr
    assert "m.h5: 4 vertices, 3 edges, 0 parameters, 0 rewards" in done.stderr
    # From 0: 1/4 + 1/2 * 1/4; from 2: 1/4.
    mean = moments(record_alone(load_graph(tmp_path / "m.h5")), (), 1)[0, 0]
    assert mean == pytest.approx((0.375 + 0.25) / 2, rel=1e-14)


def test_the_command_writes_rates_at_a_theta_of_names(tmp_path: Path) -> None:
    save_graph(build_model("kingman", n=3), tmp_path / "graph.h5")
    name = build_model("kingman", n=3).parameter_names
    theta = f"{name[0]}=0.5" if name else "0.5"
    done = phasic_mpi("convert", tmp_path / "graph.h5", tmp_path / "m.tra", "--theta", theta)
    assert done.returncode == 0, done.stderr
    # Two coalescences at the rates 3/2 and 1/2.
    mean = moments(record_alone(load_any(tmp_path / "m.tra")), (), 1)[0, 0]
    assert mean == pytest.approx(2 / 3 + 2, rel=1e-14)


def test_the_command_says_what_is_wrong_with_a_file(tmp_path: Path) -> None:
    (tmp_path / "m.tra").write_text("2 1\n0 1 -2\n")
    done = phasic_mpi("convert", tmp_path / "m.tra", tmp_path / "m.json")
    assert done.returncode == 1
    assert "line 2: expected a rate of at least 0, got -2" in done.stderr
