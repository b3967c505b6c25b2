"""Graph files: exact round trips, and everything a reader must refuse, by name and place."""

import json
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phasic_mpi import hdf5
from phasic_mpi.errors import (
    ConfigError,
    DamagedFileError,
    GraphError,
    GraphIndexError,
    PhasicMpiError,
    StoreError,
)
from phasic_mpi.graph import PhaseTypeGraph
from phasic_mpi.graph_io import FILETYPE, VERSION, load_graph, save_graph
from phasic_mpi.models import MODELS, build_model
from phasic_mpi.names import encode_names
from tests.fuzz import checks
from tests.unit.test_graph import FIELDS, NAMES, PHASIC_AUX, graphs, with_fields

COLUMNS = list(PhaseTypeGraph.__dataclass_fields__)
NAME_COLUMNS = ["parameter_names", "state_names", "reward_names"]
SUFFIXES = [".json", ".h5", ".hdf5"]


@pytest.fixture
def graph() -> PhaseTypeGraph:
    return PhaseTypeGraph.from_serialized(FIELDS)


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str | bytes], Path]:
    """Writes the text of a JSON file."""

    def write(text: str | bytes) -> Path:
        path = tmp_path / "graph.json"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return write


def columns_of(graph: PhaseTypeGraph, **changed: Any) -> dict[str, Any]:
    columns = {name: getattr(graph, name) for name in COLUMNS}
    return {**columns, **{name: encode_names(columns[name]) for name in NAME_COLUMNS}, **changed}


def write_foreign(path: Path, columns: dict[str, Any], **options: Any) -> Path:
    with h5py.File(path, "w") as file:
        for name, column in columns.items():
            file.create_dataset(name, data=column, **options)
    return path


def refused(path: Path, **options: Any) -> PhasicMpiError:
    """The error with which a file is refused, checked for its parts."""
    with pytest.raises(PhasicMpiError) as caught:
        load_graph(path, **options)
    error = caught.value
    assert isinstance(error, GraphError | StoreError | ConfigError)
    assert error.context["path"] == path
    assert error.problem
    assert error.resolution
    assert str(path) in error.what
    return error


# --- round trips ---------------------------------------------------------------------------------


@settings(deadline=None)
@given(graphs(), st.sampled_from(SUFFIXES))
def test_any_graph_survives_a_file_exactly(graph: PhaseTypeGraph, suffix: str) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / f"graph{suffix}"
        assert save_graph(graph, path) == path.stat().st_size
        loaded = load_graph(path)
    assert loaded.equals(graph)
    for name in set(COLUMNS) - set(NAME_COLUMNS):
        assert getattr(loaded, name).dtype == getattr(graph, name).dtype
        assert getattr(loaded, name).flags.c_contiguous
        assert np.signbit(getattr(loaded, name)).tolist() == (
            np.signbit(getattr(graph, name)).tolist()
        )


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", MODELS)
def test_bundled_models_survive_a_file(name: str, suffix: str, tmp_path: Path) -> None:
    graph = build_model(name)
    path = tmp_path / f"graph{suffix}"
    save_graph(graph, str(path))
    assert load_graph(str(path)).equals(graph)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_equal_graphs_give_equal_bytes(suffix: str, graph: PhaseTypeGraph, tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}{suffix}" for name in "ab"]
    for path in paths:
        save_graph(graph, path)
    assert paths[0].read_bytes() == paths[1].read_bytes()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_content_decides_how_a_file_is_read(
    suffix: str, graph: PhaseTypeGraph, tmp_path: Path
) -> None:
    path = tmp_path / f"graph{suffix}"
    save_graph(graph, path)
    assert load_graph(path.rename(tmp_path / "graph.dat")).equals(graph)


def test_a_file_of_phasic_and_json_dump_is_read(write: Callable[[str], Path]) -> None:
    listed = {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in PHASIC_AUX.items()}
    text = json.dumps(listed, indent=1)
    assert "1.0,\n   3.0,\n   2.0" in text  # indices are floats there
    assert load_graph(write(text)).equals(PhaseTypeGraph.from_serialized(PHASIC_AUX))


