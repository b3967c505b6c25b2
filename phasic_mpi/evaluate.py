"""Replays a trace at given parameters through the compiled core."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from phasic_mpi import _core
from phasic_mpi.errors import EvaluationError
from phasic_mpi.factoring import linear, sums_by_index
from phasic_mpi.graph import MASS_TOLERANCE
from phasic_mpi.sweep import Sweep
from phasic_mpi.theta import ThetaLike, describe_theta, theta_rows
from phasic_mpi.trace import EliminationTrace

# A name of a reward that is kept with the trace, or ``float64[n_vertices]``.
RewardsLike = str | ArrayLike


def require_moments(n_moments: int) -> None:
    """Refuses a highest moment below 1.

    Raises:
        EvaluationError: It is.
    """
    if n_moments < 1:
        raise EvaluationError(
            "Moments cannot be computed",
            problem=f"expected n_moments of at least 1, got {n_moments}",
            resolution="ask for moments 1 to n_moments",
        )


def require_reward_per_vertex(shape: tuple[int, ...], n_vertices: int) -> None:
    """Refuses rewards of a shape other than ``(n_vertices,)``.

    Raises:
        EvaluationError: They have another.
    """
    if shape != (n_vertices,):
        raise EvaluationError(
            "Rewards do not fit the graph",
            problem=f"expected shape ({n_vertices},), got {shape}",
            context={"n_vertices": n_vertices},
            resolution="give one reward for each vertex, the starting and the absorbing ones "
            "included (theirs are not used)",
        )


def require_rewards(rewards: NDArray[np.float64], n_vertices: int) -> None:
    """Refuses rewards that are not one finite number per vertex.

    Raises:
        EvaluationError: They are not.
    """
    require_reward_per_vertex(rewards.shape, n_vertices)
    if not np.isfinite(rewards).all():
        vertex = int(np.argmin(np.isfinite(rewards)))
        raise EvaluationError(
            "Rewards do not fit the graph",
            problem=f"expected finite rewards, got {rewards[vertex]} at vertex {vertex}",
            resolution="give finite rewards",
        )


def legal_starts(trace: EliminationTrace, theta: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which rows of ``theta`` make the start a probability distribution; ``bool[n_theta]``."""
    start = Start(trace.start_vertex, trace.start_constant, trace.start_coefficient)
    legal: NDArray[np.bool_] = is_distribution(start.mass(theta))
    return legal


class Start(NamedTuple):
    """Initial probabilities of a trace or graph; constant ones come first.

    Attributes:
        vertex: ``int32[n_start]``.
        constant: ``float64[n_start_constant]``.
        coefficient: ``float64[n_start - n_start_constant, n_parameters]``.
    """

    vertex: NDArray[np.int32]
    constant: NDArray[np.float64]
    coefficient: NDArray[np.float64]

    def mass(self, theta: NDArray[np.float64]) -> NDArray[np.float64]:
        """The probabilities at ``theta[..., n_parameters]``, along the last axis."""
        varying = linear(self.coefficient, theta)
        constant = np.broadcast_to(self.constant, (*theta.shape[:-1], self.constant.size))
        return np.concatenate([constant, varying], axis=-1)

    def by_position(
        self,
        position: NDArray[np.int32],
        theta: NDArray[np.float64],
        place: Mapping[str, object],
    ) -> NDArray[np.float64]:
        """The distribution over transient vertices, ``float64[n_transient]``.

        Args:
            position: ``int32[n_vertices]``, -1 for vertices that are not transient.
            theta: ``float64[n_parameters]``.
            place: Where it comes from, for the error.

        Raises:
            EvaluationError: These are no probabilities.
        """
        mass = self.mass(theta)
        if not is_distribution(mass):
            raise EvaluationError(
                "Trace cannot be evaluated",
                problem="expected initial probabilities of at least 0 with a sum of at most 1, got "
                f"a smallest of {mass.min()} and a sum of {mass.sum()}",
                context=place,
                resolution="use parameters at which the start is a probability distribution",
            )
        started = position[self.vertex]
        transient = started >= 0
        n_transient = int(np.count_nonzero(position >= 0))
        return sums_by_index(started[transient], mass[transient], n_transient)


