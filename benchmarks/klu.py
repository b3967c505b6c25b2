"""KLU's refactorisation and solve without Python in between: ctypes on the library of kvxopt."""

from __future__ import annotations

import ctypes
import importlib.util
from pathlib import Path

import numpy as np
from scipy import sparse


class _Common(ctypes.Structure):
    """The head of SuiteSparse's ``klu_common``; ``rest`` is more than what follows."""

    _fields_ = (
        ("tol", ctypes.c_double),
        ("memgrow", ctypes.c_double),
        ("initmem_amd", ctypes.c_double),
        ("initmem", ctypes.c_double),
        ("maxwork", ctypes.c_double),
        ("btf", ctypes.c_int),
        ("ordering", ctypes.c_int),
        ("scale", ctypes.c_int),
        ("rest", ctypes.c_char * 512),
    )


def _library() -> ctypes.CDLL:
    found = importlib.util.find_spec("kvxopt")
    if found is None or found.origin is None:
        raise ImportError("kvxopt is missing: pip install -r benchmarks/requirements-peers.txt")
    (path,) = (Path(found.origin).parents[1] / "kvxopt.libs").glob("libklu-*.so*")
    library = ctypes.CDLL(str(path))
    library.klu_analyze.restype = ctypes.c_void_p
    library.klu_factor.restype = ctypes.c_void_p
    return library


class Klu:
    """A matrix, analysed and factored once (BTF, AMD, no scaling, diagonal pivots)."""

    def __init__(self, matrix: sparse.csc_matrix) -> None:
        matrix.sort_indices()
        self._n = matrix.shape[0]
        self._arrays = (
            matrix.indptr.astype(np.int32),
            matrix.indices.astype(np.int32),
            matrix.data.astype(np.float64),
        )
        self._pointers = [array.ctypes.data_as(ctypes.c_void_p) for array in self._arrays]
        self._library = _library()
        self._common = _Common()
        common = ctypes.byref(self._common)
        self._library.klu_defaults(common)
        self._common.scale = -1
        self._common.tol = 1e-12
        row_ptr, col, values = self._pointers
        self._symbolic = ctypes.c_void_p(self._library.klu_analyze(self._n, row_ptr, col, common))
        self._numeric = ctypes.c_void_p(
            self._library.klu_factor(row_ptr, col, values, self._symbolic, common)
        )

        self.x = np.ones(self._n)
        self._right = self.x.ctypes.data_as(ctypes.c_void_p)

    def refactor_and_solve(self) -> None:
        """Factors again with the pivots it has, and replaces ``x`` by the solution for it."""
        common = ctypes.byref(self._common)
        if not self._library.klu_refactor(*self._pointers, self._symbolic, self._numeric, common):
            raise ArithmeticError("klu_refactor failed")
        self._library.klu_solve(self._symbolic, self._numeric, self._n, 1, self._right, common)
