"""Readers that do what no reader may, to see whether it is noticed."""

import ctypes
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tests.fuzz import checks, examples


def crash(_kind: str, _path: Path) -> Iterator[str]:
    os.kill(os.getpid(), signal.SIGSEGV)
    yield from ()


def compute_for_ever(_kind: str, _path: Path) -> Iterator[str]:
    while True:
        pass


def wait_for_ever(_kind: str, _path: Path) -> Iterator[str]:
    while True:
        time.sleep(1)


def raise_another_error(_kind: str, path: Path) -> Iterator[str]:
    raise KeyError(path)


def accept_an_edge_to_nowhere(_kind: str, _path: Path) -> Iterator[str]:
    graph = examples.graphs()[3]
    object.__setattr__(graph, "edge_target", graph.edge_target + np.int32(1000))
    return checks.graph_faults(graph)


def fill_the_memory(_kind: str, _path: Path) -> Iterator[str]:
    b"1" * (400 << 20)
    yield from ()


def write_beyond_the_end(_kind: str, _path: Path) -> Iterator[str]:
    target = np.zeros(100, dtype=np.uint8)
    ctypes.memset(target.ctypes.data, 1, 101)
    yield from ()