@dataclass(frozen=True, eq=False)
class _Powers:
    """Carries the solutions of all powers of several theta through a window.

    Attributes:
        solution: ``float64[n_theta, n_moments, n_transient]``; what lies behind the window is done.
        reward: ``float64[n_transient]``.
    """

    solution: NDArray[np.float64]
    reward: NDArray[np.float64]

    def __call__(self, index: int, own: slice, factor: _core.Factor) -> None:
        before: float | NDArray[np.float64] = 1.0
        for power, x in enumerate(self.solution[index], start=1):
            # The factorial goes in step by step, so that no intermediate is k! too small.
            x[own] = power * (self.reward[own] * before)
            factor.solve(x)
            before = x[own]


class Replay:
    """A trace made ready for evaluation: its pattern is checked once and shared by all theta.

    Args:
        trace: The trace to replay.
        n_threads: Threads that factor large traces, at least 1; they do not show in the bits.
    """

    def __init__(self, trace: EliminationTrace, *, n_threads: int = 1) -> None:
        self.trace = trace
        self._sweep = Sweep(trace, n_threads=n_threads)

    def rows(self, theta: ThetaLike) -> NDArray[np.float64]:
        """Theta as rows, ``float64[n_theta, n_parameters]``; see :func:`theta_rows`."""
        return theta_rows(theta, self.trace.n_parameters, self.trace.parameter_names)

    def moments(
        self, theta: ThetaLike, n_moments: int, rewards: RewardsLike | None = None
    ) -> NDArray[np.float64]:
        """Raw moments of the reward accumulated until absorption.

        ``E[Y^k] = k! alpha (M^-1 R)^k 1`` (van Loan 1978; Bladt and Nielsen 2017, section 8).

        Args:
            theta: ``float64[n_theta, n_parameters]``, or one row of it; a row may also be a mapping
                of the names of the parameters to numbers.
            n_moments: Highest moment, at least 1.
            rewards: ``float64[n_vertices]``, reward per unit of time, or the name of one that is
                kept with the trace; 1 everywhere (the time to absorption) if not given.

        Returns:
            ``float64[n_theta, n_moments]``: row ``i``, column ``k - 1`` is the ``k``-th moment at
            ``theta[i]``.

        Raises:
            EvaluationError: Theta or rewards of a wrong shape or not finite, or names that there
                are not; an edge whose weight is negative or not finite; vertices that cannot be
                left at this theta.
        """
        require_moments(n_moments)
        rows = self.rows(theta)
        reward = self._rewards(rewards)
        found = []
        for points in self._sweep.passes(rows, n_moments):
            solution = np.empty((len(points), n_moments, self.trace.n_transient))
            failed = self._sweep.each(points, _Powers(solution, reward))
            for point, vertex, powers in zip(points, failed, solution, strict=True):
                self._sweep.require_left(vertex, point)
                alpha = self._alpha(point.theta, point.row)
                found.append([sum_of_products(alpha, power) for power in powers])
        return np.array(found).reshape(len(rows), n_moments)

    def expected_rewards(
        self, theta: ThetaLike, rewards: RewardsLike | None = None
    ) -> NDArray[np.float64]:
        """Expected reward until absorption from every vertex; ``float64[n_vertices]``.

        Zero at absorbing vertices; the starting vertex holds the mean over the initial
        distribution. Arguments and errors as in :meth:`moments`, for one theta.
        """
        (row,) = self.rows(theta)
        solution = self._rewards(rewards)
        self._solve(row, solution)
        out = np.zeros(self.trace.n_vertices)
        out[self.trace.vertex] = solution
        out[0] = sum_of_products(self._alpha(row), solution)
        return out

    def expected_visits(self, theta: ThetaLike) -> NDArray[np.float64]:
        """Expected time spent in every vertex before absorption; ``float64[n_vertices]``.

        One transposed solve: ``alpha M^-1``. Arguments and errors as in :meth:`moments`, for one
        theta.
        """
        (row,) = self.rows(theta)
        solution = self._alpha(row)
        self._solve(row, solution, transpose=True)
        out = np.zeros(self.trace.n_vertices)
        out[self.trace.vertex] = solution
        return out

    def require_legal(self, theta: ThetaLike, *, row: int) -> None:
        """Refuses a theta at which the trace cannot be evaluated.

        Args:
            theta: ``float64[n_parameters]``.
            row: Its number, for the error.

        Raises:
            EvaluationError: As :meth:`moments`.
        """
        (numbers,) = self.rows(theta)
        point = self._sweep.point(numbers, row)
        (vertex,) = self._sweep.each([point], lambda *_: None)
        self._sweep.require_left(vertex, point)
        self._alpha(numbers, row)

    def _rewards(self, rewards: RewardsLike | None) -> NDArray[np.float64]:
        """Rewards by position; a fresh array."""
        if rewards is None:
            return np.ones(self.trace.n_transient)
        if isinstance(rewards, str):
            rewards = self.trace.reward(rewards)
        try:
            array = np.asarray(rewards, dtype=np.float64)
        except (TypeError, ValueError) as exc:
            raise EvaluationError(
                "Rewards do not fit the graph",
                problem=f"expected a number for each vertex, or one name: {exc}",
                context={"n_vertices": self.trace.n_vertices},
                resolution="give numbers, or the name of a reward that is stored with the graph",
            ) from exc
        require_rewards(array, self.trace.n_vertices)
        return array[self.trace.vertex]

    def _solve(
        self, theta: NDArray[np.float64], x: NDArray[np.float64], *, transpose: bool = False
    ) -> None:
        """Replaces a right-hand side, by position, by the solution at one theta."""
        point = self._sweep.point(theta, 0)

        def use(_index: int, _own: slice, factor: _core.Factor) -> None:
            factor.solve(x, transpose=transpose)

        (vertex,) = self._sweep.each([point], use, forwards=transpose)
        self._sweep.require_left(vertex, point)

    def _place(self, theta: NDArray[np.float64], row: int) -> dict[str, object]:
        names = self.trace.parameter_names
        return {"row of theta": row, "theta": describe_theta(theta, names)}

    def _alpha(self, theta: NDArray[np.float64], row: int = 0) -> NDArray[np.float64]:
        """Initial distribution by position."""
        trace = self.trace
        start = Start(trace.start_vertex, trace.start_constant, trace.start_coefficient)
        return start.by_position(self._position, theta, self._place(theta, row))

    @cached_property
    def _position(self) -> NDArray[np.int32]:
        return self.trace.position()


