"""Builds the compiled core ``phasic_mpi._core``; all metadata is in ``pyproject.toml``."""

import os
import platform
import sysconfig
from pathlib import Path

import jax.ffi
import pybind11
from pybind11.setup_helpers import ParallelCompile, Pybind11Extension
from setuptools import setup

SOURCES = sorted(str(path) for path in Path("src_cpp").glob("*.cpp"))
HEADERS = sorted(str(path) for path in Path("src_cpp").glob("*.hpp"))


def is_outdated(compiled: str, source: str) -> bool:
    """Whether the source or any header is newer than what it was compiled to."""
    newest = max(Path(path).stat().st_mtime for path in (source, *HEADERS))
    return not Path(compiled).exists() or Path(compiled).stat().st_mtime <= newest


ParallelCompile("PHASIC_MPI_BUILD_JOBS", default=0, needs_recompile=is_outdated).install()

SANITIZE = "-fsanitize=address,undefined"

# How the core is compiled and linked: as users have it; so that it ends the process where it does
# wrong (tests/fuzz); so that it counts how often each of its lines runs (tests/line_coverage.py).
CORES = {
    "optimised": (["-O3", "-g0"], []),
    "sanitized": (
        [
            "-O1",
            "-g1",
            "-fno-omit-frame-pointer",
            SANITIZE,
            "-fno-sanitize-recover=all",
            "-D_GLIBCXX_ASSERTIONS",
        ],
        [SANITIZE],
    ),
    "counting": (["-Og", "-g0", "--coverage", "-fprofile-update=atomic"], ["--coverage"]),
}

CORE = os.environ.get("PHASIC_MPI_CORE", "optimised")
if CORE not in CORES:
    raise SystemExit(f"PHASIC_MPI_CORE: expected one of {', '.join(CORES)}, got {CORE!r}")
COMPILE, LINK = CORES[CORE]

# Kernels pick their instructions when the program runs, and would mix some that the compiler picks.
MACHINE = ["-march=x86-64"] if platform.machine() == "x86_64" else []

# Headers of other projects: as system headers they raise no warnings.
SYSTEM_INCLUDES = (jax.ffi.include_dir(), pybind11.get_include(), sysconfig.get_path("include"))

setup(
    ext_modules=[
        Pybind11Extension(
            "phasic_mpi._core",
            SOURCES,
            depends=HEADERS,
            cxx_std=20,
            extra_compile_args=[
                *(f"-isystem{path}" for path in SYSTEM_INCLUDES),
                *COMPILE,
                *MACHINE,
                "-Wall",
                "-Wextra",
                "-Wpedantic",
                "-Wshadow",
                "-Wconversion",
                "-Werror",
                # GTH promises every component to a few ulp: no reassociation, no reciprocal tricks.
                "-ffp-contract=off",
                "-fno-fast-math",
            ],
            extra_link_args=LINK,
        )
    ]
)
