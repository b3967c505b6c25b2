"""The command line: options, and how a command ends.

Exit status: 0 done, 1 failed, 2 wrong usage, 75 stopped (by a signal, or as a rank gives no sign of
life) with everything recorded so far committed. Under a launcher all ranks end with the same one,
and rank 0 speaks for all.
"""

from __future__ import annotations

import argparse
import os
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from phasic_mpi import __version__, arguments, config, log, pictures, quantities
from phasic_mpi.errors import ConfigError, PhasicMpiError, RunStoppedError

DONE, FAILED, USAGE, STOPPED = 0, 1, 2, os.EX_TEMPFAIL

_RUN_EXAMPLES = """\
examples:
  python -m phasic_mpi run                                    a bundled model, on one rank
  mpirun -n 2 python -m phasic_mpi run graph.json -o trace.h5
  mpirun -n 64 python -m phasic_mpi run graph.h5 -o trace.h5 --cache /scratch/$USER/phasic
  python -m phasic_mpi run graph.h5 --theta 1,0.5 --theta 1,2 --moments 4
  python -m phasic_mpi run graph.h5 --theta coalescence=1,migration=0.5
"""

_EVALUATE_EXAMPLES = """\
examples:
  python -m phasic_mpi evaluate trace.h5 --theta 1,0.5
  python -m phasic_mpi evaluate trace.h5 --theta 1,0.5 --theta 1,2 --moments 4 --format csv
  python -m phasic_mpi evaluate trace.h5 --theta 1,0.5 --pdf 0:10:101 --plot density.png
  python -m phasic_mpi evaluate trace.h5 --theta 1,0.5 --rewards rewards.npy --covariance
  python -m phasic_mpi evaluate trace.h5 --theta coalescence=1,migration=0.5 --reward singletons
  mpirun -n 64 python -m phasic_mpi evaluate trace.h5 --theta-file theta.csv --gradient -o out.h5
"""

_MODEL_EXAMPLES = """\
examples:
  python -m phasic_mpi model --list
  python -m phasic_mpi model structured-coalescent --help
  python -m phasic_mpi model structured-coalescent --set n=20 --set islands=3 -o graph.h5
"""


_PLOT_EXAMPLES = """\
examples:
  python -m phasic_mpi plot graph.json -o graph.svg
  python -m phasic_mpi plot graph.json --theta 1,0.5 -o rates.pdf
  python -m phasic_mpi plot trace.h5 --kind spy -o fill.png
"""


_CONVERT_EXAMPLES = """\
examples:
  python -m phasic_mpi convert cluster.tra graph.h5 --absorbing failed
  python -m phasic_mpi convert model.drn graph.json --absorbing done
  python -m phasic_mpi convert graph.h5 model.drn
  python -m phasic_mpi convert graph.h5 model.tra --theta 1,0.5
"""


class _Parser(argparse.ArgumentParser):
    """Wrong usage ends all ranks, but only the first says why."""

    def error(self, message: str) -> NoReturn:
        if config.launcher_rank() == 0:
            log.write_line(f"{self.format_usage()}{self.prog}: error: {message}")
        raise SystemExit(USAGE)

    def print_help(self, file: Any = None) -> None:
        if config.launcher_rank() == 0:
            super().print_help(file)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit status."""
    options = _parser().parse_args(argv)
    _, size = config.launcher_size() or ("", 1)
    log.configure(options.log_level, rank=config.launcher_rank(), size=size)
    # Imported here, so that --help and wrong usage are answered at once.
    from phasic_mpi import commands
    from phasic_mpi.comm import abort_all

    try:
        return int(getattr(commands, options.command)(options))
    except RunStoppedError as exc:
        _say(exc)
        return STOPPED
    except PhasicMpiError as exc:
        _say(exc)
        return FAILED
    except OSError as exc:
        _say(_unusable(exc))
        return FAILED
    except Exception:
        # Not an error that the ranks agreed on: the others may be waiting for this one.
        abort_all(FAILED, f"[rank {config.launcher_rank()}] {traceback.format_exc()}")
        return FAILED


def _unusable(failure: OSError) -> ConfigError:
    """Says of a file that the system refuses which one it is and what to do."""
    name = failure.filename or "A file"
    return ConfigError(
        f"{name} cannot be read or written",
        problem=f"expected a file that the system lets us use, got: {failure.strerror or failure}",
        resolution="correct the path or its permissions",
    )


def _say(failure: Exception) -> None:
    """The ranks have agreed on what to say, so one says it."""
    if config.launcher_rank() == 0:
        log.write_line(f"{type(failure).__name__}: {failure}")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="phasic_mpi",
        description="Records the elimination trace of a phase-type distribution in parallel, and "
        "replays it at any parameters.",
        epilog="Each command has a --help of its own. Manual: docs/cli.md.",
    )
    parser.add_argument("--version", action="version", version=f"phasic_mpi {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_run(commands)
    _add_evaluate(commands)
    _add_model(commands)
    _add_convert(commands)
    _add_info(commands)
    _add_plot(commands)
    _add_cache(commands)
    _add_doctor(commands)
    return parser


class _ModelHelp(argparse.Action):
    """Help on the command alone, on a model behind its name."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(nargs=0, default=False, **kwargs)

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, *_: Any
    ) -> None:
        if namespace.name is None:
            parser.print_help()
            parser.exit()
        namespace.help = True


