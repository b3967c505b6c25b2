"""Line coverage of the package and of its core: ``python -m tests.line_coverage``.

A copy of the repository gets a core that counts how often each of its lines runs. Tests run there
under coverage.py, with all processes and ranks that they start. What was not reached is printed,
file by file; less than 90 % of the lines of either is a failure.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from tests.launch import ROOT, clean_environment

RANKS = "tests/test_mpi.py::test_the_tests_of_ranks_pass[2]"
N_GROUPS = 10

# Half of the time of the tests, and hardly a line that the others do not reach: they compare digits
# with those of slow arithmetic, compute much, or start batch scripts.
LEFT_OUT = (
    "central_differences",
    "compiled_backend",
    "leave_no_bit_different",
    "matrix_exponentials",
    "quantiles_invert",
    "relative_1e_12",
    "stiff_graphs",
    "test_jobs",
)

# Not in the workers of xdist, which end without saving what was counted.
PYTEST = (
    *("-m", "coverage", "run", "-m", "pytest", "-n", "0", "-q"),
    *("-k", " and ".join(f"not {name}" for name in LEFT_OUT)),
)
REPORTS = (
    ("coverage", "report", "--show-missing", "--skip-covered", "--fail-under=90"),
    # Lines of templates count once; inner loops run more often than gcovr believes.
    (
        *("gcovr", "--filter=src_cpp/", "--merge-lines", "--fail-under-line=90"),
        *("--gcov-suspicious-hits-threshold=0", "build"),
    ),
)


def main() -> int:
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name) / ROOT.name
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".*", "*.so", "build", "dist"))
        run = partial(_run, copy)
        run("setup.py", "--quiet", "build_ext", "--inplace").check_returncode()
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as cores:
            for done in cores.map(lambda tests: run(*PYTEST, *tests), _groups(copy)):
                done.check_returncode()
        run("-m", "coverage", "combine", "--quiet").check_returncode()
        return max(run("-m", *report).returncode for report in REPORTS)


def _groups(copy: Path) -> list[list[str]]:
    """Tests of one process each. More of them than cores, so that the cores end together."""
    files = sorted(map(str, (copy / "tests" / "unit").rglob("test_*.py")))
    return [[RANKS], *(files[first::N_GROUPS] for first in range(N_GROUPS))]


def _run(copy: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    environment = clean_environment({"PHASIC_MPI_CORE": "counting"})
    environment["PYTHONPATH"] = f"{copy}{os.pathsep}{environment['PYTHONPATH']}"
    return subprocess.run([sys.executable, *arguments], cwd=copy, env=environment, check=False)


if __name__ == "__main__":
    sys.exit(main())
