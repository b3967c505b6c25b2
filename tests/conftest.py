"""Tests under ``tests/mpi`` need ranks: ``tests/test_mpi.py`` starts them under mpirun."""

from collections.abc import Callable, Iterator

import pytest


def pytest_ignore_collect(collection_path, config):
    if collection_path.name == "mpi" and not config.getoption("--with-mpi"):
        return True
    return None


@pytest.fixture
def untouched_logger() -> Iterator[None]:
    """The program sets the package's logger up for itself; tests after it want it as it was."""
    from phasic_mpi import log

    logger = log.get_logger()
    before = logger.handlers[:], logger.propagate, logger.level
    yield
    logger.handlers[:], logger.propagate = before[:2]
    logger.setLevel(before[2])


@pytest.fixture(scope="module")
def float64() -> Iterator[None]:
    """JAX in double precision."""
    import jax

    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", before)


@pytest.fixture
def use_float32(float64: None) -> Iterator[Callable[[], None]]:  # noqa: ARG001
    """Puts JAX into single precision for the rest of a test."""
    import jax

    yield lambda: jax.config.update("jax_enable_x64", False)
    jax.config.update("jax_enable_x64", True)
