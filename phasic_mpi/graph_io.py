"""Graph files: JSON in phasic's schema, or the same graph as HDF5 columns.

HDF5 is the form for large graphs. A file that phasic_mpi wrote has a digest over every byte; an
HDF5 file of anybody else is read too, if its datasets have the names of the columns. Both are
opened in a process of their own, because a stranger can make a digest too.
"""

from __future__ import annotations

import re
import stat
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any, NoReturn

import msgspec
import numpy as np
import orjson
from numpy.typing import NDArray

from phasic_mpi import files, hdf5, user_hdf5
from phasic_mpi.datasets import NUMBERS, TEXTS
from phasic_mpi.errors import ConfigError, DamagedFileError, GraphError, StoreError
from phasic_mpi.graph import PhaseTypeGraph
from phasic_mpi.names import decode_names, encode_names, listed

FILETYPE = "phasic_mpi.graph"
VERSION = (1, 1)

# Text takes up to eight times its size in memory while it is parsed.
BYTE_LIMIT = 8 << 30

# Datasets of names, and all that came with version 1.1: they may be left out of foreign files.
_NAMES = ("parameter_names", "state_names", "reward_names")
_NAMED = (*_NAMES, "rewards")
COLUMNS = tuple(entry.name for entry in fields(PhaseTypeGraph))
_REQUIRED = tuple(name for name in COLUMNS if name not in _NAMED)
_COUNTS = ("n_vertices", "state_length", "param_length")
_HDF5_SUFFIXES = (".h5", ".hdf5")

_DOCUMENT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_SCALAR = msgspec.json.Decoder(int | float | bool | str | None)
# Whole floats are legal indices, because phasic's arrays hold indices and weights in one row.
_ROWS = msgspec.json.Decoder(list[tuple[float, ...]])
_ROW = msgspec.json.Decoder(list[float])
_TEXTS = msgspec.json.Decoder(list[str])
_DECODERS: dict[str, msgspec.json.Decoder[Any]] = {
    "states": _ROWS,
    "edges": _ROWS,
    "constant_edges": _ROWS,
    "param_edges": _ROWS,
    "start_edges": _ROWS,
    "start_param_edges": _ROWS,
    "vertex_indices": _ROW,
    "parameter_names": _TEXTS,
    "state_names": _TEXTS,
}

_BYTE = re.compile(r" \(byte (\d+)\)")
_PLACE = re.compile(r" - at `\$(?:\[(\d+)\])?(?:\[(\d+)\])?`$")
_NAME = re.compile(rb'("(?:[^"\\]|\\.)*")\s*:')


def load_graph(path: Path | str, *, byte_limit: int | None = None) -> PhaseTypeGraph:
    """Reads a graph file; what it is shows in its first bytes, whatever its name.

    Args:
        path: HDF5 written by :func:`save_graph`, HDF5 with one dataset per column, or JSON.
        byte_limit: Bytes that the file, and the arrays of a foreign HDF5 file, may take;
            :data:`BYTE_LIMIT` if not given.

    Raises:
        GraphError: The content is not a graph; the message names field, row and value.
        GraphIndexError: An edge refers to a vertex the graph does not have.
        StoreError: An HDF5 file that is damaged, of another kind or version, or unsafe to read.
        ConfigError: The file cannot be read, or is larger than the limit.
    """
    path = Path(path)
    limit = BYTE_LIMIT if byte_limit is None else byte_limit
    with _context(path, "read"):
        _require_size(path, limit)
        if hdf5.has_header(path):
            return _load_own(path)
        if _has_hdf5_signature(path):
            return _load_foreign(path, limit)
        return _load_json(path)


def save_graph(graph: PhaseTypeGraph, path: Path | str) -> int:
    """Writes a graph file, whole or not at all, and returns its size in bytes.

    Args:
        graph: The graph.
        path: A name that ends in ``.json``, or in ``.h5`` or ``.hdf5``.

    Raises:
        ConfigError: Another suffix, or the file cannot be written.
    """
    path = Path(path)
    require_graph_name(path)
    if path.suffix == ".json":
        text = orjson.dumps(graph.serialize(), option=orjson.OPT_SERIALIZE_NUMPY)
        with _context(path, "written"):
            files.write_atomically(path, text, mode=0o666)
        return len(text)
    image = hdf5.encode(
        FILETYPE, VERSION, datasets=columns(graph), attributes={}, summary=summary(graph)
    )
    with _context(path, "written"):
        return image.write(path, mode=0o666)