def test_an_hdf5_file_states_its_sizes_in_the_header(graph: PhaseTypeGraph, tmp_path: Path) -> None:
    path = tmp_path / "graph.h5"
    save_graph(graph, path)
    header = hdf5.read_header(path)
    assert (header.filetype, tuple(header.version)) == (FILETYPE, VERSION)
    assert header.summary == {"n_vertices": 4, "n_edges": 4, "n_parameters": 2, "state_length": 2}


def test_an_hdf5_file_is_ordinary_hdf5(graph: PhaseTypeGraph, tmp_path: Path) -> None:
    save_graph(graph, tmp_path / "graph.h5")
    with h5py.File(tmp_path / "graph.h5") as file:
        assert sorted(file) == sorted(COLUMNS)
        assert file["param_coefficient"][()].tolist() == graph.param_coefficient.tolist()


@pytest.mark.parametrize("name", ["graph", "graph.txt", "graph.json.gz", "graph.JSON"])
def test_another_suffix_is_refused_with_the_names_of_both_formats(
    name: str, graph: PhaseTypeGraph, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"ends in \.json or in \.h5 or \.hdf5, got") as caught:
        save_graph(graph, tmp_path / name)
    assert caught.value.context["path"] == tmp_path / name
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_failed_write_leaves_the_old_file(
    suffix: str, graph: PhaseTypeGraph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"graph{suffix}"
    save_graph(graph, path)
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigError, match=r"cannot be written\n.*No space left on device"):
        save_graph(build_model("kingman"), path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_a_directory_that_is_not_there_is_an_error_with_the_path(
    graph: PhaseTypeGraph, tmp_path: Path
) -> None:
    path = tmp_path / "absent" / "graph.json"
    with pytest.raises(ConfigError, match="No such file or directory") as caught:
        save_graph(graph, path)
    assert caught.value.context["path"] == path


# --- what cannot be read at all ------------------------------------------------------------------


def test_a_file_that_is_not_there_is_an_error_with_the_path(tmp_path: Path) -> None:
    error = refused(tmp_path / "absent.json")
    assert type(error) is ConfigError
    assert "No such file or directory" in error.problem


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", Path("/dev/zero")):
        assert "got no regular file" in refused(path).problem


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_beyond_the_limit_is_not_read(
    suffix: str, graph: PhaseTypeGraph, tmp_path: Path
) -> None:
    path = tmp_path / f"graph{suffix}"
    size = save_graph(graph, path)
    error = refused(path, byte_limit=size - 1)
    assert type(error) is ConfigError
    assert f"at most {size - 1} bytes, got {size} bytes" in error.problem
    assert load_graph(path, byte_limit=size).equals(graph)


# --- JSON ----------------------------------------------------------------------------------------


def text_with(**replaced: str) -> str:
    """The fields as JSON text, some of them replaced by other text."""
    texts = {name: json.dumps(value) for name, value in FIELDS.items()} | replaced
    return "{" + ", ".join(f'"{name}": {text}' for name, text in texts.items()) + "}"


BROKEN_JSON = [
    ("", "byte 0, line 1: Input data was truncated"),
    (b"\xef\xbb\xbf{}", "byte 0, line 1: JSON is malformed: invalid character"),
    (b"PK\x03\x04", "byte 0, line 1: JSON is malformed: invalid character"),
    ("[1]", "the text as a whole: Expected `object`, got `array`"),
    ("null", "the text as a whole: Expected `object`, got `null`"),
    (text_with()[:-1], f"byte {len(text_with()) - 1}, line 1: Input data was truncated"),
    (text_with() + "\n]", f"byte {len(text_with()) + 1}, line 2: JSON is malformed: trailing"),
    ('{\n"edges":\n[[1, 2, NaN]]}', "byte 19, line 3: JSON is malformed: invalid character"),
    ('{"edges": [[1, 2, Infinity]]}', "byte 18, line 1: JSON is malformed: invalid character"),
    ('{"edges": [[1, 2, -Infinity]]}', "line 1: JSON is malformed: invalid "),
    ('{"edges": [[1, 2 3]]}', "byte 17, line 1: JSON is malformed: expected ',' or ']'"),
    ('{"edges": [[01, 2, 3]]}', "line 1: JSON is malformed: invalid number"),
    ('{"edges": [[1, 2, 3],]}', "line 1: JSON is malformed: "),
    ("{'edges': []}", "byte 1, line 1: JSON is malformed: "),
    ('{"edges": ' + "[" * 100_000, "recursion"),
]


@pytest.mark.parametrize(("text", "problem"), BROKEN_JSON, ids=range(len(BROKEN_JSON)))
def test_malformed_json_raises(
    text: str | bytes, problem: str, write: Callable[[str | bytes], Path]
) -> None:
    error = refused(write(text))
    assert type(error) is GraphError
    assert isinstance(error, ValueError)
    assert problem in error.problem
    assert error.context["bytes"] == len(text)


WRONG_JSON = [
    ({"edges": "[[1, 2, 1e400]]"}, "field 'edges', row 0, column 2: number out of range"),
    ({"edges": "[[1, 2, 1], [true, 2, 1]]"}, "'edges', row 1, column 0: expected float, got bool"),
    ({"edges": '[[1, "2", 1]]'}, "field 'edges', row 0, column 1: expected float, got str"),
    ({"edges": "[[1, null, 1]]"}, "field 'edges', row 0, column 1: expected float, got null"),
    ({"edges": "[[1, [2], 1]]"}, "field 'edges', row 0, column 1: expected float, got array"),
    ({"edges": "[[1, 2, 1], 7]"}, "field 'edges', row 1: expected array, got int"),
    ({"edges": "7"}, "field 'edges': expected array, got int"),
    ({"edges": '{"a": 1}'}, "field 'edges': expected array, got object"),
    ({"edges": "[[1, 2.5, 1]]"}, "field 'edges[:, 1]', row 0: expected 32-bit integers, got 2.5"),
    ({"edges": "[[1, 2, 1], [1, 2]]"}, "field 'edges', row 1: expected 3 numbers, got 2"),
    ({"edges": "[[1, 2, 1], [1, 2, 1, 1]]"}, "field 'edges', row 1: expected 3 numbers, got 4"),
    ({"edges": "[[1, 2, -1]]"}, "field 'edges[:, 2]', row 0: expected a finite number of at le"),
    ({"param_edges": "[[1, 2, 1, 1, 1]]"}, "row 0: expected 2 + 2 columns, of which 2 are coeff"),
    ({"states": "[[0, 0], [2, 0], [1, 1]]"}, "field 'states': expected shape (4, 2), got (3, 2)"),
    ({"states": "[[0, 0], [2, 0], [1, 1.5], [0, 0]]"}, "field 'states', row 2: expected 32-bit in"),
    ({"n_vertices": "4.0"}, "field 'n_vertices': expected an integer in 0..2147483647, got 4.0"),
    ({"n_vertices": "true"}, "field 'n_vertices': expected an integer in 0..2147483647, got True"),
    ({"n_vertices": '"4"'}, "field 'n_vertices': expected an integer in 0..2147483647, got '4'"),
    ({"n_vertices": "[4]"}, "field 'n_vertices': expected bool | int | float | str | null, got ar"),
    (
        {"n_vertices": "1000000000"},
        "'n_vertices': expected at most 273, the bytes of the file, got",
    ),
    ({"param_length": "1" * 5000}, "field 'param_length': "),
    ({"weight_mode": '"log"'}, "field 'weight_mode': expected 'linear', got 'log'"),
    ({"weight_mode": '"callback"'}, "field 'weight_mode': expected 'linear', got 'callback'"),
    ({"weight_mode": "1"}, "field 'weight_mode': expected 'linear', got 1"),
    ({"dyn_ordering": '"yes"'}, "field 'dyn_ordering': expected False or True, got 'yes'"),
    ({"vertex_indices": "[0, 1, 3, 2]"}, "field 'vertex_indices', row 2: expected 2, got 3"),
    ({"vertex_indices": "[0, true]"}, "field 'vertex_indices', row 1: expected float, got bool"),
    ({"names": "[]"}, "missing: []; unknown: ['names']"),
    ({"rewards": "[]"}, "field 'rewards': expected object, got array"),
    ({"rewards": '{"r": [0, 0, 0, "1"]}'}, "field 'rewards.r', row 3: expected float, got str"),
    ({"rewards": '{"r": [0, 0, 0]}'}, "field 'rewards.r': expected shape (4, 1), got (3, 1)"),
    ({"parameter_names": '["a", 2]'}, "field 'parameter_names', row 1: expected str, got int"),
    ({"state_names": '["a"]'}, "field 'state_names': expected 2 names or none, got 1: a"),
    ({"state_names": '["a", "b\\""]'}, "field 'state_names': entry 1: expected a letter or _"),
]


@pytest.mark.parametrize(("replaced", "problem"), WRONG_JSON)
def test_fields_in_json_are_refused_by_name_and_place(
    replaced: dict[str, str], problem: str, write: Callable[[str], Path]
) -> None:
    error = refused(write(text_with(**replaced)))
    assert type(error) is GraphError
    assert problem in error.problem


@pytest.mark.parametrize("name", list(FIELDS))
def test_a_field_missing_in_json_is_named(name: str, write: Callable[[str], Path]) -> None:
    fields = with_fields()
    del fields[name]
    assert f"missing: ['{name}']; unknown: []" in refused(write(json.dumps(fields))).problem


def test_an_edge_to_no_vertex_in_json_is_a_runtime_error(write: Callable[[str], Path]) -> None:
    error = refused(write(text_with(edges="[[1, 2, 1.0], [1, 4, 1.0]]")))
    assert type(error) is GraphIndexError
    assert isinstance(error, RuntimeError)
    assert "field 'edges[:, 1]', row 1: expected a vertex in 0..3, got 4" in error.problem
    assert error.context["n_vertices"] == 4


def test_whole_floats_are_indices_and_states(write: Callable[[str], Path]) -> None:
    path = write(text_with(states="[[0.0, 0], [2e0, 0], [1, 10e-1], [-0.0, 0]]"))
    assert load_graph(path).equals(PhaseTypeGraph.from_serialized(FIELDS))


@pytest.mark.parametrize(
    ("doubled", "name"),
    [
        ('"edges": [[1, 2, 5.0]], ', "edges"),
        ('"edges": "text", ', "edges"),
        ('"edges": {"edges": []}, ', "edges"),
        (r'"e\u0064ges": [], ', "edges"),
        ('"weight_mode": "linear", "weight_mode" : "linear", ', "weight_mode"),
        ('"n_vertices": 5, ', "n_vertices"),
        ('"rewards": {"r": [0, 0, 0, 1], "q": [0, 0, 0, 0], "r": [0, 0, 0, 0]}, ', "r"),
        ('"state_names": ["a", "b"], "edges": [], ', "edges"),
    ],
)
def test_a_field_given_twice_is_refused_by_name(
    doubled: str, name: str, write: Callable[[str], Path]
) -> None:
    error = refused(write("{" + doubled + text_with()[1:]))
    assert type(error) is GraphError
    assert error.problem == f"expected each field once, got more than once: {name}"


def test_an_escaped_name_is_the_name(write: Callable[[str], Path]) -> None:
    path = write(text_with().replace('"edges"', r'"e\u0064ges"'))
    assert load_graph(path).equals(PhaseTypeGraph.from_serialized(FIELDS))


def strictly(text: bytes) -> PhaseTypeGraph:
    """Slow reading with the standard library, as strict as the real one should be."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({name for name, _ in pairs}) < len(pairs):
            raise ValueError("a field is given twice")
        return dict(pairs)

    def constant(name: str) -> float:
        raise ValueError(f"{name} is not JSON")

    fields = json.loads(text.decode(), object_pairs_hook=once, parse_constant=constant)
    return PhaseTypeGraph.from_serialized(fields)


def mutations(text: bytes, alphabet: bytes, n: int) -> Iterator[bytes]:
    """Texts with one byte changed, removed, doubled or a stretch cut out."""
    rng = np.random.default_rng(20250101)
    for _ in range(n):
        at, kind = int(rng.integers(len(text))), int(rng.integers(4))
        byte = bytes([alphabet[int(rng.integers(len(alphabet)))]])
        end = at + int(rng.integers(1, 9))
        yield (
            text[:at] + byte + text[at + 1 :],
            text[:at] + byte + text[at:],
            text[:at] + text[end:],
            text[:end] + text[at:],
        )[kind]


def test_damaged_json_is_refused_or_read_as_what_it_says(write: Callable[[bytes], Path]) -> None:
    whole = text_with(weight_mode='"linear"', vertex_indices="[0, 1, 2, 3]").encode()
    n_read = n_refused = 0
    for text in mutations(whole, b'0123456789.-+eE,:[]{}" \ntaN\\u\xff\x00', 4000):
        try:
            expected = strictly(text)
        except (ValueError, GraphError, RecursionError):
            expected = None
        path = write(text)
        if expected is None:
            refused(path)
            n_refused += 1
        else:
            assert load_graph(path).equals(expected)
            n_read += 1
    assert n_read > 100
    assert n_refused > 1000


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """Fields of the right shape, more or less, with any numbers in them."""
    n, d, p = draw(st.integers(0, 5)), draw(st.integers(0, 2)), draw(st.integers(0, 2))
    rates = st.floats(allow_nan=False, allow_infinity=False)
    weights = st.floats(0, 1) | rates
    odd = st.sampled_from([None, True, "1", [], 2**31, -(2**31), 2**63, 10**400, 0.5, -0.0])
    ends = st.integers(1, max(n - 1, 1)) | st.integers(-1, n + 1)

    def table(*columns: st.SearchStrategy[Any]) -> st.SearchStrategy[list[list[Any]]]:
        return st.lists(st.tuples(*columns).map(list), max_size=4)

    fields: dict[str, Any] = {
        "n_vertices": n,
        "state_length": d,
        "param_length": p,
        "states": draw(st.lists(st.just([1] * d), min_size=n, max_size=n)),
        "edges": draw(table(ends, ends, weights)),
        "start_edges": draw(table(ends, weights)),
        "param_edges": draw(table(ends, ends, *[rates] * p)),
        "start_param_edges": draw(table(ends, *[rates] * p)),
    }
    if draw(st.booleans()):
        name = draw(st.sampled_from(sorted(fields)))
        value = fields[name]
        if isinstance(value, list) and value and value[0]:
            value[0][-1] = draw(odd)
        else:
            fields[name] = draw(odd)
    return fields


@given(documents())
@settings(max_examples=500, deadline=None)
def test_a_document_of_the_right_shape_is_refused_or_read_as_what_it_says(
    fields: dict[str, Any],
) -> None:
    text = json.dumps(fields).encode()
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "graph.json"
        path.write_bytes(text)
        try:
            graph = load_graph(path)
        except GraphError:
            return
    assert [*checks.graph_faults(graph), *checks.document_faults(text, graph)] == []


# --- HDF5 ----------------------------------------------------------------------------------------


def test_damaged_hdf5_is_always_refused(tmp_path: Path, graph: PhaseTypeGraph) -> None:
    path = tmp_path / "graph.h5"
    save_graph(graph, path)
    whole = path.read_bytes()
    rng = np.random.default_rng(5)
    header = list(range(400))
    for at in header + rng.integers(400, len(whole), size=400).tolist():
        damaged = bytearray(whole)
        damaged[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        # Without its first bytes it is no file of ours, nor anything else that is known.
        assert isinstance(refused(path), GraphError if at < 10 else StoreError)
    for text in mutations(whole, bytes(range(256)), 200):
        if text != whole:
            path.write_bytes(text)
            refused(path)
    for size in [*range(0, 600, 7), len(whole) - 1]:
        path.write_bytes(whole[:size])
        refused(path)
    path.write_bytes(whole + b"\x00")
    assert type(refused(path)) is DamagedFileError


def write_own(path: Path, datasets: dict[str, Any], **changed: Any) -> Path:
    """A file with good digests, of whatever content."""
    counts = {"n_vertices": 4, "n_edges": 4, "n_parameters": 2, "state_length": 2}
    facts = {"filetype": FILETYPE, "version": VERSION, "summary": counts, **changed}
    hdf5.encode(
        facts["filetype"],
        facts["version"],
        datasets=datasets,
        attributes={},
        summary=facts["summary"],
    ).write(path)
    return path


def test_a_file_of_another_kind_or_version_is_refused(
    graph: PhaseTypeGraph, tmp_path: Path
) -> None:
    path, columns = tmp_path / "graph.h5", columns_of(graph)
    assert load_graph(write_own(path, columns)).equals(graph)
    assert load_graph(write_own(path, columns, version=(1, 7))).equals(graph)
    error = refused(write_own(path, columns, filetype="phasic_mpi.trace"))
    assert "expected a file of type phasic_mpi.graph, got phasic_mpi.trace" in error.problem
    error = refused(write_own(path, columns, version=(2, 0)))
    assert "expected layout version 1, got 2" in error.problem


def test_columns_that_are_not_a_graph_are_refused_although_the_digest_is_right(
    graph: PhaseTypeGraph, tmp_path: Path
) -> None:
    path = tmp_path / "graph.h5"
    changed = columns_of(graph, param_target=np.array([2, 4, 3], dtype=np.int32))
    error = refused(write_own(path, changed))
    assert type(error) is GraphIndexError
    assert "field 'param_target', row 1: expected a vertex in 0..3, got 4" in error.problem
    changed = columns_of(graph, edge_weight=graph.edge_weight.astype(np.float32))
    assert "'edge_weight': expected float64" in refused(write_own(path, changed)).problem
    changed = columns_of(graph, edge_weight=np.array([np.nan]))
    assert "'edge_weight', row 0: expected a finite" in refused(write_own(path, changed)).problem
    changed = columns_of(graph, more=np.zeros(3))
    assert "expected the datasets" in refused(write_own(path, changed)).problem
    changed = columns_of(graph)
    del changed["edge_weight"]
    assert "expected the datasets" in refused(write_own(path, changed)).problem


def test_a_header_that_contradicts_the_columns_is_refused(
    graph: PhaseTypeGraph, tmp_path: Path
) -> None:
    counts = {"n_edges": 5, "n_parameters": 2, "n_vertices": 4, "state_length": 2}
    error = refused(write_own(tmp_path / "graph.h5", columns_of(graph), summary=counts))
    assert type(error) is DamagedFileError
    assert f"expected columns of the sizes {counts}, got " in error.problem


def test_a_file_of_version_1_0_has_no_names_and_no_rewards(
    graph: PhaseTypeGraph, tmp_path: Path
) -> None:
    columns = columns_of(graph)
    old = {name: columns[name] for name in COLUMNS if name not in (*NAME_COLUMNS, "rewards")}
    path = tmp_path / "graph.h5"
    assert load_graph(write_own(path, old, version=(1, 0))).equals(graph)
    assert "expected the datasets" in refused(write_own(path, old)).problem
    assert "expected the datasets" in refused(write_own(path, columns, version=(1, 0))).problem


def test_names_that_are_no_names_are_refused_although_the_digest_is_right(tmp_path: Path) -> None:
    graph = PhaseTypeGraph.from_serialized(with_fields(**NAMES))
    path = tmp_path / "graph.h5"
    assert load_graph(write_own(path, columns_of(graph))).equals(graph)
    for changed, problem in (
        ({"parameter_names": encode_names(("a", "b c"))}, "'parameter_names': entry 1: expected a"),
        ({"state_names": np.arange(2)}, "expected byte strings in one dimension, got int64"),
        ({"reward_names": encode_names(("a",))}, "'rewards': expected float64 of shape (1, 4)"),
        ({"rewards": np.full((2, 4), np.inf)}, "'rewards.length': expected finite numbers, got i"),
    ):
        assert problem in refused(write_own(path, columns_of(graph, **changed))).problem


# --- HDF5 of others ------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"chunks": True, "compression": "gzip", "shuffle": True}])
@pytest.mark.parametrize("types", [(np.int64, ">f8"), (np.float64, np.float64), ("u2", "f4")])
def test_a_plain_hdf5_file_is_a_graph(
    types: tuple[Any, Any], options: dict[str, Any], graph: PhaseTypeGraph, tmp_path: Path
) -> None:
    kinds = {np.dtype(np.int32): types[0], np.dtype(np.float64): types[1], np.dtype("S64"): "S8"}
    columns = {name: c.astype(kinds[c.dtype]) for name, c in columns_of(graph).items()}
    path = write_foreign(tmp_path / "mine.h5", {**columns, "comment": np.zeros(3)}, **options)
    assert load_graph(path).equals(graph)


def test_names_and_rewards_of_others_are_read_if_they_are_there(tmp_path: Path) -> None:
    graph = PhaseTypeGraph.from_serialized(with_fields(**NAMES))
    columns = columns_of(graph, rewards=graph.rewards.astype(np.float32))
    columns["state_names"] = np.array(graph.state_names, dtype="S")
    assert load_graph(write_foreign(tmp_path / "all.h5", columns)).equals(graph)
    for name in (*NAME_COLUMNS, "rewards"):
        del columns[name]
    bare = PhaseTypeGraph.from_serialized(FIELDS)
    assert load_graph(write_foreign(tmp_path / "bare.h5", columns)).equals(bare)


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"reward_names": np.array(["a"], dtype="S")}, "got 2 rows and the reward_names a"),
        ({"reward_names": np.array(["a", "a"], dtype="S")}, "got 2 rows and the reward_names a, a"),
        ({"state_names": np.array([1, 2])}, "expected a dataset of byte strings of one length"),
    ],
)
def test_names_of_others_are_checked(changed: dict[str, Any], problem: str, tmp_path: Path) -> None:
    columns = columns_of(PhaseTypeGraph.from_serialized(with_fields(**NAMES)), **changed)
    assert problem in refused(write_foreign(tmp_path / "mine.h5", columns)).problem


def test_missing_datasets_are_named(graph: PhaseTypeGraph, tmp_path: Path) -> None:
    columns = columns_of(graph)
    del columns["start_weight"], columns["states"]
    error = refused(write_foreign(tmp_path / "mine.h5", columns))
    assert type(error) is GraphError
    assert error.problem.endswith("missing: states, start_weight")


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"edge_target": np.array([2.5])}, "'edge_target', row 0: expected 32-bit integers, got 2"),
        ({"edge_target": np.array([9])}, "'edge_target', row 0: expected a vertex in 0..3, got 9"),
        ({"edge_target": np.array([1, 2])}, "field 'edge_target': expected int32 of 1 dimensions"),
        ({"edge_weight": np.array([np.inf])}, "field 'edge_weight', row 0: expected a finite numb"),
        ({"states": np.zeros(4)}, "field 'states': expected int32 of 2 dimensions"),
        ({"param_coefficient": np.ones((3, 1))}, "'start_param_coefficient': expected float64 of"),
    ],
)
def test_columns_of_others_are_checked(
    changed: dict[str, Any], problem: str, graph: PhaseTypeGraph, tmp_path: Path
) -> None:
    error = refused(write_foreign(tmp_path / "mine.h5", columns_of(graph, **changed)))
    assert isinstance(error, GraphError)
    assert problem in error.problem


def test_datasets_of_text_and_links_are_refused(graph: PhaseTypeGraph, tmp_path: Path) -> None:
    path = tmp_path / "mine.h5"
    write_foreign(path, columns_of(graph, edge_weight=np.array([b"0.25"])))
    assert "'edge_weight': expected a dataset of numbers" in refused(path).problem
    write_foreign(tmp_path / "other.h5", columns_of(graph))
    for link in (h5py.ExternalLink("other.h5", "/states"), h5py.SoftLink("/edge_weight")):
        write_foreign(path, columns_of(graph))
        with h5py.File(path, "a") as file:
            del file["states"]
            file["states"] = link
        assert "'states': expected a dataset in this file, got a link" in refused(path).problem


def test_a_small_file_that_declares_much_is_refused(graph: PhaseTypeGraph, tmp_path: Path) -> None:
    path = write_foreign(tmp_path / "mine.h5", columns_of(graph))
    with h5py.File(path, "a") as file:
        del file["states"]
        file.create_dataset("states", shape=(1 << 40, 32), dtype="i4", chunks=(1024, 32))
    assert path.stat().st_size < 30_000
    error = refused(path)
    assert isinstance(error, StoreError)
    assert f"it declares {1 << 47}" in error.problem


def test_a_truncated_file_of_others_is_refused(graph: PhaseTypeGraph, tmp_path: Path) -> None:
    path = write_foreign(tmp_path / "mine.h5", columns_of(graph))
    path.write_bytes(path.read_bytes()[:-200])
    assert "HDF5 cannot read it" in refused(path).problem
