"""Starts programs under mpirun, the way users do, with a time limit: a hang is a failure."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent

# Set by the launcher of a parent: a child that sees them would take itself for one of its ranks.
_LAUNCHER_PREFIXES = ("PMI_", "PMIX_", "OMPI_COMM_", "HYDRA_", "MPI_LOCAL", "SLURM_STEP_")

# Open MPI starts no more ranks than there are cores, unless it is told to.
_OVERSUBSCRIBE = {"PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe"}


# Becomes the program that follows, but ends with its parent (prctl 1 is PR_SET_PDEATHSIG): tests
# that are killed must not leave ranks behind, which would spin for ever. A `preexec_fn` would have
# the parent fork, which JAX's threads do not survive.
_ENDS_WITH_PARENT = (
    "import ctypes, os, signal, sys; ctypes.CDLL(None).prctl(1, int(signal.SIGTERM)); "
    "os.execvp(sys.argv[1], sys.argv[1:])"
)


def mpirun() -> str:
    """The launcher of the environment's own MPI, or the one on the path."""
    beside = Path(sys.executable).parent / "mpirun"
    found = str(beside) if beside.exists() else shutil.which("mpirun")
    assert found, "no mpirun: install the extra [mpich] or load the module of an MPI"
    return found


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment without what a launcher has put there."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(_LAUNCHER_PREFIXES)}
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**kept, **_OVERSUBSCRIBE, "PYTHONPATH": path, **(extra or {})}


def start(
    arguments: Sequence[object],
    *,
    n_ranks: int | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> subprocess.Popen[str]:
    """Starts ``python ARGUMENTS``, under mpirun if ``n_ranks`` is given, in a process group."""
    guard = [sys.executable, "-S", "-c", _ENDS_WITH_PARENT]
    launcher = [] if n_ranks is None else [mpirun(), "-n", str(n_ranks)]
    return subprocess.Popen(
        [*guard, *launcher, sys.executable, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=clean_environment(env),
        cwd=cwd,
        start_new_session=True,
    )


def finish(process: subprocess.Popen[str], timeout: float) -> subprocess.CompletedProcess[str]:
    """Waits for a program that :func:`start` has started; ends it and fails if it takes longer."""
    try:
        stdout, stderr = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        stdout, stderr = process.communicate()
        raise AssertionError(f"hangs after {timeout} s\n{stdout}\n{stderr}") from None
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def launch(
    arguments: Sequence[object],
    *,
    n_ranks: int | None = None,
    timeout: float = 60,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """Runs ``python ARGUMENTS`` to its end; see :func:`start`."""
    return finish(start(arguments, n_ranks=n_ranks, env=env, cwd=cwd), timeout)


def phasic_mpi(
    *arguments: object,
    n_ranks: int | None = None,
    timeout: float = 60,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """Runs the program, as ``python -m phasic_mpi ARGUMENTS``."""
    return launch(
        ["-m", "phasic_mpi", *arguments], n_ranks=n_ranks, timeout=timeout, env=env, cwd=cwd
    )
