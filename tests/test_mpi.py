"""Runs ``tests/mpi`` under mpirun, and fails if any of it was skipped or ran at another size."""

import json
import re

import pytest

from tests.launch import ROOT, launch


def run_mpi_tests(path: str, n_ranks: int, timeout: float) -> None:
    options = ["--with-mpi", "-m", "mpi", "-q", "-n", "0", "-p", "no:cacheprovider"]
    done = launch(["-m", "pytest", *options, path], n_ranks=n_ranks, timeout=timeout, cwd=ROOT)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    (line,) = re.findall(r"outcomes: (\[.*\])", done.stdout)
    outcomes = json.loads(line)
    assert len(outcomes) == n_ranks
    assert outcomes[0]["passed"] > 0
    expected = {"passed": outcomes[0]["passed"]}
    assert [{k: n for k, n in own.items() if n} for own in outcomes] == [expected] * n_ranks


@pytest.mark.parametrize("n_ranks", [1, 2, 3])
def test_the_tests_of_ranks_pass(n_ranks: int) -> None:
    run_mpi_tests("tests/mpi", n_ranks, timeout=300)


def test_every_stage_fails_together_on_eight_ranks() -> None:
    run_mpi_tests("tests/mpi/test_failures.py", 8, timeout=300)
