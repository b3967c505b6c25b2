"""What each command does; :mod:`phasic_mpi.cli` reads its options and reports its failures."""

from __future__ import annotations

import argparse
import json
import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from phasic_mpi import comm as mpi
from phasic_mpi import config, files, inspect_file, log, model_command, results, segment, store
from phasic_mpi.display import Progress, Table, print_json, print_tables, seconds, size
from phasic_mpi.doctor import examine, findings_table
from phasic_mpi.errors import ConfigError, StoreError
from phasic_mpi.evaluate_command import evaluate as evaluate
from phasic_mpi.evaluate_command import given_theta
from phasic_mpi.graph import PhaseTypeGraph
from phasic_mpi.graph_io import load_graph
from phasic_mpi.interchange import convert as convert_graph
from phasic_mpi.models import MODELS
from phasic_mpi.pipeline import Hooks, RunResult, Settings
from phasic_mpi.pipeline import run as run_pipeline
from phasic_mpi.plot_command import plot as plot
from phasic_mpi.results import Results, moment_results

_DEMO_MODEL = "structured-coalescent"
_DEMO_MOMENTS = 2

_DAY = 86_400

_SAME_REQUEST_SECONDS = 5


def run(options: argparse.Namespace) -> int:
    """Records a trace; see :func:`phasic_mpi.pipeline.run`."""
    theta = None
    n_moments = options.moments or 1
    if options.graph is None and options.theta is None:
        theta = given_theta([MODELS[_DEMO_MODEL].choose({}).theta()])
        n_moments = options.moments or _DEMO_MOMENTS
    elif options.theta is not None or options.moments is not None:
        theta = given_theta(options.theta)
    if not options.gather and (options.output is None or theta is not None):
        raise ConfigError(
            "Traces cannot be left in the cache",
            problem="expected --no-gather with a GRAPH and -o MANIFEST, and without --theta and "
            f"--moments, got GRAPH {options.graph or 'none'}, -o {options.output or 'none'} and "
            f"theta {'given' if theta is not None else 'none'}",
            resolution="name the manifest to write; moments come from 'evaluate MANIFEST'",
        )
    settings = Settings(
        strategy=options.strategy,
        min_size=options.min_size,
        cache_dir=options.cache,
        n_devices=options.devices,
        gather=options.gather,
    )
    with mpi.open_ranks(deadline=options.deadline) as comm:
        log.configure(options.log_level, rank=comm.rank, size=comm.size)
        with mpi.agree(comm, "arguments"):
            if comm.rank == 0 and options.report is not None:
                files.require_writable(options.report)
        with Progress(enabled=comm.rank == 0) as progress, _stop_signals() as stop_requested:
            result = run_pipeline(
                comm,
                _loader(options.graph),
                settings,
                output=options.output,
                theta=theta,
                n_moments=n_moments,
                hooks=Hooks(on_progress=progress.update, stop_requested=stop_requested),
            )
        with mpi.agree(comm, "report"):
            if comm.rank == 0:
                _report_run(options, result)
    return 0


def _loader(path: Path | None) -> Callable[[], PhaseTypeGraph]:
    if path is not None:
        return lambda: load_graph(path)

    def load() -> PhaseTypeGraph:
        model = MODELS[_DEMO_MODEL]
        settings = ", ".join(f"{s.name} = {s.default}" for s in model.settings if s.default != "")
        log.get_logger().info("No graph given: bundled model '%s' (%s)", model.name, settings)
        return model.graph({})

    return load


@contextmanager
def _stop_signals() -> Iterator[Callable[[], bool]]:
    """While inside, SIGUSR1 and SIGTERM ask the run to stop; yields whether one came.

    One that follows within seconds is the same request: ``timeout`` and batch systems signal both a
    launcher and its group, and launchers forward each. A later one ends the process as ever. A run
    that was asked to stop is deaf to both once it leaves: its exit status must be its own.
    """
    since = math.inf

    def note(number: int, frame: FrameType | None) -> None:
        del frame
        nonlocal since
        since = min(since, time.monotonic())
        if time.monotonic() > since + _SAME_REQUEST_SECONDS:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGUSR1, signal.SIGTERM)}
    try:
        yield lambda: since < math.inf
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if since == math.inf else signal.SIG_IGN)


