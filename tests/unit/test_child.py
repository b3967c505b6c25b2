"""A child that works without end is ended by the limit of its time of a processor."""

import os
import sys

import pytest

from phasic_mpi.child import Child, ChildFailure


def test_a_child_may_take_so_much_time_of_a_processor_and_no_more() -> None:
    command = [sys.executable, "-I", "-S", "-c", "while True: pass"]
    limits = {"memory_bytes": 1 << 30, "cpu_seconds": 1}
    with (
        open(os.devnull, "rb") as file,
        Child(command, descriptor=file.fileno(), **limits) as child,
    ):
        child.allow(120)
        with pytest.raises(ChildFailure, match="ended by SIGXCPU: it may use 1 s of a processor"):
            child.receive(memoryview(bytearray(1)))
