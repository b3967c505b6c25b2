"""What this process is given by its environment: the only module that reads or sets variables."""

from __future__ import annotations

import hashlib
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from phasic_mpi import _core
from phasic_mpi.errors import ConfigError

# Variables in which launchers state the number of processes they started. SLURM_NTASKS is not one:
# the batch script itself has it too. That of srun comes last: mpirun may start its own ranks within
# a step of SLURM.
_LAUNCHER_SIZES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS")
_LAUNCHER_RANKS = ("PMI_RANK", "OMPI_COMM_WORLD_RANK", "PMIX_RANK")

# Libraries that must be the same on every rank, because ranks exchange what they make.
_SHARED_LIBRARIES = (
    "phasic_mpi",
    "numpy",
    "h5py",
    "msgspec",
    "orjson",
    "pysimdjson",
    "mpi4py",
    "jax",
)

# Asks for a fault: see phasic_mpi.faults.
FAULT_VARIABLE = "PHASIC_MPI_FAULT"

# A rank that gives no sign of life for so long is taken to be stopped. Ranks that share a core with
# dozens of others, or wait for a swapped page, are silent for seconds.
DEADLINE_SECONDS = 300.0

# What a process that only computes needs of the environment: where a site keeps its libraries.
_INHERITED = ("LD_LIBRARY_PATH",)

_THREAD_VARIABLES = ("NPROC", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")

# What this process itself has set of them: nobody has asked for that.
_set_here: dict[str, str] = {}


def launcher_size() -> tuple[str, int] | None:
    """Variable and number of processes that the launcher says it started; None without one."""
    for name in _LAUNCHER_SIZES:
        text = os.environ.get(name, "")
        if text.isdecimal():
            return name, int(text)
    return None


def launcher_rank() -> int:
    """Number that the launcher gave this process; 0 without one. For use before MPI has started."""
    for name in _LAUNCHER_RANKS:
        text = os.environ.get(name, "")
        if text.isdecimal():
            return int(text)
    return 0


def require_one_process(command: str) -> None:
    """Refuses a launcher that started several processes.

    Raises:
        ConfigError: It did.
    """
    stated = launcher_size()
    if stated is not None and stated[1] > 1:
        raise ConfigError(
            f"'{command}' runs in one process",
            problem=f"expected no launcher, but {stated[0]}={stated[1]}",
            resolution=f"run it without mpirun: python -m phasic_mpi {command} ...",
        )


def default_cache_dir() -> Path:
    """Directory of the caches if none is given, by the XDG base directory specification."""
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    # The specification has relative paths ignored.
    return (base if base.is_absolute() else Path.home() / ".cache") / "phasic_mpi"


def fault() -> str | None:
    """The fault that a test asks for, if one does."""
    return os.environ.get(FAULT_VARIABLE)


def code_facts() -> dict[str, str]:
    """Versions and checksums that must agree on all ranks."""
    facts = {name: _version(name) for name in _SHARED_LIBRARIES}
    facts["python"] = platform.python_version()
    facts["compiled core"] = core_checksum()
    facts[FAULT_VARIABLE] = fault() or "not set"
    return facts


def core_checksum() -> str:
    """First 16 digits of the SHA-256 of the compiled module."""
    return hashlib.sha256(Path(_core.__file__).read_bytes()).hexdigest()[:16]


def core_mask() -> list[int]:
    """Cores that this process may run on, ascending."""
    return sorted(os.sched_getaffinity(0))


def threads_per_rank(n_sharing: int) -> int:
    """Threads that this rank may use.

    ``NPROC`` if it is set, and not by :func:`prepare_threads`, otherwise its part of the cores in
    its affinity mask.

    Args:
        n_sharing: Ranks on this host that have the same mask, this one included; 1 while the
            others wait.

    Raises:
        ConfigError: ``NPROC`` is not a positive integer.
    """
    given = os.environ.get("NPROC")
    if given is not None and given != _set_here.get("NPROC"):
        return _number_of_threads("NPROC", given)
    return max(1, len(core_mask()) // n_sharing)


def threads_of_jax() -> int:
    """Threads that JAX has on CPUs.

    ``PJRT_NPROC``, or else ``NPROC``, whoever has set it, otherwise the cores of the affinity mask.

    Raises:
        ConfigError: The variable is not a positive integer.
    """
    for name in ("PJRT_NPROC", "NPROC"):
        if name in os.environ:
            return _number_of_threads(name, os.environ[name])
    return len(core_mask())


def _number_of_threads(name: str, given: str) -> int:
    if not given.isdecimal() or int(given) < 1:
        raise ConfigError(
            "The number of threads cannot be read",
            problem=f"expected the variable {name} to be a positive integer, got {given!r}",
            resolution=f"correct or unset {name}",
        )
    return int(given)


def prepare_threads(n_threads: int) -> None:
    """Tells JAX and the numeric libraries how many threads they may start.

    Call before the first import of JAX: it starts 14 threads per rank by default. Variables that
    somebody else has set stay as they are.
    """
    for name in _THREAD_VARIABLES:
        if os.environ.get(name) == _set_here.get(name):
            os.environ[name] = _set_here[name] = str(n_threads)
    os.environ.setdefault("JAX_PLATFORMS", "cpu")


def prepare_float64() -> None:
    """Has JAX compute in double precision, unless ``JAX_ENABLE_X64`` says otherwise.

    Call before the first import of JAX.
    """
    os.environ.setdefault("JAX_ENABLE_X64", "1")


def child_environment() -> dict[str, str]:
    """The environment of a process that works for this one, on one thread, and is no rank.

    Of the variables of this process it has those that libraries are found by, so none of a
    launcher; and HDF5 loads no plugins in it.
    """
    kept = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    return kept | dict.fromkeys(_THREAD_VARIABLES, "1") | {"HDF5_PLUGIN_PRELOAD": "::"}


def available_memory() -> int | None:
    """Bytes that this process may still take; None where the system does not say.

    The least of the memory that is free on the host and what its control group (version 2) leaves.
    """
    try:
        facts = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        free = 1024 * int(facts["MemAvailable"].split()[0])
        group = Path("/proc/self/cgroup").read_text().strip().rpartition("::")[2]
    except (OSError, KeyError, ValueError):
        return None
    directory = Path("/sys/fs/cgroup", group.lstrip("/"))
    for level in (directory, *directory.parents):
        try:
            limit = int((level / "memory.max").read_text())
            used = int((level / "memory.current").read_text())
        except (OSError, ValueError):  # no limit at this level: the file is absent or says "max"
            continue
        free = min(free, max(0, limit - used))
    return free


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
