"""Builds the compiled core ``phasic_mpi._core``; all metadata is in ``pyproject.toml``."""

import sysconfig
from pathlib import Path

import jax.ffi
import pybind11
from pybind11.setup_helpers import ParallelCompile, Pybind11Extension, naive_recompile
from setuptools import setup

ParallelCompile("PHASIC_MPI_BUILD_JOBS", default=0, needs_recompile=naive_recompile).install()

SOURCES = sorted(str(path) for path in Path("src_cpp").glob("*.cpp"))
HEADERS = sorted(str(path) for path in Path("src_cpp").glob("*.hpp"))

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
                "-O3",
                "-g0",
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
        )
    ]
)
