"""What the environment says, and what is made of it."""

import hashlib
import os
import platform
from pathlib import Path

import numpy as np
import pytest

from phasic_mpi import _core, config
from phasic_mpi.errors import ConfigError

THREADS = ("NPROC", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
LAUNCHERS = (
    *("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS"),
    *("PMI_RANK", "OMPI_COMM_WORLD_RANK", "PMIX_RANK"),
)


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the variables of a launcher or a user; what a test sets is taken back."""
    monkeypatch.setattr(config, "_set_here", {})
    for name in (*THREADS, *LAUNCHERS, "JAX_PLATFORMS", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def give_cores(monkeypatch: pytest.MonkeyPatch, n_cores: int) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(n_cores)))


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("PMI_SIZE", "4", ("PMI_SIZE", 4)),
        ("SLURM_STEP_NUM_TASKS", "8", ("SLURM_STEP_NUM_TASKS", 8)),
        ("OMPI_COMM_WORLD_SIZE", "16", ("OMPI_COMM_WORLD_SIZE", 16)),
        ("PMI_SIZE", "", None),
        ("PMI_SIZE", "many", None),
        ("PMI_SIZE", "\N{SUPERSCRIPT TWO}", None),
        ("SLURM_NTASKS", "8", None),
    ],
)
def test_the_size_is_taken_from_the_launcher_and_not_from_the_batch_system(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, expected: tuple[str, int] | None
) -> None:
    monkeypatch.setenv(variable, value)
    assert config.launcher_size() == expected


def test_without_a_launcher_there_is_no_size_and_the_rank_is_0() -> None:
    assert config.launcher_size() is None
    assert config.launcher_rank() == 0


@pytest.mark.parametrize("variable", ["PMI_RANK", "OMPI_COMM_WORLD_RANK", "PMIX_RANK"])
@pytest.mark.parametrize(("value", "rank"), [("3", 3), ("0", 0), ("x", 0), ("-1", 0)])
def test_the_rank_is_taken_from_the_launcher(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, rank: int
) -> None:
    monkeypatch.setenv(variable, value)
    assert config.launcher_rank() == rank


def test_caches_are_in_the_users_cache_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/somewhere")
    assert config.default_cache_dir() == Path("/somewhere/.cache/phasic_mpi")
    monkeypatch.setenv("XDG_CACHE_HOME", "/scratch/me")
    assert config.default_cache_dir() == Path("/scratch/me/phasic_mpi")


@pytest.mark.parametrize("value", ["", "relative/path"])
def test_a_cache_home_that_is_not_absolute_is_ignored(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("HOME", "/somewhere")
    monkeypatch.setenv("XDG_CACHE_HOME", value)
    assert config.default_cache_dir() == Path("/somewhere/.cache/phasic_mpi")


@pytest.mark.parametrize(
    ("mask", "n_sharing", "threads"),
    [
        (64, 1, 64),  # alone on the host, or pinned to cores of its own
        (64, 4, 16),  # unpinned ranks share
        (64, 5, 12),
        (2, 8, 1),  # more ranks than cores
    ],
)
def test_ranks_that_may_run_on_the_same_cores_share_them(
    monkeypatch: pytest.MonkeyPatch, mask: int, n_sharing: int, threads: int
) -> None:
    give_cores(monkeypatch, mask)
    assert config.threads_per_rank(n_sharing) == threads


def test_nproc_overrules_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    give_cores(monkeypatch, 8)
    monkeypatch.setenv("NPROC", "3")
    assert config.threads_per_rank(4) == 3


@pytest.mark.parametrize("value", ["0", "-2", "", "two", "1.5", "\N{SUPERSCRIPT TWO}"])
def test_an_nproc_that_is_no_positive_integer_is_refused(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("NPROC", value)
    with pytest.raises(ConfigError, match="NPROC to be a positive integer") as caught:
        config.threads_per_rank(1)
    assert repr(value) in caught.value.problem


def test_jax_has_as_many_threads_as_variables_say_or_else_cores(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    give_cores(monkeypatch, 12)
    assert config.threads_of_jax() == 12
    monkeypatch.setenv("NPROC", "3")
    assert config.threads_of_jax() == 3
    monkeypatch.setenv("PJRT_NPROC", "5")
    assert config.threads_of_jax() == 5
    monkeypatch.setenv("PJRT_NPROC", "many")
    with pytest.raises(ConfigError, match="PJRT_NPROC to be a positive integer, got 'many'"):
        config.threads_of_jax()


def test_libraries_are_told_their_threads_and_jax_its_platform() -> None:
    config.prepare_threads(5)
    assert [os.environ[name] for name in THREADS] == ["5", "5", "5"]
    assert os.environ["JAX_PLATFORMS"] == "cpu"


def test_threads_that_this_process_has_told_libraries_bound_nothing_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    give_cores(monkeypatch, 12)
    config.prepare_threads(5)
    assert os.environ["NPROC"] == "5"
    assert [config.threads_per_rank(n_sharing) for n_sharing in (1, 4)] == [12, 3]
    config.prepare_threads(12)
    assert os.environ["NPROC"] == "12"


def test_variables_that_are_set_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.setenv("JAX_PLATFORMS", "cuda,cpu")
    config.prepare_threads(5)
    assert [os.environ[name] for name in THREADS] == ["5", "2", "5"]
    assert os.environ["JAX_PLATFORMS"] == "cuda,cpu"


def test_code_facts_name_versions_and_the_compiled_core() -> None:
    facts = config.code_facts()
    assert facts["numpy"] == np.__version__
    assert facts["python"] == platform.python_version()
    core = hashlib.sha256(Path(_core.__file__).read_bytes()).hexdigest()
    assert core.startswith(facts["compiled core"])
    assert len(facts["compiled core"]) == 16


def test_a_library_that_is_not_installed_is_a_fact_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "_SHARED_LIBRARIES", ("numpy", "no-such-library"))
    assert config.code_facts()["no-such-library"] == "not installed"


def test_the_available_memory_is_no_more_than_the_host_has() -> None:
    available = config.available_memory()
    assert available is not None
    assert 0 <= available <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
