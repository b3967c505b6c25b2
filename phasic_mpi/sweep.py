"""Solves with a trace, a window of blocks after another, so that only its factor is ever held.

An edge between blocks leads to a later one. So the solution at the last blocks needs nothing else,
and all right-hand sides of a theta can pass a window before the next one is made ready.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from phasic_mpi import _core
from phasic_mpi.errors import EvaluationError
from phasic_mpi.factoring import Weights
from phasic_mpi.trace import EliminationTrace

# Entries of L and U that a window has unless one block has more: 70 to 110 MB of factors.
WINDOW_ENTRIES = 1 << 23

# Weights and solutions of the theta that pass the windows together, unless one theta takes more.
PASS_BYTES = 1 << 28

_NONE = -1


class Point(NamedTuple):
    """One theta.

    Attributes:
        row: Its number.
        theta: ``float64[n_parameters]``.
        weight: The weights of the trace there.
    """

    row: int
    theta: NDArray[np.float64]
    weight: NDArray[np.float64]


# Called with the index of a theta, the positions of a window and its factor at that theta.
Use = Callable[[int, slice, _core.Factor], None]


class Sweep:
    """A trace made ready for solves at any theta.

    What has one window only is made ready at once and stays so.

    Args:
        trace: The trace.
        n_threads: Threads that analyse and factor together, at least 1; they do not show in the
            bits.

    Raises:
        GraphError: The trace is not consistent.
    """

    def __init__(self, trace: EliminationTrace, *, n_threads: int = 1) -> None:
        self._trace = trace
        self._n_threads = n_threads
        self._weights = Weights(trace)
        self._core = trace.core()
        self._workspaces = _core.Workspaces()
        self._windows = windows_of(trace)
        self._only_plan = self._made_ready(0) if len(self._windows) == 1 else None

    def point(self, theta: NDArray[np.float64], row: int) -> Point:
        """A theta with its weights.

        Raises:
            EvaluationError: An edge whose weight is negative or not finite.
        """
        return Point(row, theta, self._weights.at(theta, row))

    def passes(self, rows: NDArray[np.float64], n_solutions: int) -> Iterator[list[Point]]:
        """The rows of theta in turn, as many at a time as go through the windows together.

        Args:
            rows: ``float64[n_theta, n_parameters]``.
            n_solutions: Solutions that are held for each.

        Raises:
            EvaluationError: As :meth:`point`, once the rows before have been given out.
        """
        numbers = self._weights.slots.size + n_solutions * self._trace.n_transient
        most = max(1, PASS_BYTES // (8 * max(1, numbers)))
        points: list[Point] = []
        for row, theta in enumerate(rows):
            try:
                points.append(self.point(theta, row))
            except EvaluationError:
                if points:
                    yield points  # which may be refused themselves, and come first
                raise
            if len(points) == most:
                yield points
                points = []
        if points:
            yield points

    def each(self, points: Sequence[Point], use: Use, *, forwards: bool = False) -> list[int]:
        """Factors window after window, at all points, and lets go of each factor once it is used.

        Windows come from the last to the first, as solutions need them, or ``forwards``, as those
        of the transposed matrix do.

        Returns:
            Per point, the position of the first vertex that cannot be left, or -1; the factors from
            there on are not used.
        """
        failed = [_NONE] * len(points)
        indices = range(len(self._windows))
        for index in indices if forwards else reversed(indices):
            self._pass_window(index, points, use, failed)
        return failed

    def require_left(self, failed: int, point: Point) -> None:
        """Refuses a point at which a vertex, given by :meth:`each`, cannot be left.

        Raises:
            EvaluationError: There is one.
        """
        self._weights.require_left(failed, point.theta, point.row)

    def _pass_window(
        self, index: int, points: Sequence[Point], use: Use, failed: list[int]
    ) -> None:
        begin, end = self._windows[index]
        own = slice(*self._trace.block_ptr[[begin, end]].tolist())
        plan = self._only_plan or self._made_ready(index)
        for i, point in enumerate(points):
            found = self._pass_factor(plan, i, point, own, use)
            if found != _NONE and not 0 <= failed[i] < found:
                failed[i] = found

    def _pass_factor(
        self, plan: _core.FactorPlan, index: int, point: Point, own: slice, use: Use
    ) -> int:
        """The memory of the factor is free when this returns."""
        factor = plan.factor(point.weight, self._n_threads)
        if factor.failed == _NONE:
            use(index, own, factor)
        return factor.failed

    def _made_ready(self, index: int) -> _core.FactorPlan:
        with self._trace.refusing():
            return _core.FactorPlan(
                self._core,
                self._weights.slots,
                blocks=self._windows[index],
                workspaces=self._workspaces,
                n_threads=self._n_threads,
            )


def windows_of(trace: EliminationTrace) -> list[tuple[int, int]]:
    """First block, and last but one, of each window: from the last on, as many as fit."""
    ends = [trace.n_blocks]
    value_ptr = trace.value_ptr
    while ends[-1] > 0:
        least = value_ptr[ends[-1]] - WINDOW_ENTRIES
        ends.append(min(ends[-1] - 1, int(np.searchsorted(value_ptr, least))))
    return list(pairwise(reversed(ends)))
