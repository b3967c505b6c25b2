"""Builds the compiled core ``phasic_mpi._core``; all metadata is in ``pyproject.toml``."""

import os
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

# A slow core that ends the process where it does wrong; tests/fuzz builds it.
SANITIZER = os.environ.get("PHASIC_MPI_SANITIZE", "")
if SANITIZER not in ("", "address,undefined"):
    raise SystemExit(
        f"PHASIC_MPI_SANITIZE: expected nothing or 'address,undefined', got {SANITIZER!r}"
    )

OPTIMISED = ["-O3", "-g0"]
SANITIZED = [
    "-O1",
    "-g1",
    "-fno-omit-frame-pointer",
    f"-fsanitize={SANITIZER}",
    "-fno-sanitize-recover=all",
    "-D_GLIBCXX_ASSERTIONS",
]

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
                *(SANITIZED if SANITIZER else OPTIMISED),
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
            extra_link_args=[f"-fsanitize={SANITIZER}"] if SANITIZER else [],
        )
    ]
)