def _report_run(options: argparse.Namespace, result: RunResult) -> None:
    facts = result.report.to_dict()
    found = _moments(result)
    if found is not None:
        arrays = {name: array.tolist() for name, array in found.arrays().items()}
        facts.update(**arrays, **found.names())
    if options.report is not None:
        text = json.dumps(facts, indent=2) + "\n"
        files.write_atomically(options.report, text.encode(), mode=0o666)
    if options.format == "json":
        print_json(facts)
        return
    print_tables(*_run_tables(result, options.output))
    if found is not None:
        print_tables(*results.tables(found))


def _moments(result: RunResult) -> Results | None:
    if result.trace is None or result.theta is None or result.moments is None:
        return None
    return moment_results(result.theta, result.moments, result.trace.parameter_names)


def _run_tables(result: RunResult, output: Path | None) -> list[Table]:
    report = result.report
    graph = Table("Run", "", "")
    graph.add("ranks", f"{report.n_ranks:,}")
    graph.add("strategy", report.strategy)
    graph.add("vertices", f"{report.n_vertices:,} ({report.n_transient:,} transient)")
    graph.add("edges", f"{report.n_edges:,}")
    graph.add(
        "components (SCCs)", f"{report.n_blocks:,}, largest {report.largest_block:,} vertices"
    )
    graph.add("distinct blocks", f"{report.n_distinct:,}")
    if report.n_cut:
        graph.add("cut into parts", f"{report.n_cut:,} of these, into {report.n_parts:,}")
    graph.add("from caches, recorded", f"{report.n_cache_hits:,}, {report.n_recorded:,}")
    graph.add("planned balance", f"{report.balance:.3f} (largest by mean load of a rank)")
    if result.trace is not None:
        graph.add("nnz(L+U)", f"{report.n_entries:,}")
        graph.add("operations per mean", f"{report.n_operations:,}")
    graph.add("scattered, gathered", f"{size(report.payload_bytes)}, {size(report.gathered_bytes)}")
    if result.trace is not None:
        graph.add("trace in memory", size(report.trace_bytes))
    graph.add(
        "manifest" if result.trace is None else "trace file",
        f"{output} ({size(report.file_bytes)})" if output else "none: -o TRACE writes one",
    )
    if report.n_failed_cache_writes:
        graph.add("failed cache writes", f"{report.n_failed_cache_writes:,}: see the warnings")
    stages = Table("Stages on rank 0", "stage", "seconds")
    for name, spent in report.stage_seconds.items():
        stages.add(name, seconds(spent))
    stages.add("all", seconds(sum(report.stage_seconds.values())))
    ranks = Table("Ranks", "", "least", "median", "most")
    for name, values, text in (
        ("recording, seconds", report.record_seconds, seconds),
        ("caching, seconds", report.keep_seconds, seconds),
        ("peak memory", report.peak_rss_bytes, size),
    ):
        ranks.add(name, *(text(value) for value in np.quantile(values, [0, 0.5, 1]).tolist()))
    return [graph, stages, ranks]


def model(options: argparse.Namespace) -> int:
    """Lists, describes or builds bundled models; see :mod:`phasic_mpi.model_command`."""
    config.require_one_process("model")
    return model_command.model(options)


def convert(options: argparse.Namespace) -> int:
    """Writes a graph in another format."""
    config.require_one_process("convert")
    graph = convert_graph(
        options.input,
        options.output,
        absorbing=options.absorbing,
        initial_probabilities=options.initial,
        theta=options.theta,
    )
    log.get_logger().info(
        "%s: %d vertices, %d edges, %d parameters, %d rewards",
        options.output,
        graph.n_vertices,
        graph.n_edges,
        graph.n_parameters,
        len(graph.reward_names),
    )
    return 0


def info(options: argparse.Namespace) -> int:
    """Prints what a file holds."""
    config.require_one_process("info")
    facts = inspect_file.describe(options.file)
    if options.format == "json":
        print_json(facts)
    else:
        print_tables(*inspect_file.tables(facts))
    return 0


