"""Ranks agree after each test: one that fails alone must not leave the others waiting."""

import json
import os
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from mpi4py import MPI

from phasic_mpi import comm as mpi
from phasic_mpi.comm import Comm

# A rank that comes this much later than the others has hung.
DEADLINE_SECONDS = 60

_AGREEMENT = MPI.COMM_WORLD.Dup()


@pytest.fixture(scope="session")
def comm() -> Iterator[Comm]:
    """All ranks."""
    with mpi.open_ranks() as ranks:
        yield ranks


@pytest.fixture
def shared_path(comm: Comm, tmp_path: Path) -> Path:
    """One empty directory, the same on all ranks."""
    return Path(mpi.share(comm, str(tmp_path), str))


_OUTCOMES: Counter[str] = Counter()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    outcome = yield
    report = outcome.get_result()
    if report.when != "call":
        _OUTCOMES["skipped"] += report.skipped
        return
    n_failed = np.zeros(1, np.int32)
    request = _AGREEMENT.Iallreduce(np.array([report.failed], np.int32), n_failed)
    begin = time.monotonic()
    while not request.Test():
        if time.monotonic() - begin > DEADLINE_SECONDS:
            print(f"{item.nodeid}: other ranks do not come to its end", flush=True)
            print(report.longreprtext, flush=True)
            MPI.COMM_WORLD.Abort(3)
        time.sleep(1e-3)
    if n_failed[0] and report.passed:
        report.outcome = "failed"
        report.longrepr = f"failed on {n_failed[0]} other ranks"
    _OUTCOMES[report.outcome] += 1


def pytest_sessionfinish():
    """Rank 0 says in one line, which no other rank can tear, what came of the tests everywhere."""
    everyone = _AGREEMENT.allgather(dict(_OUTCOMES))
    if _AGREEMENT.rank == 0:
        os.write(1, f"\noutcomes: {json.dumps(everyone)}\n".encode())