def _add(
    commands: Any, name: str, summary: str, *, add_help: bool = True, **texts: str
) -> argparse.ArgumentParser:
    """A command with the options that all commands share."""
    command: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=texts.get("description", summary),
        epilog=texts.get("epilog"),
        add_help=add_help,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument(
        "--log-level",
        choices=log.LEVELS,
        default="info",
        help="what is logged on stderr; 'debug' on all ranks (default: info)",
    )
    return command


def _add_format(command: argparse.ArgumentParser, *choices: str) -> None:
    command.add_argument(
        "--format",
        choices=choices,
        default=choices[0],
        help=f"output on stdout (default: {choices[0]})",
    )


def _add_theta(command: Any, purpose: str) -> None:
    command.add_argument(
        "--theta",
        type=arguments.theta,
        action="append",
        metavar="T1,T2,...",
        help=f"{purpose}, one number per parameter, separated by commas, or NAME=VALUE for each if "
        "the graph names its parameters (see 'info'); may be repeated; left out for graphs without "
        "parameters",
    )


def _add_moments(command: Any) -> None:
    command.add_argument(
        "--moments",
        type=arguments.positive,
        metavar="K",
        help="compute the raw moments E[Y^1] to E[Y^K] (default: 1, if nothing else is computed)",
    )


def _add_deadline(command: Any) -> None:
    command.add_argument(
        "--deadline",
        type=arguments.seconds,
        default=config.DEADLINE_SECONDS,
        metavar="SECONDS",
        help="end all ranks, with status 75, if one gives no sign of life for so long; 0 waits for "
        f"ever (default: {config.DEADLINE_SECONDS:g})",
    )


def _add_run(commands: Any) -> None:
    run = _add(
        commands,
        "run",
        "record the elimination trace of a graph, alone or under mpirun",
        epilog=_RUN_EXAMPLES,
    )
    run.add_argument(
        "graph",
        nargs="?",
        type=Path,
        metavar="GRAPH",
        help="graph file, JSON or HDF5; without it a bundled model is run and evaluated",
    )
    run.add_argument(
        "-o", "--output", type=Path, metavar="TRACE", help="trace file to write (HDF5)"
    )
    run.add_argument(
        "--no-gather",
        dest="gather",
        action="store_false",
        help="leave the traces in the cache and write to -o a manifest that says where they lie, "
        "for graphs whose trace does not fit the memory of rank 0",
    )
    run.add_argument(
        "--cache",
        type=Path,
        metavar="DIR",
        help="directory of the block traces kept between runs "
        f"(default: {config.default_cache_dir()})",
    )
    run.add_argument(
        "--strategy",
        default="auto",
        metavar="NAME",
        help="how each rank records: sequential, vmap (one JAX device, several threads), pmap (at "
        "least two JAX devices), or auto, which logs its choice (default: auto)",
    )
    run.add_argument(
        "--devices",
        type=arguments.positive,
        metavar="N",
        help="CPU devices that JAX shows in each rank (default: as many as it has, usually 1)",
    )
    run.add_argument(
        "--min-size",
        type=arguments.positive,
        default=50,
        metavar="N",
        help="components of fewer vertices share work units (default: 50)",
    )
    _add_theta(run, "compute moments too, at these parameters")
    _add_moments(run)
    _add_deadline(run)
    run.add_argument(
        "--report", type=Path, metavar="FILE.json", help="write what the run did as JSON"
    )
    _add_format(run, "table", "json")


