"""Files of theta and of rewards that users bring: CSV and other text, NPY, HDF5."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from phasic_mpi import hdf5, user_hdf5
from phasic_mpi.datasets import NUMBERS, TEXTS
from phasic_mpi.errors import EvaluationError
from phasic_mpi.evaluate import require_rewards
from phasic_mpi.names import decode_names, listed, short, theta_labels

# An HDF5 dataset states its size, which may be a lie.
_BYTE_LIMIT = 1 << 36

_HDF5_SUFFIXES = (".h5", ".hdf5")


def load_theta(
    path: Path, n_parameters: int, parameter_names: Sequence[str] = ()
) -> NDArray[np.float64]:
    """Reads rows of theta.

    By the suffix of the file: ``.npy``; ``.h5`` and ``.hdf5`` with a dataset ``theta`` and perhaps
    ``parameter_names``, such as a file of results; anything else is CSV, one row per line, behind
    at most one line of names. Names decide which column is which parameter: where the parameters
    have some they must be these, in any order, or ``theta_1``, ``theta_2``, ...; where the
    parameters have none, other names are skipped.

    Args:
        path: The file.
        n_parameters: Numbers expected in each row.
        parameter_names: Names of the parameters, if they have some.

    Returns:
        ``float64[n_theta, n_parameters]``.

    Raises:
        EvaluationError: The file holds something else; names the line or row.
        StoreError: An HDF5 file that is damaged or refused.
        OSError: The file cannot be read.
    """
    if path.suffix != ".npy" and path.suffix not in _HDF5_SUFFIXES:
        header, theta = _read_csv(path, n_parameters)
        return theta[:, _columns(path, header, parameter_names, n_parameters)]
    theta, names = _read_array(path, "theta", names="parameter_names")
    if theta.ndim != 2 or theta.shape[1] != n_parameters:
        _refuse(path, f"expected theta of shape (n_theta, {n_parameters}), got {theta.shape}")
    if not len(theta):
        _refuse(path, "expected at least one row, got none")
    finite = np.isfinite(theta).all(axis=1)
    if not finite.all():
        row = int(np.argmin(finite))
        _refuse(path, f"row {row}: expected finite numbers, got {theta[row].tolist()}")
    return theta[:, _columns(path, names, parameter_names, n_parameters)]


def load_rewards(path: Path, n_vertices: int) -> NDArray[np.float64]:
    """Reads the rewards of each vertex.

    By the suffix of the file: ``.npy``; ``.h5`` and ``.hdf5`` with a dataset ``rewards``; anything
    else is text as :func:`numpy.loadtxt` reads it, one number per vertex, or one line per reward.

    Returns:
        ``float64[n_vertices]``, or ``float64[n_rewards, n_vertices]`` for several rewards.

    Raises:
        EvaluationError: The file holds something else.
        StoreError: An HDF5 file that is damaged or refused.
        OSError: The file cannot be read.
    """
    if path.suffix == ".npy" or path.suffix in _HDF5_SUFFIXES:
        rewards, _ = _read_array(path, "rewards")
    else:
        try:
            rewards = np.loadtxt(path, ndmin=1, dtype=np.float64)
        except ValueError as exc:
            _refuse(path, f"expected one number per vertex: {exc}")
    rows = rewards if rewards.ndim == 2 else rewards[np.newaxis]
    if not len(rows):
        _refuse(path, "expected at least one reward, got none")
    for row in rows:
        require_rewards(row, n_vertices)
    return rewards


def _read_array(
    path: Path, name: str, *, names: str | None = None
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """An array, and the names in the dataset ``names``, if there is one."""
    if path.suffix == ".npy":
        try:
            array = np.load(path, allow_pickle=False)
        except (ValueError, EOFError) as exc:
            _refuse(path, f"expected an array as numpy.save writes it: {exc}")
        if array.dtype.kind not in NUMBERS:
            _refuse(path, f"expected an array of numbers, got one of {array.dtype}")
        return np.asarray(array, dtype=np.float64), ()
    if hdf5.has_header(path):
        hdf5.check(path)
    wanted = {name: NUMBERS} | ({} if names is None else {names: TEXTS})
    arrays = user_hdf5.read(path, wanted, byte_limit=_BYTE_LIMIT)
    if name not in arrays:
        _refuse(path, f"expected a dataset '{name}' in the root group, there is none")
    found = None if names is None else arrays.get(names)
    return np.asarray(arrays[name], dtype=np.float64), decode_names(found)


def _columns(
    path: Path, found: Sequence[str], parameter_names: Sequence[str], n_parameters: int
) -> list[int]:
    """Column of each parameter, by the names of the columns if there are some."""
    if not found:
        return list(range(n_parameters))
    implied = theta_labels((), n_parameters)
    for labels in (tuple(parameter_names), implied):
        if sorted(found) == sorted(labels):
            return [found.index(label) for label in labels]
    if parameter_names:
        _refuse(
            path,
            f"expected columns named {listed(parameter_names)} in any order, or "
            f"{listed(implied)}, or a file without names, got {listed([short(n) for n in found])}",
        )
    return list(range(n_parameters))


def _read_csv(path: Path, n_parameters: int) -> tuple[Sequence[str], NDArray[np.float64]]:
    """Names in the first line, if there are some, and rows."""
    names: Sequence[str] = ()
    rows: list[list[float]] = []
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file)
        try:
            for cells in reader:
                if reader.line_num == 1 and cells and _are_names(cells):
                    # numpy.savetxt marks a line of names with a '#'.
                    names = [cell.strip(" #") for cell in cells]
                elif cells:
                    rows.append(_numbers(path, reader.line_num, cells, n_parameters))
        except (csv.Error, UnicodeDecodeError) as exc:
            _refuse(path, f"line {reader.line_num + 1}: {exc}")
    if not rows:
        _refuse(path, "expected at least one row of numbers, got none")
    return names, np.array(rows, dtype=np.float64).reshape(len(rows), n_parameters)


def _are_names(cells: Sequence[str]) -> bool:
    """Whether no cell of the first line is a number."""
    for cell in cells:
        try:
            float(cell)
        except ValueError:
            continue
        return False
    return True


def _numbers(path: Path, line: int, cells: list[str], n_expected: int) -> list[float]:
    if len(cells) != n_expected:
        _refuse(
            path,
            f"line {line}: expected one number for each parameter, {n_expected} in all, "
            f"got {len(cells)}: {','.join(cells)}",
        )
    numbers = []
    for column, cell in enumerate(cells, 1):
        try:
            numbers.append(float(cell))
        except ValueError:
            _refuse(path, f"line {line}, column {column}: expected a number, got {cell!r}")
        if not math.isfinite(numbers[-1]):
            _refuse(path, f"line {line}, column {column}: expected a finite number, got {cell!r}")
    return numbers


def _refuse(path: Path, problem: str) -> NoReturn:
    raise EvaluationError(
        f"{path} cannot be used",
        problem=problem,
        context={"path": path},
        resolution="correct the file; docs/file_formats.md says what it may hold",
    )
