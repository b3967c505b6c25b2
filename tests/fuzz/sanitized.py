"""The package with its core under sanitizers, built beside the ordinary one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

# Python leaves memory to the system when it ends, and a size that no machine has is no error but a
# null pointer, as without sanitizers. Freed memory is kept for a while, so that its use is noticed.
_OPTIONS = {
    "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1:quarantine_size_mb=4",
    "UBSAN_OPTIONS": "print_stacktrace=1",
}
_LIBRARIES = ("libasan.so", "libubsan.so", "libstdc++.so")


def build_package(directory: Path) -> Path:
    """Builds the package under AddressSanitizer and UBSan; returns the folder to import it from."""
    package = directory / "lib"
    command = ["setup.py", "build", "--build-base", directory / "build", "--build-lib", package]
    done = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env=os.environ | {"PHASIC_MPI_CORE": "sanitized"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return package


def environment(package: Path) -> dict[str, str]:
    """Environment of a Python that imports the package from this folder."""
    preloaded = " ".join(map(_library, _LIBRARIES))
    path = f"{package}{os.pathsep}{ROOT}"
    return os.environ | _OPTIONS | {"LD_PRELOAD": preloaded, "PYTHONPATH": path}


def _library(name: str) -> str:
    """Path of a library of the compiler; Python itself is not linked with it."""
    command = ["gcc", f"-print-file-name={name}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