def moments(
    trace: EliminationTrace, theta: ThetaLike, n_moments: int, rewards: RewardsLike | None = None
) -> NDArray[np.float64]:
    """Raw moments 1 to ``n_moments`` of a trace; see :meth:`Replay.moments`."""
    return Replay(trace).moments(theta, n_moments, rewards)


def expected_rewards(
    trace: EliminationTrace, theta: ThetaLike, rewards: RewardsLike | None = None
) -> NDArray[np.float64]:
    """Expected reward from every vertex; see :meth:`Replay.expected_rewards`."""
    return Replay(trace).expected_rewards(theta, rewards)


def expected_visits(trace: EliminationTrace, theta: ThetaLike) -> NDArray[np.float64]:
    """Expected time spent in every vertex; see :meth:`Replay.expected_visits`."""
    return Replay(trace).expected_visits(theta)


def is_distribution(mass: NDArray[np.float64]) -> Any:
    """Whether probabilities, along the last axis, are at least 0 with a sum of at most 1."""
    legal = np.isfinite(mass) & (mass >= 0)
    return legal.all(axis=-1) & (mass.sum(axis=-1) <= 1 + MASS_TOLERANCE)


def sum_of_products(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """``a @ b`` with one order of additions everywhere."""
    return float(np.sum(a * b))
