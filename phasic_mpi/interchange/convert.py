"""Graph files of every format that is known, told apart by the suffixes of their names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from numpy.typing import ArrayLike

from phasic_mpi.errors import ConfigError
from phasic_mpi.graph import PhaseTypeGraph
from phasic_mpi.graph_io import load_graph, save_graph
from phasic_mpi.interchange.drn import load_drn
from phasic_mpi.interchange.drn_write import save_drn
from phasic_mpi.interchange.prism import load_prism
from phasic_mpi.interchange.prism_write import save_prism
from phasic_mpi.theta import ThetaLike

_OWN = (".json", ".h5", ".hdf5")
_LOADERS: dict[str, Callable[..., PhaseTypeGraph]] = {".tra": load_prism, ".drn": load_drn}
_SAVERS: dict[str, Callable[..., object]] = {".tra": save_prism, ".drn": save_drn}


def load_any(
    path: Path | str,
    *,
    absorbing: str | None = None,
    initial_probabilities: ArrayLike | None = None,
) -> PhaseTypeGraph:
    """Reads a graph: ``.json``, ``.h5``, ``.hdf5``, ``.tra`` of PRISM or ``.drn`` of Storm.

    Args:
        path: The file.
        absorbing: Label of the states to stop at; of ``.tra`` and ``.drn`` only.
        initial_probabilities: A probability for each initial state; likewise.

    Raises:
        ConfigError: Another suffix, an option that the format does not have, or the file cannot be
            read.
        GraphError: The file does not hold a graph of its format.
        StoreError: An HDF5 file that is damaged, of another kind or version, or unsafe to read.
    """
    path = Path(path)
    _require_known(path, "read")
    if path.suffix in _OWN:
        if absorbing is not None or initial_probabilities is not None:
            raise ConfigError(
                f"{path} cannot be read",
                problem="expected no label of absorbing states and no initial probabilities, got "
                f"one of them for a {path.suffix} file, which has its own",
                context={"path": path},
                resolution="leave them out; they are for .tra and .drn files",
            )
        return load_graph(path)
    load = _LOADERS[path.suffix]
    return load(path, absorbing=absorbing, initial_probabilities=initial_probabilities)


def save_any(graph: PhaseTypeGraph, path: Path | str, *, theta: ThetaLike | None = None) -> None:
    """Writes a graph: ``.json``, ``.h5``, ``.hdf5``, ``.tra`` for PRISM or ``.drn`` for Storm.

    Args:
        graph: The graph.
        path: The file.
        theta: Where rates are evaluated; of ``.tra`` and ``.drn`` only.

    Raises:
        ConfigError: Another suffix, an option that the format does not have, or a file that cannot
            be written.
        GraphError: The format cannot hold the graph.
        EvaluationError: theta is missing or does not fit.
    """
    path = Path(path)
    _require_known(path, "written")
    if path.suffix not in _OWN:
        _SAVERS[path.suffix](graph, path, theta=theta)
        return
    if theta is not None:
        raise ConfigError(
            f"{path} cannot be written",
            problem=f"expected no theta, because a {path.suffix} file keeps parameters",
            context={"path": path},
            resolution="leave theta out; it is for .tra and .drn files",
        )
    save_graph(graph, path)


def convert(
    source: Path | str,
    target: Path | str,
    *,
    absorbing: str | None = None,
    initial_probabilities: ArrayLike | None = None,
    theta: ThetaLike | None = None,
) -> PhaseTypeGraph:
    """Reads a graph and writes it in another format; see :func:`load_any` and :func:`save_any`.

    Returns:
        The graph.
    """
    _require_known(Path(target), "written")
    graph = load_any(source, absorbing=absorbing, initial_probabilities=initial_probabilities)
    save_any(graph, target, theta=theta)
    return graph


def _require_known(path: Path, done: str) -> None:
    known = (*_OWN, *_LOADERS)
    if path.suffix not in known:
        raise ConfigError(
            f"{path} cannot be {done}",
            problem=f"expected a name that ends in {', '.join(known)}, got {path.suffix!r}",
            context={"path": path},
            resolution="name the file by its format: .json of phasic, .h5 of phasic_mpi, .tra of "
            "PRISM, .drn of Storm",
        )
