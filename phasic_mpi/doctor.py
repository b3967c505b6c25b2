"""Whether this machine, MPI and launcher are fit to run, finding by finding."""

from __future__ import annotations

import os
import platform
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from phasic_mpi import comm as mpi
from phasic_mpi import config, hdf5
from phasic_mpi.comm import Comm
from phasic_mpi.display import Table, size
from phasic_mpi.errors import PhasicMpiError
from phasic_mpi.models import build_model
from phasic_mpi.pipeline import Settings, run


@dataclass(frozen=True)
class Finding:
    """One thing that was examined.

    Attributes:
        name: What it is.
        fit: Whether a run can go on with it.
        detail: What was found, or what is wrong and what to do.
    """

    name: str
    fit: bool
    detail: str


def examine(comm: Comm) -> list[Finding]:
    """Collective. Examines everything that a run needs; equal on every rank."""
    n_sharing = mpi.count_equal_here(comm, config.core_mask())
    local = [
        _finding("Python", lambda: f"{platform.python_version()} on {platform.machine()}"),
        _finding("compiled core", config.core_checksum),
        _finding("threads per rank", lambda: _threads(n_sharing)),
        _finding("JAX", _jax),
        _finding("HDF5", hdf5.library_version),
        _finding("memory available", _memory),
        _finding("cache directory", _cache_directory),
    ]
    findings = [Finding("MPI", True, mpi.library_version()), *_over_ranks(comm, local)]
    hosts = mpi.collect(comm, comm.host)
    findings.insert(1, Finding("ranks", True, f"{comm.size} on {len(set(hosts))} hosts"))
    findings.append(_same_code(comm))
    findings.append(_trial(comm))
    return findings


def findings_table(findings: list[Finding]) -> Table:
    """The findings as a table."""
    fit = all(finding.fit for finding in findings)
    out = Table(
        "This machine is fit to run" if fit else "This machine is not fit to run", "", "", ""
    )
    for finding in findings:
        out.add("ok" if finding.fit else "FAILED", finding.name, finding.detail)
    return out


def _finding(name: str, examine_it: Callable[[], str]) -> Finding:
    try:
        return Finding(name, True, examine_it())
    except Exception as exc:  # whatever it is, it is what the user came to learn
        return Finding(name, False, f"{type(exc).__name__}: {exc}")


def _over_ranks(comm: Comm, local: list[Finding]) -> list[Finding]:
    """Collective. One finding per name: what rank 0 found, or what the first bad rank found."""
    everyone = mpi.collect(comm, [[finding.fit, finding.detail] for finding in local])
    merged = []
    for index, own in enumerate(local):
        reports = [(rank, *found[index]) for rank, found in enumerate(everyone)]
        bad = [f"rank {rank}: {detail}" for rank, fit, detail in reports if not fit]
        merged.append(Finding(own.name, not bad, bad[0] if bad else str(reports[0][2])))
    return merged


def _threads(n_sharing: int) -> str:
    n_threads = config.threads_per_rank(n_sharing)
    config.prepare_threads(n_threads)
    return f"{n_threads} ({len(config.core_mask())} cores, shared by {n_sharing} ranks)"


def _jax() -> str:
    from phasic_mpi import ffi

    version = config.code_facts()["jax"]
    return f"{version}, {len(ffi.cpu_devices())} CPU devices in this process"


def _memory() -> str:
    available = config.available_memory()
    return "not stated by this system" if available is None else size(available)


def _cache_directory() -> str:
    directory = config.default_cache_dir()
    existing = next(path for path in (directory, *directory.parents) if path.exists())
    if not os.access(existing, os.W_OK | os.X_OK):
        raise PermissionError(f"{existing} cannot be written; give another one with --cache")
    return f"{directory} (default)"


def _same_code(comm: Comm) -> Finding:
    """Collective."""
    try:
        mpi.require_same_code(comm, config.code_facts())
    except PhasicMpiError as exc:
        return Finding("same code on all ranks", False, exc.problem)
    return Finding("same code on all ranks", True, "yes")


def _trial(comm: Comm) -> Finding:
    """Collective. Records a small model from end to end."""
    with tempfile.TemporaryDirectory() as directory:
        settings = Settings(cache_dir=Path(directory), strategy="sequential")
        # Each rank has a directory of its own: they need not share a file system.
        try:
            result = run(comm, lambda: build_model("structured-coalescent", n=4), settings)
        except PhasicMpiError as exc:
            return Finding("trial run", False, str(exc))
    n_recorded = mpi.share(comm, result.report.n_recorded, int)
    return Finding("trial run", True, f"{n_recorded} blocks recorded")
