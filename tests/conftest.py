"""Tests under ``tests/mpi`` need ranks: ``tests/test_mpi.py`` starts them under mpirun."""


def pytest_ignore_collect(collection_path, config):
    if collection_path.name == "mpi" and not config.getoption("--with-mpi"):
        return True
    return None
