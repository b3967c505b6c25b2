"""Values of variables, which Storm writes as comments into a DRN file."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def read_valuations(
    comments: Sequence[str], n_states: int
) -> tuple[tuple[str, ...], NDArray[np.int32]]:
    """Names and values of the variables, if every state has them all; none otherwise.

    Args:
        comments: What stands behind each state, such as ``//[!up & a=0 & b=1]``. Storm writes
            nothing at all between two ``&`` for a flag that is true.
        n_states: Number of states.

    Returns:
        Names, and ``int32[n_states, n_variables]``, where false is 0 and true is 1. They are only
        comments: what cannot be read so is no error.
    """
    none: tuple[tuple[str, ...], NDArray[np.int32]] = ((), np.zeros((n_states, 0), np.int32))
    rows = [line.strip("/ ").removeprefix("[").removesuffix("]").split("&") for line in comments]
    if len(rows) != n_states or len({len(row) for row in rows}) != 1:
        return none
    columns = [_column([cell.strip() for cell in column]) for column in zip(*rows, strict=True)]
    names = tuple(name for name, _ in columns)
    if not all(names) or len(set(names)) < len(names):
        return none
    return names, np.array([values for _, values in columns], dtype=np.int32).T.copy()


def _column(cells: Sequence[str]) -> tuple[str, Sequence[int]]:
    """Name and values of a variable; an empty name if the cells are of none."""
    name, equals, _ = cells[0].partition("=")
    if equals:
        values = [cell.removeprefix(f"{name}=") for cell in cells]
        whole = all(value.removeprefix("-").isdecimal() and len(value) < 10 for value in values)
        return (name, list(map(int, values))) if whole else ("", [])
    flags = {cell.removeprefix("!") for cell in cells} - {""}
    name = next(iter(flags), "")
    return (name if len(flags) == 1 else "", [int(not cell.startswith("!")) for cell in cells])