def _add_evaluate(commands: Any) -> None:
    evaluate = _add(
        commands,
        "evaluate",
        "replay a trace at many theta, alone or under mpirun: moments, densities, gradients",
        epilog=_EVALUATE_EXAMPLES,
    )
    evaluate.add_argument(
        "trace", type=Path, metavar="TRACE", help="trace file or manifest that 'run' wrote"
    )
    evaluate.add_argument(
        "--distributed",
        action="store_true",
        help="compute moments from a manifest with the blocks divided between the ranks, which "
        "keep their factors: for graphs whose factors do not fit one process",
    )
    theta = evaluate.add_mutually_exclusive_group()
    _add_theta(theta, "parameters to evaluate at")
    theta.add_argument(
        "--theta-file",
        type=Path,
        metavar="FILE",
        help="parameters to evaluate at: .csv with one row per line, which may begin with a line "
        "of names, .npy, or .h5 with a dataset 'theta'",
    )
    rewards = evaluate.add_mutually_exclusive_group()
    rewards.add_argument(
        "--rewards",
        type=Path,
        metavar="FILE",
        help="reward per unit of time at each vertex, instead of 1: text with one number per "
        "vertex, the starting vertex first, .npy, or .h5 with a dataset 'rewards'; a line or row "
        "for each of several rewards",
    )
    rewards.add_argument(
        "--reward",
        action="append",
        metavar="NAME",
        help="a reward that is stored with the graph, by its name (see 'info'), instead of 1; may "
        "be repeated for several rewards",
    )
    _add_quantities(evaluate)
    _add_outputs(evaluate)
    _add_deadline(evaluate)
    evaluate.add_argument(
        "--memory",
        type=arguments.number_of_bytes,
        metavar="BYTES",
        help="memory that each rank may use for theta in flight, such as 500M or 4G (default: 1G)",
    )


def _add_quantities(evaluate: argparse.ArgumentParser) -> None:
    asked: Any = evaluate.add_argument_group("what to compute")
    _add_moments(asked)
    for name, what, points in (
        ("pdf", "density", "T1,T2,..."),
        ("cdf", "distribution function", "T1,T2,..."),
        ("survival", "survival function", "T1,T2,..."),
        ("quantile", "quantiles", "P1,P2,..."),
    ):
        asked.add_argument(
            f"--{name}",
            type=arguments.points,
            metavar=points,
            help=f"compute the {what} at these points; START:STOP:COUNT stands for so many, evenly "
            "spaced",
        )
    asked.add_argument(
        "--covariance",
        action="store_true",
        help="compute covariances and correlations of several rewards",
    )
    asked.add_argument(
        "--gradient", action="store_true", help="compute derivatives of everything in theta too"
    )
    asked.add_argument(
        "--method",
        choices=quantities.METHODS,
        default="auto",
        help="how densities, distribution functions and quantiles are computed; 'auto' logs its "
        "choice (default: auto)",
    )


def _add_outputs(evaluate: argparse.ArgumentParser) -> None:
    evaluate.add_argument(
        "--format",
        choices=("table", "json", "csv", "hdf5"),
        help="output (default: by the suffix of -o FILE, table without it); hdf5 needs -o FILE",
    )
    evaluate.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FILE",
        help="file to write instead of stdout: .json, .csv, .h5",
    )
    evaluate.add_argument(
        "--plot",
        type=Path,
        metavar="FILE",
        help="draw the density with its mean and quantiles, or the means of several rewards, as "
        ".png, .svg or .pdf; needs the extra 'plot'",
    )
    evaluate.add_argument(
        "--report", type=Path, metavar="FILE.json", help="write what the evaluation did as JSON"
    )