def columns(graph: PhaseTypeGraph) -> dict[str, NDArray[Any]]:
    """The datasets of a graph's HDF5 file, those of :data:`COLUMNS`."""
    arrays = {name: getattr(graph, name) for name in COLUMNS}
    return arrays | {name: encode_names(arrays[name]) for name in _NAMES}


def graph_from_columns(arrays: Mapping[str, NDArray[Any]]) -> PhaseTypeGraph:
    """The graph of what :func:`columns` gave, from a file whose digest has been checked."""
    names = {name: decode_names(arrays.get(name)) for name in _NAMES}
    values: dict[str, Any] = {**arrays, **names}
    return PhaseTypeGraph(**values)


def require_graph_name(path: Path) -> None:
    """Refuses a name that does not say which kind of graph file it is to be.

    Raises:
        ConfigError: It has another suffix than :func:`save_graph` knows.
    """
    if path.suffix not in (".json", *_HDF5_SUFFIXES):
        raise ConfigError(
            f"{path} cannot be written",
            problem=f"expected a name that ends in .json or in .h5 or .hdf5, got {path.suffix!r}",
            context={"path": path},
            resolution="choose one: JSON is for exchange with phasic, HDF5 for large graphs",
        )


def summary(graph: PhaseTypeGraph) -> dict[str, int]:
    """Sizes of a graph, which its HDF5 file states before the arrays."""
    return {
        "n_vertices": graph.n_vertices,
        "n_edges": graph.n_edges,
        "n_parameters": graph.n_parameters,
        "state_length": graph.state_length,
    }


@contextmanager
def graph_of(path: Path) -> Iterator[None]:
    """Adds the path to what is wrong with a graph that a file describes."""
    try:
        yield
    except GraphError as exc:
        raise type(exc)(
            f"{path} is not a graph: {exc.what}",
            problem=exc.problem,
            context={"path": path, **exc.context},
            resolution=exc.resolution,
        ) from exc


@contextmanager
def _context(path: Path, done: str) -> Iterator[None]:
    """Adds the path to what goes wrong."""
    try:
        with graph_of(path):
            yield
    except OSError as exc:
        if isinstance(exc, StoreError):
            raise
        raise ConfigError(
            f"{path} cannot be {done}",
            problem=f"expected a file that can be {done}, got: {exc.strerror or exc}",
            context={"path": path},
            resolution="correct the path or its permissions",
        ) from exc


def _require_size(path: Path, limit: int) -> None:
    facts = path.stat()
    if not stat.S_ISREG(facts.st_mode) or facts.st_size > limit:
        found = f"{facts.st_size} bytes" if stat.S_ISREG(facts.st_mode) else "no regular file"
        raise ConfigError(
            f"{path} cannot be read",
            problem=f"expected a regular file of at most {limit} bytes, got {found}",
            context={"path": path},
            resolution="raise byte_limit if you trust the file and have several times its size in "
            "memory; HDF5 takes the least",
        )


def _has_hdf5_signature(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(hdf5.SIGNATURE)) == hdf5.SIGNATURE


def _load_own(path: Path) -> PhaseTypeGraph:
    since = {name: int(name in _NAMED) for name in COLUMNS}
    arrays, header = user_hdf5.read_own(path, filetype=FILETYPE, version=VERSION, names=since)
    arrays.setdefault("rewards", np.zeros((0, len(arrays["states"]))))
    graph = graph_from_columns(arrays)
    if header.summary != summary(graph):
        raise DamagedFileError(
            f"{path} is damaged",
            problem=f"expected columns of the sizes {header.summary}, got {summary(graph)}",
            context={"path": path},
            resolution="write the graph again",
        )
    return graph


def _load_foreign(path: Path, limit: int) -> PhaseTypeGraph:
    wanted = dict.fromkeys((*_REQUIRED, "rewards"), NUMBERS) | dict.fromkeys(_NAMES, TEXTS)
    arrays = user_hdf5.read(path, wanted, byte_limit=limit)
    missing = [name for name in _REQUIRED if name not in arrays]
    if missing:
        raise GraphError(
            "Columns are missing",
            problem=f"expected the datasets {', '.join(_REQUIRED)}; missing: {', '.join(missing)}",
            resolution="write every column into the root group, empty ones with a shape of 0 rows",
        )
    names = {name: decode_names(arrays.pop(name, None)) for name in _NAMES}
    rewards = _named_rewards(names.pop("reward_names"), arrays.pop("rewards", ()))
    n_vertices = len(arrays["states"])
    values: dict[str, Any] = {**arrays, **names, "rewards": rewards}
    return PhaseTypeGraph.from_arrays(n_vertices=n_vertices, **values)


