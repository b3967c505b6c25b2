"""What one process evaluates: a trace at many theta, in calls of one fixed shape."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from phasic_mpi.errors import CancelledError, ConfigError, EvaluationError
from phasic_mpi.evaluate import Replay, legal_starts
from phasic_mpi.quantities import Quantity, Request, quantities
from phasic_mpi.results import Results
from phasic_mpi.theta import describe_theta
from phasic_mpi.trace import EliminationTrace

if TYPE_CHECKING:
    from phasic_mpi.replay.batch import Batch
    from phasic_mpi.replay.program import Program

# Ranks share theta evenly if there are many more calls than ranks. The compiled core factors at
# most so many theta side by side: fewer in a call would leave lanes empty.
_CALLS = 64
_LANES = 8
_LARGEST_CALL = 1024


@dataclass(frozen=True, eq=False)
class Inputs:
    """What is evaluated, and where.

    Attributes:
        trace: The trace.
        theta: ``float64[n_theta, n_parameters]``.
        rewards: ``float64[n_vertices]``, or ``float64[n_rewards, n_vertices]`` for several rewards;
            None for the time to absorption.
        reward_names: Names of the rewards, or of the one, if they have some.
    """

    trace: EliminationTrace
    theta: NDArray[np.float64]
    rewards: NDArray[np.float64] | None = None
    reward_names: tuple[str, ...] = ()

    @property
    def n_rewards(self) -> int | None:
        """Number of rewards if there are several."""
        return len(self.rewards) if self.rewards is not None and self.rewards.ndim == 2 else None

    def quantities(self, request: Request) -> list[Quantity]:
        """The arrays that answer a request; see :func:`phasic_mpi.quantities.quantities`."""
        return quantities(
            request,
            n_parameters=self.trace.n_parameters,
            n_rewards=self.n_rewards,
            has_rewards=self.rewards is not None,
            parameter_names=self.trace.parameter_names,
            reward_names=self.reward_names,
        )


class Evaluator:
    """Computes at many theta in this process.

    Args:
        inputs: What is evaluated; its theta are not looked at.
        memory: Bytes that the theta which are computed at a time may take.
        n_threads: Threads that JAX has.
    """

    def __init__(self, inputs: Inputs, *, memory: int, n_threads: int) -> None:
        # Imported here, so that --help and wrong usage are answered without JAX.
        from phasic_mpi.replay.program import load_program

        self.inputs = inputs
        self.program: Program = load_program(inputs.trace, n_threads=n_threads)
        self._memory = memory
        self._n_threads = n_threads
        self._cancelled = threading.Event()
        self.n_done = 0

    def results(self, request: Request, theta: NDArray[np.float64]) -> Results:
        """Answers a request at ``float64[n_theta, n_parameters]``.

        Raises:
            ConfigError: One theta takes more memory than there is.
            EvaluationError: A theta at which the trace cannot be evaluated.
        """
        request = self.resolve(request, theta)
        batch = self.compile(request, len(theta))
        return to_results(self.inputs, request, theta, self.compute(request, batch, theta, 0))

    def resolve(self, request: Request, theta: NDArray[np.float64]) -> Request:
        """The request with a method, and its number of terms, that suit all theta.

        Raises:
            ConfigError: A density that the method cannot compute.
            EvaluationError: Rewards that do not suit the method, or an illegal theta.
        """
        from phasic_mpi.replay.batch import most_jumps
        from phasic_mpi.replay.method import choose_method

        if not request.points:
            return request
        most = most_jumps(self.program, request, self.inputs.rewards, theta)
        if not np.isfinite(most.jumps):
            Replay(self.inputs.trace).require_legal(theta[most.row], row=most.row)
        method, n_terms = choose_method(
            self.program,
            theta[most.row],
            most.time,
            rewards=most.reward,
            method=request.method,
        )
        if method == "inversion" and 0.0 in request.points.get("pdf", ()):
            raise ConfigError(
                "The density cannot be computed",
                problem="expected times above 0, because inversion has no density at 0, got 0.0",
                resolution="begin --pdf at a later time; or give --method uniformisation, which "
                "takes rewards that are positive",
            )
        return replace(request, method=method, n_terms=n_terms)

    def compile(self, request: Request, n_theta: int, n_rows: int | None = None) -> Batch:
        """Compiles a request for calls of a shape that depends on ``n_theta`` and memory alone.

        Args:
            request: What to compute, with its method.
            n_theta: Number of theta that there are on all ranks together.
            n_rows: Rows of each call if they have been agreed on.

        Raises:
            ConfigError: One theta takes more memory than there is.
        """
        from phasic_mpi.replay.batch import compile_batch, rows_in_cache

        if n_rows is None:
            share = _LANES * -(-n_theta // (_CALLS * _LANES))
            fitting = rows_in_cache(self.program, request, self.inputs.n_rewards or 1)
            fitting = max(_LANES, fitting // _LANES * _LANES)
            n_rows = min(n_theta, share, fitting, _LARGEST_CALL)
        while True:
            batch = compile_batch(self.program, request, self.inputs.rewards, n_rows)
            if batch.nbytes <= self._memory:
                return batch
            if n_rows == 1:
                raise ConfigError(
                    "Theta do not fit the memory that was given",
                    problem=f"expected one theta to take at most {self._memory} bytes, it takes "
                    f"{batch.nbytes}",
                    resolution=f"give --memory {batch.nbytes} or more, or ask for fewer moments, "
                    "points or rewards at a time",
                )
            n_rows = max(1, min(n_rows - 1, n_rows * self._memory // batch.nbytes))

    def compute(
        self, request: Request, batch: Batch, theta: NDArray[np.float64], first: int
    ) -> NDArray[np.float64]:
        """Computes row by row; ``float64[n_theta, n_columns]``, quantities side by side.

        Args:
            request: What was compiled.
            batch: The compiled request.
            theta: ``float64[n_theta, n_parameters]``.
            first: Number of the first row, for errors.

        Raises:
            CancelledError: :meth:`cancel` was called before the end.
            EvaluationError: A theta at which the trace cannot be evaluated.
        """
        asked = self.inputs.quantities(request)
        widths = [int(np.prod(quantity.shape)) for quantity in asked]
        out = np.empty((len(theta), sum(widths)))
        # XLA begins a call while others go on, which keeps all threads busy with small ones.
        n_pending = max(1, min(self._n_threads, self._memory // max(1, batch.nbytes)))
        pending: deque[tuple[int, dict[str, Any]]] = deque()
        for begin in range(0, len(theta), batch.n_rows):
            rows = theta[begin : begin + batch.n_rows]
            missing = batch.n_rows - len(rows)
            pending.append((begin, batch(np.pad(rows, ((0, missing), (0, 0)), mode="edge"))))
            if len(pending) == n_pending:
                self._finish(*pending.popleft(), asked, theta, first, out)
            if self._cancelled.is_set():
                raise CancelledError(
                    "The evaluation was cancelled",
                    problem=f"{self.n_done} of {len(theta)} theta of this rank were computed",
                    resolution="mend what the cause names and run again",
                )
        while pending:
            self._finish(*pending.popleft(), asked, theta, first, out)
        return out

    def cancel(self) -> None:
        """Makes :meth:`compute`, in another thread, end soon."""
        self._cancelled.set()

    def _finish(
        self,
        begin: int,
        answers: dict[str, Any],
        asked: list[Quantity],
        theta: NDArray[np.float64],
        first: int,
        out: NDArray[np.float64],
    ) -> None:
        """Waits for one call, checks its rows and copies them."""
        rows = theta[begin : begin + len(next(iter(answers.values())))]
        columns = [
            np.asarray(answers[quantity.name]).reshape(-1, np.prod(quantity.shape, dtype=int))
            for quantity in asked
        ]
        out[begin : begin + len(rows)] = np.concatenate(columns, axis=1)[: len(rows)]
        legal = legal_starts(self.inputs.trace, rows)
        for quantity, values in zip(asked, columns, strict=True):
            # A reward that does not vary correlates with nothing.
            if quantity.value_name != "correlation":
                legal &= np.isfinite(values[: len(rows)]).all(axis=1)
        if not legal.all():
            index = int(np.argmin(legal))
            found = {
                name: value
                for quantity, values in zip(asked, columns, strict=True)
                for name, value in zip(quantity.columns(), values[index].tolist(), strict=True)
            }
            _refuse_theta(self.inputs.trace, rows[index], first + begin + index, found)
        self.n_done += len(rows)


def _refuse_theta(
    trace: EliminationTrace, theta: NDArray[np.float64], row: int, found: dict[str, float]
) -> None:
    """Says what makes a theta illegal, or which result at it is not finite."""
    Replay(trace).require_legal(theta, row=row)
    name, value = next((n, x) for n, x in found.items() if not np.isfinite(x))
    raise EvaluationError(
        "Trace cannot be evaluated",
        problem=f"expected finite results, got {value} for {name}, although every weight is legal: "
        "it overflows, or its series does not converge",
        context={"row of theta": row, "theta": describe_theta(theta, trace.parameter_names)},
        resolution="use parameters of another scale, lower moments, or another method (--method)",
    )


def to_results(
    inputs: Inputs, request: Request, theta: NDArray[np.float64], columns: NDArray[np.float64]
) -> Results:
    """Takes apart what :meth:`Evaluator.compute` puts side by side."""
    asked = inputs.quantities(request)
    ends = np.cumsum([np.prod(quantity.shape, dtype=int) for quantity in asked])
    values = {
        quantity.name: part.reshape(len(theta), *quantity.shape)
        for quantity, part in zip(asked, np.split(columns, ends[:-1], axis=1), strict=True)
    }
    return Results(theta, asked, values, inputs.trace.parameter_names, inputs.reward_names)