def _add_model(commands: Any) -> None:
    # A help of its own, because each model has settings and parameters of its own.
    model = _add(
        commands,
        "model",
        "write the graph of a bundled model",
        epilog=_MODEL_EXAMPLES,
        add_help=False,
    )
    model.add_argument("name", nargs="?", metavar="NAME", help="a bundled model, see --list")
    model.add_argument(
        "-h",
        "--help",
        action=_ModelHelp,
        help="show this message; with NAME, the settings, parameters, rewards and source of it",
    )
    model.add_argument("--list", action="store_true", help="list the models")
    model.add_argument(
        "--set",
        type=arguments.setting,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a setting of the model; may be repeated",
    )
    model.add_argument(
        "-o", "--output", type=Path, metavar="GRAPH", help="graph file to write: .json or .h5"
    )
    model.add_argument(
        "--max-vertices",
        type=arguments.positive,
        metavar="N",
        help="vertices that the graph may have (default: 2^31 - 1)",
    )
    model.add_argument(
        "--memory",
        type=arguments.number_of_bytes,
        metavar="BYTES",
        help="memory that the graph may take while it is built, such as 500M or 4G (default: half "
        "of what is free)",
    )


def _add_convert(commands: Any) -> None:
    convert = _add(
        commands,
        "convert",
        "write a graph in another format: of phasic, PRISM, Storm, or HDF5",
        epilog=_CONVERT_EXAMPLES,
    )
    for name, what in (("input", "read"), ("output", "write")):
        convert.add_argument(
            name,
            type=Path,
            metavar=name.upper(),
            help=f"file to {what}, its format by its suffix: .json, .h5, .tra (PRISM; .sta, .lab "
            "and .srew beside it), .drn (Storm)",
        )
    convert.add_argument(
        "--absorbing",
        metavar="LABEL",
        help="label of the states of a .tra or .drn file to stop at (default: the states that are "
        "not left)",
    )
    convert.add_argument(
        "--initial",
        type=arguments.numbers,
        metavar="P1,P2,...",
        help="probabilities of the states labelled init in a .tra or .drn file, if there are "
        "several",
    )
    convert.add_argument(
        "--theta",
        type=arguments.theta,
        metavar="T1,T2,...",
        help="parameters at which rates are written to a .tra or .drn file, or NAME=VALUE for "
        "each; left out, .drn keeps the parameters, and .tra cannot be written of a graph that has "
        "some",
    )


def _add_info(commands: Any) -> None:
    info = _add(
        commands,
        "info",
        "what a graph, trace or cache file holds: sizes, components, operations, bytes",
    )
    info.add_argument("file", type=Path, metavar="FILE")
    _add_format(info, "table", "json")


def _add_plot(commands: Any) -> None:
    plot = _add(
        commands,
        "plot",
        "draw a graph or trace: its states, its components, or its matrix with fill",
        epilog=_PLOT_EXAMPLES,
    )
    plot.add_argument("file", type=Path, metavar="FILE", help="graph or trace file")
    plot.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="PICTURE",
        required=True,
        help="file to write: .png, .svg or .pdf; needs the extra 'plot'",
    )
    plot.add_argument(
        "--kind",
        choices=pictures.KINDS,
        default="auto",
        help="states and rates of a small graph, strongly connected components, spy (the matrix in "
        "block-triangular form with fill), or auto, which logs its choice (default: auto)",
    )
    plot.add_argument(
        "--theta",
        type=arguments.theta,
        metavar="T1,T2,...",
        help="write the rates at these parameters in a state diagram, instead of formulas; "
        "NAME=VALUE for each if the graph names them",
    )


def _add_cache(commands: Any) -> None:
    cache = _add(
        commands, "cache", "list, verify, prune or copy the block traces kept between runs"
    )
    cache.add_argument(
        "action",
        choices=("list", "verify", "prune", "copy"),
        help="list what is there; verify every byte (exit status 1 if a file is damaged); prune "
        "what killed runs left, damaged files and duplicates; copy to TARGET what it lacks",
    )
    cache.add_argument("directory", type=Path, metavar="DIR")
    cache.add_argument("target", type=Path, nargs="?", metavar="TARGET", help="of 'copy'")
    cache.add_argument(
        "--older-than",
        type=arguments.days,
        metavar="DAYS",
        help="prune also what was written more than so many days ago; 0 removes everything",
    )
    _add_format(cache, "table", "json")


def _add_doctor(commands: Any) -> None:
    doctor = _add(
        commands,
        "doctor",
        "check whether this machine, MPI and launcher are fit to run, alone or under mpirun",
    )
    _add_format(doctor, "table", "json")