def cache(options: argparse.Namespace) -> int:
    """Lists, verifies, prunes or copies a cache."""
    if (options.target is None) == (options.action == "copy"):
        raise ConfigError(
            f"'cache {options.action}' cannot be followed",
            problem="expected a TARGET directory with 'copy' and only there, got "
            f"{options.target or 'none'}",
            resolution="run: python -m phasic_mpi cache copy DIR TARGET",
        )
    if options.older_than is not None and options.action != "prune":
        raise ConfigError(
            f"'cache {options.action}' removes nothing",
            problem=f"expected --older-than with 'cache prune' only, got {options.older_than:g}",
            resolution="leave --older-than out",
        )
    if options.action == "copy":  # batch jobs start one on each host
        return _copy_cache(options)
    config.require_one_process("cache")
    action = {"list": _list_cache, "verify": _verify_cache, "prune": _prune_cache}[options.action]
    return action(options)


def _list_cache(options: argparse.Namespace) -> int:
    rows: list[dict[str, Any]] = []
    for path in store.all_segments(options.directory):
        status = path.stat()
        facts: dict[str, Any]
        try:
            entries = segment.read_entries(path)
            facts = {
                "traces": len(entries),
                "vertices": sum(entry.n_vertices for entry in entries),
                "entries": sum(entry.n_entries for entry in entries),
            }
        except StoreError:
            facts = {"damaged": True}
        rows.append(
            {"file": str(path), "bytes": status.st_size, "written": status.st_mtime} | facts
        )
    if options.format == "json":
        print_json({"directory": str(options.directory), "segments": rows})
        return 0
    table = Table(f"Cache {options.directory}", "segment", "traces", "nnz(L+U)", "size", "written")
    for row in rows:
        path = Path(row["file"])
        table.add(
            f"{path.parent.name}/{path.name[:12]}...",
            f"{row['traces']:,}" if "traces" in row else "damaged",
            f"{row['entries']:,}" if "entries" in row else "",
            size(row["bytes"]),
            time.strftime("%Y-%m-%d %H:%M", time.localtime(row["written"])),
        )
    table.add(
        f"{len(rows):,} segments",
        f"{sum(row.get('traces', 0) for row in rows):,}",
        f"{sum(row.get('entries', 0) for row in rows):,}",
        size(sum(row["bytes"] for row in rows)),
        "",
    )
    print_tables(table)
    return 0


def _verify_cache(options: argparse.Namespace) -> int:
    paths = store.all_segments(options.directory)
    damaged = {}
    for path in paths:
        try:
            segment.read(path)
        except StoreError as exc:
            damaged[str(path)] = exc.problem
    if options.format == "json":
        print_json({"segments": len(paths), "damaged": damaged})
    else:
        table = Table(f"Cache {options.directory}", "segment", "problem")
        for name, problem in damaged.items():
            table.add(name, problem)
        table.add(f"{len(paths):,} verified", f"{len(damaged):,} damaged")
        print_tables(table)
    return 1 if damaged else 0


def _prune_cache(options: argparse.Namespace) -> int:
    before = None
    if options.older_than is not None:
        before = time.time() - options.older_than * _DAY if options.older_than else math.inf
    removed, n_bytes = store.prune(options.directory, before=before)
    if options.format == "json":
        print_json({"removed": list(map(str, removed)), "bytes": n_bytes})
    else:
        table = Table(f"Cache {options.directory}", "", "")
        table.add("files removed", f"{len(removed):,}")
        table.add("bytes freed", size(n_bytes))
        print_tables(table)
    return 0


def _copy_cache(options: argparse.Namespace) -> int:
    copied = store.copy(options.directory, options.target)
    n_bytes = sum(path.stat().st_size for path in copied)
    if options.format == "json":
        print_json({"copied": list(map(str, copied)), "bytes": n_bytes})
    else:
        log.get_logger().info(
            "%s: %d segments (%s) that were not in %s",
            options.directory,
            len(copied),
            size(n_bytes),
            options.target,
        )
    return 0


def doctor(options: argparse.Namespace) -> int:
    """Says whether this machine is fit to run; see :mod:`phasic_mpi.doctor`."""
    with mpi.open_ranks() as comm:
        log.configure(options.log_level, rank=comm.rank, size=comm.size)
        findings = examine(comm)
        if comm.rank == 0:
            if options.format == "json":
                print_json({"findings": [vars(finding) for finding in findings]})
            else:
                print_tables(findings_table(findings))
    return 0 if all(finding.fit for finding in findings) else 1