def _named_rewards(names: tuple[str, ...], rows: Sequence[Any] | NDArray[Any]) -> dict[str, Any]:
    if len(names) != len(rows) or len(set(names)) < len(names):
        raise GraphError(
            "Rewards do not fit their names",
            problem=f"expected a different name for each row of 'rewards', got {len(rows)} rows "
            f"and the reward_names {listed(names) or 'none'}",
            resolution="write as many reward_names as 'rewards' has rows, or neither dataset",
        )
    return dict(zip(names, rows, strict=True))


def _load_json(path: Path) -> PhaseTypeGraph:
    document = _Document(path.read_bytes())
    graph = PhaseTypeGraph.from_serialized(document)
    document.require_unique_names(graph)
    return graph


class _Document(Mapping[str, Any]):
    """A JSON object whose fields are parsed when they are asked for, one at a time.

    So only one field is held as Python objects, and each has its own strict type.
    """

    def __init__(self, text: bytes) -> None:
        self._text = text
        try:
            self._raw = _DOCUMENT.decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            _refuse_text(exc, text)

    def __len__(self) -> int:
        return len(self._raw)

    def __iter__(self) -> Iterator[str]:
        return iter(self._raw)

    def __contains__(self, name: object) -> bool:
        return name in self._raw

    def __getitem__(self, name: str) -> Any:
        raw = self._raw[name]
        if name == "rewards":
            rows = _decoded(name, raw, _DOCUMENT)
            return {key: _decoded(f"rewards.{key:.60}", row, _ROW) for key, row in rows.items()}
        value = _decoded(name, raw, _DECODERS.get(name, _SCALAR))
        if name in _COUNTS and isinstance(value, int) and value > len(self._text):
            raise GraphError(
                "JSON is not a graph",
                problem=f"field '{name}': expected at most {len(self._text)}, the bytes of the "
                f"file, got {value}",
                resolution="correct the count: every vertex and every column takes some bytes",
            )
        return value

    def require_unique_names(self, graph: PhaseTypeGraph) -> None:
        """A parser keeps the last of two fields of one name, silently.

        The only strings of a valid graph are the names of its fields, the value of
        ``weight_mode``, and the names of parameters, of integers of a state and of rewards, so the
        number of quotes shows a second field of a name.
        """
        n_strings = len(self._raw) + ("weight_mode" in self._raw)
        n_strings += len(graph.parameter_names) + len(graph.state_names) + len(graph.reward_names)
        if self._text.count(b'"') == 2 * n_strings:
            return
        names = Counter(map(msgspec.json.decode, _NAME.findall(self._text)))
        raise GraphError(
            "JSON is not a graph",
            problem="expected each field once, got more than once: "
            f"{', '.join(sorted(name for name, n in names.items() if n > 1))}",
            resolution="remove the field that is not meant",
        )


def _decoded(name: str, raw: msgspec.Raw, decoder: msgspec.json.Decoder[Any]) -> Any:
    try:
        return decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        _refuse_field(exc, name)


def _refuse_text(exc: Exception, text: bytes) -> NoReturn:
    problem = str(exc)
    found = _BYTE.search(problem)
    place = "the text as a whole"
    if found or "truncated" in problem:
        position = int(found.group(1)) if found else len(text)
        position -= "trailing" in problem  # msgspec names the byte after it
        line = text.count(b"\n", 0, position) + 1
        place = f"byte {position}, line {line}"
    raise GraphError(
        "JSON is malformed",
        problem=f"expected a JSON object with the fields of a graph; {place}: "
        f"{_BYTE.sub('', problem)}",
        context={"bytes": len(text)},
        resolution="correct the text there; NaN, Infinity and comments are not JSON",
    ) from exc


def _refuse_field(exc: Exception, name: str) -> NoReturn:
    found = _PLACE.search(str(exc))
    row, column = found.groups() if found else (None, None)
    problem = _PLACE.sub("", str(exc)).replace("`", "")
    place = f"field '{name}'"
    place += "" if row is None else f", row {row}"
    place += "" if column is None else f", column {column}"
    raise GraphError(
        "JSON is not a graph",
        problem=f"{place}: {problem[:1].lower()}{problem[1:]}",
        resolution="write it as Graph.serialize() does; docs/file_formats.md describes each field",
    ) from exc
