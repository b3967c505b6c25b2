"""Evaluation of a trace at many theta, spread over ranks.

    start -> load -> share -> prepare -> scatter -> compute -> gather

Rows of theta are cut into calls of one fixed shape, the same for any number of ranks, and each rank
gets calls that follow one another: results are the same bit for bit.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from phasic_mpi import comm as mpi
from phasic_mpi import config
from phasic_mpi.comm import Comm
from phasic_mpi.display import size
from phasic_mpi.evaluator import Evaluator, Inputs, to_results
from phasic_mpi.log import get_logger
from phasic_mpi.pipeline import Hooks, Job, share_trace
from phasic_mpi.quantities import Request
from phasic_mpi.report import EvaluationReport, peak_rss_bytes
from phasic_mpi.results import Results

if TYPE_CHECKING:
    from phasic_mpi.replay.batch import Batch

DEFAULT_MEMORY = 1 << 30


_Job = Job[EvaluationReport]


def evaluate(
    comm: Comm,
    load: Callable[[], Inputs],
    request: Request,
    *,
    memory: int = DEFAULT_MEMORY,
    hooks: Hooks | None = None,
) -> tuple[EvaluationReport, Evaluator, Results | None]:
    """Collective. Answers a request at every theta of what ``load`` returns on rank 0.

    Args:
        comm: The ranks that take part.
        load: Called on rank 0 alone.
        request: What to compute; equal on every rank.
        memory: Bytes that the theta which a rank computes at a time may take.
        hooks: See :class:`phasic_mpi.pipeline.Hooks`; it is not asked to stop.

    Returns:
        The report, what evaluates further theta in this process, and on rank 0 the results.

    Raises:
        StageError: A stage failed on at least one rank; equal on every rank.
        EnvironmentMismatchError: The ranks do not run the same code or settings.
    """
    job = _Job(comm, hooks or Hooks(), EvaluationReport(n_ranks=comm.size))
    with mpi.ending_all(comm):
        n_threads = _start(job, request, memory)
        inputs = None
        with job.local("load"):
            if comm.rank == 0:
                inputs = load()
                inputs.quantities(request)
        with job.timed("share"):
            inputs, n_theta = _share(comm, inputs)
        with job.local("prepare"):
            evaluator = Evaluator(inputs, memory=memory, n_threads=n_threads)
        with job.timed("compile"):
            request, batch = _compile(job, evaluator, request, n_theta)
        with job.timed("scatter"):
            theta, first = _scatter(job, inputs, n_theta, batch.n_rows)
        with job.timed("compute"):
            mine = _compute(job, evaluator, request, batch, theta, first)
        with job.timed("gather"):
            results = _gather(job, inputs, request, mine)
        job.report.peak_rss_bytes = mpi.collect(comm, peak_rss_bytes())
    return job.report, evaluator, results


def _start(job: _Job, request: Request, memory: int) -> int:
    """Collective. Prepares JAX, before it is imported, and returns the threads of this rank."""
    comm = job.comm
    with job.timed("start"):
        mpi.require_same_code(
            comm, {**config.code_facts(), "request": str(request), "memory": str(memory)}
        )
        n_sharing = mpi.count_equal_here(comm, config.core_mask())
        with mpi.agree(comm, "start"):
            n_threads = config.threads_per_rank(n_sharing)
            config.prepare_threads(n_threads)
            config.prepare_float64()
    return n_threads


def _share(comm: Comm, inputs: Inputs | None) -> tuple[Inputs, int]:
    """Collective. What rank 0 has loaded, without theta on other ranks, and the number of theta."""
    trace = share_trace(comm, None if inputs is None else inputs.trace)
    arrays = {}
    if inputs is not None and inputs.rewards is not None:
        arrays["rewards"] = inputs.rewards
    rewards = mpi.share_arrays(comm, arrays).get("rewards")
    facts = (0, ()) if inputs is None else (len(inputs.theta), inputs.reward_names)
    n_theta, names = mpi.share(comm, facts, tuple[int, tuple[str, ...]])
    if inputs is None:
        inputs = Inputs(trace, np.zeros((0, trace.n_parameters)), rewards, names)
    return inputs, n_theta


def _compile(
    job: _Job, evaluator: Evaluator, request: Request, n_theta: int
) -> tuple[Request, Batch]:
    """Collective. Settles the method on rank 0 and the shape of calls on all ranks."""
    comm = job.comm
    with mpi.agree(comm, "method"):
        if comm.rank == 0:
            request = evaluator.resolve(request, evaluator.inputs.theta)
    method, n_terms = mpi.share(comm, (request.method, request.n_terms), tuple[str, int | None])
    request = replace(request, method=method, n_terms=n_terms)
    with mpi.agree(comm, "compile"):
        batch = evaluator.compile(request, n_theta)
    n_rows = min(mpi.collect(comm, batch.n_rows))
    with mpi.agree(comm, "recompile"):
        if n_rows < batch.n_rows:
            batch = evaluator.compile(request, n_theta, n_rows)
    report = job.report
    report.n_theta, report.n_rows, report.call_bytes = n_theta, batch.n_rows, batch.nbytes
    if request.points:
        report.method, report.n_terms = method, n_terms
    get_logger().debug(
        "%d theta in calls of %d, %s each", n_theta, batch.n_rows, size(batch.nbytes)
    )
    return request, batch


def _scatter(
    job: _Job, inputs: Inputs, n_theta: int, n_rows: int
) -> tuple[NDArray[np.float64], int]:
    """Collective. Deals out whole calls in order; the rows of this rank, and the first's number."""
    comm, n_parameters = job.comm, inputs.trace.n_parameters
    n_calls = -(-n_theta // n_rows)
    bounds = [min(n_theta, n_rows * (rank * n_calls // comm.size)) for rank in range(comm.size + 1)]
    parts = None
    if comm.rank == 0:
        whole = np.ascontiguousarray(inputs.theta).reshape(-1).view(np.uint8)
        parts = np.split(whole, [8 * n_parameters * bound for bound in bounds[1:-1]])
    begin, end = bounds[comm.rank], bounds[comm.rank + 1]
    theta = np.empty((end - begin, n_parameters))
    theta.reshape(-1).view(np.uint8)[:] = mpi.scatter_bytes(comm, parts)
    return theta, begin


def _compute(
    job: _Job,
    evaluator: Evaluator,
    request: Request,
    batch: Batch,
    theta: NDArray[np.float64],
    first: int,
) -> NDArray[np.float64]:
    """Collective. Computes the rows of this rank; a failure on one ends it on all, at once."""
    seconds = [0.0, 0.0]

    def work() -> NDArray[np.float64]:
        begin, cpu_begin = time.perf_counter(), time.process_time()
        found = evaluator.compute(request, batch, theta, first)
        seconds[:] = time.perf_counter() - begin, time.process_time() - cpu_begin
        return found

    found = mpi.run_failfast(
        job.comm,
        "compute",
        work,
        cancel=evaluator.cancel,
        on_idle=lambda: job.hooks.on_progress("compute", evaluator.n_done, len(theta)),
    )
    everyone = mpi.collect(job.comm, seconds)
    job.report.compute_seconds = [wall for wall, _ in everyone]
    job.report.compute_cpu_seconds = [cpu for _, cpu in everyone]
    return found


def _gather(
    job: _Job, inputs: Inputs, request: Request, mine: NDArray[np.float64]
) -> Results | None:
    """Collective. Brings the rows of all ranks to rank 0, in order; None elsewhere."""
    parts = mpi.gather_bytes(job.comm, mine.reshape(-1).view(np.uint8))
    results = None
    with mpi.agree(job.comm, "gather"):
        if parts is not None:
            flat = np.concatenate([np.frombuffer(part, np.float64) for part in parts if len(part)])
            results = to_results(inputs, request, inputs.theta, flat.reshape(-1, mine.shape[1]))
    return results
