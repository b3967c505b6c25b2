"""Runs the program with a fault: ``python faulty_run.py bug|slow|crash DIRECTORY [OPTIONS]``.

``bug`` raises on rank 1 outside of any agreement. ``slow`` records block by block with pauses; each
rank then writes its process number and, after each commit, the keys it has committed. ``crash``
reads ``graph.h5`` in the directory, on which HDF5 crashes.
"""

import os
import sys
import time
from pathlib import Path

from phasic_mpi import cli, commands, pipeline, user_hdf5
from phasic_mpi.models import build_model
from phasic_mpi.store import TraceStore
from tests import children

PAUSE_SECONDS = 0.15


def fail_on_rank_1() -> None:
    share = pipeline.mpi.share

    def broken(comm, value, kind):
        if comm.rank == 1:
            raise ZeroDivisionError("a bug")
        return share(comm, value, kind)

    pipeline.mpi.share = broken


def slow_down(directory: Path) -> None:
    keep = TraceStore.keep
    pipeline.BATCH_SECONDS = 0.0

    def keep_slowly(self, traces):
        rank = int(self._own.name.removeprefix("rank-"))
        announce = directory / f".pid.{rank}"
        announce.write_text(str(os.getpid()))
        announce.rename(directory / f"pid.{rank}")
        time.sleep(PAUSE_SECONDS)
        keep(self, traces)
        with (directory / f"kept.{rank}").open("a") as file:
            file.writelines(f"{trace.key}\n" for trace in traces)

    TraceStore.keep = keep_slowly


def main() -> int:
    fault, directory = sys.argv[1], Path(sys.argv[2])
    if fault == "crash":
        user_hdf5._PROGRAM = children.program(children.CRASHES)
        return cli.main(["run", str(directory / "graph.h5")])
    if fault == "bug":
        fail_on_rank_1()
    else:
        slow_down(directory)
    commands._loader = lambda _: lambda: build_model("structured-coalescent", n=9, islands=3)
    options = ["--cache", str(directory / "cache"), "--strategy", "sequential", "--min-size", "1"]
    options += ["--deadline", "3", *sys.argv[3:]]
    return cli.main(["run", *options])


if __name__ == "__main__":
    sys.exit(main())
