"""Runs ``tests/mpi`` under mpirun, and fails if any of it was skipped or ran at another size."""

import re

import pytest

from tests.launch import ROOT, launch


def run_mpi_tests(path: str, n_ranks: int, timeout: float) -> None:
    arguments = ["-m", "pytest", "--with-mpi", "-m", "mpi", "-q", "-p", "no:cacheprovider", path]
    done = launch(arguments, n_ranks=n_ranks, timeout=timeout, cwd=ROOT)
    summaries = re.findall(r"(?m)^(?:=+ )?(\d+ passed.*)$", done.stdout)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert len(summaries) == n_ranks, done.stdout
    assert not [line for line in summaries if "skipped" in line or "failed" in line], done.stdout


@pytest.mark.parametrize("n_ranks", [1, 2, 3])
def test_the_tests_of_ranks_pass(n_ranks: int) -> None:
    run_mpi_tests("tests/mpi", n_ranks, timeout=300)


def test_every_stage_fails_together_on_eight_ranks() -> None:
    run_mpi_tests("tests/mpi/test_failures.py", 8, timeout=300)
