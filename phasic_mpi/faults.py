"""Faults that tests ask for: where ranks can be made to fail, in every stage.

That is after the local work of a stage, and where recording begins. The variable
``PHASIC_MPI_FAULT`` holds ``STAGE:RANK[,RANK...]:KIND``. A run that has it cannot succeed: one that
its fault does not end is refused at its own end.
"""

from __future__ import annotations

import errno
import os
import re
import signal
from typing import NamedTuple

from phasic_mpi import config
from phasic_mpi.errors import ConfigError


class InjectedError(Exception):
    """Stands for a bug."""


class Fault(NamedTuple):
    """What is to happen.

    Attributes:
        stage: Name of the stage.
        ranks: Ranks that fail.
        kind: ``bug``, ``memory`` and ``disk`` raise, ``kill`` and ``stop`` send the signal.
    """

    stage: str
    ranks: frozenset[int]
    kind: str

    def happen(self) -> None:
        """Fails in the way that is asked for."""
        match self.kind:
            case "bug":
                raise InjectedError(f"injected into the stage '{self.stage}'")
            case "memory":
                raise MemoryError(f"injected into the stage '{self.stage}'")
            case "disk":
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), f"/injected/{self.stage}")
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "stop":
                os.kill(os.getpid(), signal.SIGSTOP)


KINDS = ("bug", "memory", "disk", "kill", "stop")

_FORM = re.compile(rf"(?P<stage>\w+):(?P<ranks>\d+(,\d+)*):(?P<kind>{'|'.join(KINDS)})")


def requested() -> Fault | None:
    """The fault that the environment asks for.

    Raises:
        ConfigError: It asks for something else.
    """
    text = config.fault()
    if text is None:
        return None
    found = _FORM.fullmatch(text)
    if found is None:
        raise ConfigError(
            f"The variable {config.FAULT_VARIABLE} is for tests",
            problem=f"expected STAGE:RANK[,RANK...]:KIND with a KIND of {', '.join(KINDS)}, got "
            f"{text!r}",
            resolution="unset it",
        )
    return Fault(found["stage"], frozenset(map(int, found["ranks"].split(","))), found["kind"])


def point(stage: str, rank: int) -> None:
    """Where a stage can be made to fail."""
    fault = requested()
    if fault is not None and stage == fault.stage and rank in fault.ranks:
        fault.happen()


def require_none() -> None:
    """Refuses to succeed if a fault is asked for.

    Raises:
        ConfigError: One is, and has not happened.
    """
    fault = requested()
    if fault is not None:
        raise ConfigError(
            "The fault that is asked for has not happened",
            problem=f"expected the stage '{fault.stage}' on the ranks {sorted(fault.ranks)}, but "
            "all has been done without it",
            resolution=f"unset {config.FAULT_VARIABLE}, which is for tests",
        )
