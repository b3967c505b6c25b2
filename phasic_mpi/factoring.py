"""Weights of a trace at one theta, checked, and the factorisation at these weights."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from phasic_mpi import _core
from phasic_mpi.errors import EvaluationError
from phasic_mpi.names import describe_vertex
from phasic_mpi.theta import describe_theta
from phasic_mpi.trace import EliminationTrace

_NO_SLOTS = np.empty(0, dtype=np.int64)


class Weights:
    """The weights of a trace at any theta, checked; holds no pattern.

    Args:
        trace: The trace.
        unit_slots: ``int64[...]``, slots that no edge adds to and that hold 1 at every theta.

    Attributes:
        slots: ``int64[n_weights]``, the slot of each weight, ascending.
    """

    def __init__(
        self, trace: EliminationTrace, *, unit_slots: NDArray[np.int64] = _NO_SLOTS
    ) -> None:
        slot = np.concatenate([trace.edge_slot, unit_slots])
        self.slots, self._weight_of_edge = trace.distinct_slots(slot)
        self._constant, self._coefficient = trace.constant, trace.coefficient
        self._unit = np.ones(unit_slots.size)
        self._source, self._target = trace.edge_source, trace.edge_target
        self._vertex = trace.vertex
        self._states, self._state_names = trace.states, trace.state_names
        self._parameter_names = trace.parameter_names

    def at(self, theta: NDArray[np.float64], row: int) -> NDArray[np.float64]:
        """The weights at one theta; ``float64[n_weights]``.

        Args:
            theta: ``float64[n_parameters]``.
            row: Its number, for errors.

        Raises:
            EvaluationError: An edge whose weight is negative or not finite.
        """
        varying = linear(self._coefficient, theta)
        weight = np.concatenate([self._constant, varying, self._unit])
        self._require_rates(weight, self._place(theta, row))
        return sums_by_index(self._weight_of_edge, weight, self.slots.size)

    def require_left(self, failed: int, theta: NDArray[np.float64], row: int) -> None:
        """Refuses a theta at which a vertex cannot be left.

        Args:
            failed: Its position, negative for none.
            theta: ``float64[n_parameters]``.
            row: Its number.

        Raises:
            EvaluationError: There is one.
        """
        if failed < 0:
            return
        raise EvaluationError(
            "Trace cannot be evaluated",
            problem="expected a positive finite rate out of "
            f"{self._named(int(self._vertex[failed]))}, directly or through the vertices "
            "eliminated before it, but absorption cannot be reached or the rates overflow or "
            "vanish",
            context=self._place(theta, row),
            resolution="use parameters at which every vertex can be left for absorption",
        )

    def _place(self, theta: NDArray[np.float64], row: int) -> dict[str, object]:
        return {"row of theta": row, "theta": describe_theta(theta, self._parameter_names)}

    def _named(self, vertex: int) -> str:
        return describe_vertex(vertex, self._states, self._state_names)

    def _require_rates(self, weight: NDArray[np.float64], place: Mapping[str, object]) -> None:
        legal = np.isfinite(weight) & (weight >= 0)
        if legal.all():
            return
        edge = int(np.argmin(legal))
        source, target = int(self._source[edge]), int(self._target[edge])
        raise EvaluationError(
            "Trace cannot be evaluated",
            problem=f"expected a finite weight of at least 0 on edge {source} -> {target}, got "
            f"{weight[edge]}",
            context={
                **place,
                "from": self._named(source),
                "to": self._named(target),
                "illegal edges": int((~legal).sum()),
            },
            resolution="use parameters at which every edge has a rate",
        )


class Factoring:
    """Factors a trace at any theta. Of its patterns it keeps only what the compiled core needs.

    Args:
        trace: The trace.
        n_threads: Threads that analyse and factor together, at least 1; they do not show in the
            bits.
        unit_slots: ``int64[...]``, slots that no edge adds to and that hold 1 at every theta.
    """

    def __init__(
        self,
        trace: EliminationTrace,
        *,
        n_threads: int = 1,
        unit_slots: NDArray[np.int64] = _NO_SLOTS,
    ) -> None:
        self._weights = Weights(trace, unit_slots=unit_slots)
        self._n_threads = n_threads
        with trace.refusing():
            self._plan = _core.FactorPlan(trace.core(), self._weights.slots, n_threads=n_threads)

    def factored(self, theta: NDArray[np.float64], row: int) -> _core.Factor:
        """The factorisation at one theta.

        Its memory serves the next one once nothing refers to it any more.

        Args:
            theta: ``float64[n_parameters]``.
            row: Its number, for errors.

        Raises:
            EvaluationError: An edge whose weight is negative or not finite; vertices that cannot be
                left at this theta.
        """
        factor = self._plan.factor(self._weights.at(theta, row), self._n_threads)
        self._weights.require_left(factor.failed, theta, row)
        return factor


def sums_by_index(
    index: NDArray[np.int32] | NDArray[np.int64], weight: NDArray[np.float64], size: int
) -> NDArray[np.float64]:
    """Sum of the weights at each of ``size`` indices."""
    # numpy's types say that bincount returns integers, which it does not with weights.
    return np.bincount(index, weights=weight, minlength=size).astype(np.float64, copy=False)


def linear(coefficient: NDArray[np.float64], theta: NDArray[np.float64]) -> NDArray[np.float64]:
    """``theta @ coefficient.T`` with one order of additions everywhere; BLAS promises none."""
    total = np.zeros((*theta.shape[:-1], coefficient.shape[0]))
    for index, column in enumerate(coefficient.T):
        total += column * theta[..., index, np.newaxis]
    return total
