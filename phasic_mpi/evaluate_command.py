"""The command ``evaluate``: what is asked for, and where the answer goes."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from phasic_mpi import comm as mpi
from phasic_mpi import config, distributed, files, hdf5, log, manifest, results
from phasic_mpi.comm import Comm
from phasic_mpi.display import Progress, print_tables, print_text, size
from phasic_mpi.distributed import Asked
from phasic_mpi.errors import ConfigError
from phasic_mpi.evaluation import DEFAULT_MEMORY
from phasic_mpi.evaluation import evaluate as evaluate_on_ranks
from phasic_mpi.evaluator import Inputs
from phasic_mpi.graph import PhaseTypeGraph
from phasic_mpi.input_files import load_rewards, load_theta
from phasic_mpi.pictures import figures
from phasic_mpi.pipeline import Hooks
from phasic_mpi.plotting import draw, require_few
from phasic_mpi.quantities import FUNCTIONS, Request
from phasic_mpi.report import EvaluationReport
from phasic_mpi.results import Results, moment_results
from phasic_mpi.theta import ThetaLike, theta_rows
from phasic_mpi.trace import EliminationTrace
from phasic_mpi.trace_io import load_trace

_FORMAT_OF = {".json": "json", ".csv": "csv", ".h5": "hdf5", ".hdf5": "hdf5"}


def evaluate(options: argparse.Namespace) -> int:
    """Replays a trace; see :func:`phasic_mpi.evaluation.evaluate`."""
    form = _format(options.format, options.output)
    request = _request(options)
    if options.distributed:
        return _evaluate_distributed(options, form, request)
    with _ranks(options) as comm:
        with Progress(enabled=comm.rank == 0, counted="theta") as progress:
            report, evaluator, found = evaluate_on_ranks(
                comm,
                lambda: _load(options),
                request,
                memory=options.memory or DEFAULT_MEMORY,
                hooks=Hooks(on_progress=progress.update),
            )
        with mpi.agree(comm, "plot"):
            if found is not None and options.plot is not None:
                draw(options.plot, evaluator, request, found.theta)
        with mpi.agree(comm, "write"):
            if found is not None:
                _write(found, form, options.output)
                _write_report(report, options.report)
    return 0


def _evaluate_distributed(options: argparse.Namespace, form: str, request: Request) -> int:
    """Moments of one reward; see :func:`phasic_mpi.distributed.moments`."""
    moments_alone = Request(n_moments=max(1, request.n_moments))
    if request != moments_alone or options.plot or options.memory:
        raise ConfigError(
            "This cannot be evaluated with --distributed",
            problem="expected moments alone, got a request for functions of time, covariances, "
            "gradients, a method, a plot or a limit of memory",
            resolution="leave these out, or leave --distributed out: 'evaluate' without it takes "
            "manifests too",
        )
    given: list[_Given] = []

    def load(graph: PhaseTypeGraph) -> Asked:
        given.append(_one_reward(_given(options, graph)))
        reward = np.ones(graph.n_vertices) if given[0].rewards is None else given[0].rewards
        return Asked(given[0].theta, reward)

    with _ranks(options) as comm:
        with Progress(enabled=comm.rank == 0, counted="theta") as progress:
            hooks = Hooks(on_progress=progress.update)
            report, found = distributed.moments(
                comm, options.trace, load, request.n_moments, hooks=hooks
            )
        with mpi.agree(comm, "write"):
            for asked in given:  # on rank 0 alone
                _write(moment_results(moments=found, **asked._asdict()), form, options.output)
                _write_report(report, options.report)
    return 0


@contextmanager
def _ranks(options: argparse.Namespace) -> Iterator[Comm]:
    """Collective. All ranks, once it is clear that what is asked for can be written."""
    with mpi.open_ranks(deadline=options.deadline) as comm:
        log.configure(options.log_level, rank=comm.rank, size=comm.size)
        with mpi.agree(comm, "arguments"):
            if comm.rank == 0:
                _require_outputs(options)
        yield comm


def _one_reward(given: _Given) -> _Given:
    if given.rewards is not None and given.rewards.ndim > 1:
        raise ConfigError(
            "This cannot be evaluated with --distributed",
            problem=f"expected one reward at most, got {len(given.rewards)}",
            resolution="evaluate one reward after the other",
        )
    return given


def _write_report(report: EvaluationReport, path: Path | None) -> None:
    if path is not None:
        text = json.dumps(report.to_dict(), indent=2) + "\n"
        files.write_atomically(path, text.encode(), mode=0o666)


def given_theta(rows: Sequence[list[float] | dict[str, float]] | None) -> ThetaLike:
    """One row per ``--theta``; without any, the one that suits graphs without parameters.

    Raises:
        ConfigError: Rows of numbers are not equally long.
    """
    if rows is None:
        return np.zeros((1, 0))
    lengths = sorted({len(row) for row in rows if isinstance(row, list)})
    if len(lengths) > 1:
        raise ConfigError(
            "The rows of theta do not fit together",
            problem=f"expected equally many numbers in each --theta, got {lengths}",
            resolution="give one number per parameter of the graph in each --theta",
        )
    return rows


def _format(given: str | None, output: Path | None) -> str:
    form = given or ("table" if output is None else _FORMAT_OF.get(output.suffix))
    if (form == "hdf5" and output is None) or (form in (None, "table") and output is not None):
        raise ConfigError(
            "There is no way to write the results",
            problem="expected a table, json or csv on stdout, or -o FILE with json, csv or hdf5, "
            f"got --format {form} and -o {output}",
            resolution="name a file that ends in .json, .csv or .h5",
        )
    return str(form)


def _request(options: argparse.Namespace) -> Request:
    points = {name: getattr(options, name) for name in FUNCTIONS}
    points = {name: values for name, values in points.items() if values is not None}
    nothing_else = not points and not options.covariance
    return Request(
        n_moments=options.moments or int(nothing_else),
        points=points,
        covariance=options.covariance,
        gradient=options.gradient,
        method=options.method,
    )


def _require_outputs(options: argparse.Namespace) -> None:
    for path in (options.output, options.plot, options.report):
        if path is not None:
            files.require_writable(path)
    if options.plot is not None:
        figures.require_picture(options.plot)


def _load(options: argparse.Namespace) -> Inputs:
    if hdf5.read_header(options.trace).filetype == manifest.FILETYPE:
        trace = manifest.load_trace(options.trace, n_threads=config.threads_per_rank(1))
        return _inputs(options, trace)
    return _inputs(options, load_trace(options.trace))


def _inputs(options: argparse.Namespace, trace: EliminationTrace) -> Inputs:
    given = _given(options, trace)
    if options.plot is not None:
        require_few(len(given.theta))
    return Inputs(trace, given.theta, given.rewards, given.reward_names)


class _Given(NamedTuple):
    """Theta and rewards, as :class:`Inputs` and :func:`moment_results` take them."""

    theta: NDArray[np.float64]
    rewards: NDArray[np.float64] | None
    parameter_names: tuple[str, ...]
    reward_names: tuple[str, ...]


def _given(options: argparse.Namespace, holder: EliminationTrace | PhaseTypeGraph) -> _Given:
    """What the options say of theta and rewards of a graph, or of its trace."""
    names = holder.parameter_names
    if options.theta_file is not None:
        theta = load_theta(options.theta_file, holder.n_parameters, names)
    else:
        theta = theta_rows(given_theta(options.theta), holder.n_parameters, names)
    if options.reward is not None:
        return _Given(theta, _stored_rewards(holder, options.reward), names, tuple(options.reward))
    rewards = None
    if options.rewards is not None:
        rewards = load_rewards(options.rewards, holder.n_vertices)
    return _Given(theta, rewards, names, ())


def _stored_rewards(
    holder: EliminationTrace | PhaseTypeGraph, names: list[str]
) -> NDArray[np.float64]:
    """One reward as ``float64[n_vertices]``, several as rows."""
    rows = [holder.reward(name) for name in names]
    if len(set(names)) < len(names):
        raise ConfigError(
            "The rewards cannot be told apart",
            problem=f"expected each --reward once, got {', '.join(names)}",
            resolution="name each reward once",
        )
    return rows[0] if len(rows) == 1 else np.stack(rows)


def _write(found: Results, form: str, output: Path | None) -> None:
    if form == "table":
        print_tables(*results.tables(found))
        return
    if form == "hdf5":
        data = results.to_hdf5(found)
    else:
        text = results.to_json(found) if form == "json" else results.to_csv(found)
        data = text.encode()
    if output is None:
        print_text(text)
        return
    files.write_atomically(output, data, mode=0o666)
    log.get_logger().info(
        "%s: %s at %d theta, %s",
        output,
        ", ".join(quantity.name for quantity in found.quantities),
        len(found.theta),
        size(len(data)),
    )
