"""Every stage, made to fail on the first, the last and two ranks: all ranks raise the same."""

import hashlib
import time
from pathlib import Path

import numpy as np
import pytest
from mpi4py import MPI

from phasic_mpi import comm as mpi
from phasic_mpi import config, faults, pipeline
from phasic_mpi.comm import Comm
from phasic_mpi.errors import StageError
from phasic_mpi.models import build_model
from phasic_mpi.pipeline import Settings
from tests.faults import FIRST_STAGES, GATHERING_STAGES

pytestmark = pytest.mark.mpi

# Ranks are started and killed in much less; machines that are shared are slow now and then.
LIMIT_SECONDS = 5.0

# One rank gathers nothing.
ALONE = MPI.COMM_WORLD.size == 1

STAGES = [
    stage
    for stage in (*FIRST_STAGES, *GATHERING_STAGES)
    if not ALONE or stage not in ("pack", "unpack")
]


def failing_ranks(which: str, size: int) -> set[int]:
    return {"first": {0}, "last": {size - 1}, "two": {size // 2, size - 1}}[which]


def stages_entered(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A list that grows by each stage that reaches its fault point."""
    entered = []
    point = faults.point

    def noted(stage: str, rank: int) -> None:
        entered.append(stage)
        point(stage, rank)

    monkeypatch.setattr(faults, "point", noted)
    return entered


@pytest.mark.parametrize("which", ["first", "last", "two"])
@pytest.mark.parametrize("stage", STAGES)
def test_worker_error_propagates(
    comm: Comm, shared_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str, which: str
) -> None:
    graph = build_model("structured-coalescent", n=7, islands=2)
    ranks = failing_ranks(which, comm.size)
    entered = stages_entered(monkeypatch)
    monkeypatch.setenv(config.FAULT_VARIABLE, f"{stage}:{','.join(map(str, ranks))}:bug")
    settings = Settings(strategy="sequential", cache_dir=shared_path / "cache", min_size=1)
    begin = time.monotonic()
    with pytest.raises(StageError, match=f"injected into the stage '{stage}'") as caught:
        pipeline.run(comm, lambda: graph, settings, theta=np.array([[1.0, 0.5]]))
    assert time.monotonic() - begin < LIMIT_SECONDS
    assert stage in entered
    later = STAGES[STAGES.index("record" if stage == "send" else stage) + 1 :]
    assert not set(entered) & set(later)
    assert set(caught.value.reports) == ranks
    assert caught.value.stage == stage
    digest = hashlib.sha256(str(caught.value).encode()).hexdigest()
    assert len(set(mpi.collect(comm, digest))) == 1


def test_the_list_of_stages_is_that_of_a_run(
    comm: Comm, shared_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = build_model("structured-coalescent", n=7, islands=2)
    entered = stages_entered(monkeypatch)
    settings = Settings(strategy="sequential", cache_dir=shared_path / "cache", min_size=1)
    pipeline.run(comm, lambda: graph, settings, theta=np.array([[1.0, 0.5]]))
    # Sending and recording begin together.
    order = sorted(dict.fromkeys(entered), key=lambda stage: stage == "send")
    assert order == sorted(STAGES, key=lambda stage: stage == "send")
