"""The errors phasic_mpi raises: one root, each also the built-in type that callers expect.

Every message has four parts, so that it can be acted on without reading the code: what failed, why
(expected and actual), the context (rank, block, sizes, path) and what to do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from textwrap import indent


class PhasicMpiError(Exception):
    """Root of all errors raised on purpose by this package.

    Args:
        what: What failed, in one line without a full stop.
        problem: Why it failed, with the expected and the actual value.
        context: Where it failed: names and values such as ``{"rank": 3, "block": "4f1c09ab"}``.
        resolution: What the reader can do about it.
    """

    def __init__(
        self,
        what: str,
        *,
        problem: str,
        context: Mapping[str, object] | None = None,
        resolution: str,
    ) -> None:
        self.what = what
        self.problem = problem
        self.context = dict(context or {})
        self.resolution = resolution
        super().__init__(self._message())

    def _message(self) -> str:
        lines = [self.what, f"  Problem: {self.problem}"]
        if self.context:
            facts = ", ".join(f"{name}={value}" for name, value in self.context.items())
            lines.append(f"  Context: {facts}")
        lines.append(f"  Resolution: {self.resolution}")
        return "\n".join(lines)


class ConfigError(PhasicMpiError, ValueError):
    """An option or a setting that cannot be followed."""


class EnvironmentMismatchError(ConfigError, RuntimeError):
    """This machine, launcher or set of ranks cannot do what was asked."""


class MissingDependencyError(ConfigError, ImportError):
    """A library that the request needs is not installed or does not load."""


class GraphError(PhasicMpiError, ValueError):
    """A graph that is malformed or does not describe a phase-type distribution."""


class GraphIndexError(GraphError, RuntimeError):
    """An edge that refers to a vertex the graph does not have."""


class EvaluationError(PhasicMpiError, ValueError):
    """Parameters or rewards at which a trace cannot be evaluated."""


class PayloadError(PhasicMpiError, ValueError):
    """A message between ranks that is not what was sent."""


class RecordError(PhasicMpiError, RuntimeError):
    """A block that could not be recorded."""


class CancelledError(PhasicMpiError, RuntimeError):
    """Work stopped because another rank failed or the user asked for it."""


class RecordingCancelledError(RecordError, CancelledError):
    """Recording stopped because another rank failed or the user asked for it."""


class StoreError(PhasicMpiError, RuntimeError):
    """A file whose content is damaged, of another kind, or contradicts what is known."""


class DamagedFileError(StoreError):
    """A file whose bytes are not those that were written."""


class StoreAccessError(StoreError, PermissionError):
    """A cache directory or file that cannot be created, or that others may write."""


@dataclass(frozen=True)
class FailureReport:
    """What one failing rank tells the others.

    Attributes:
        host: Host of the rank.
        kind: Name of the exception's class.
        builtin: Name of the built-in exception that it is a kind of.
        message: Text of the exception.
        trace: Text of its traceback.
        is_expected: Whether the exception is one of this package, an interrupt, or of a file that
            it names: its message says it all.
    """

    host: str
    kind: str
    builtin: str
    message: str
    trace: str
    is_expected: bool

    def __str__(self) -> str:
        return f"{self.kind}: {self.message}" if self.is_expected else self.trace.rstrip()

    @staticmethod
    def builtin_of(failure: BaseException) -> str:
        """Name of the built-in class, of those callers catch, that ``failure`` is a kind of."""
        for error in (ImportError, PermissionError, ValueError):
            if isinstance(failure, error):
                return error.__name__
        return RuntimeError.__name__


class StageError(PhasicMpiError, RuntimeError):
    """A stage of the run failed on at least one rank; equal on every rank.

    What :meth:`of` returns is also a ``ValueError``, ``ImportError`` or ``PermissionError`` if the
    failure on the first failing rank is one.

    Attributes:
        stage: Name of the stage.
        reports: A report of each failing rank.
    """

    def __init__(self, stage: str, reports: Mapping[int, FailureReport], *, n_ranks: int) -> None:
        self.stage = stage
        self.reports = dict(reports)
        super().__init__(
            f"Stage '{stage}' failed on {len(reports)} of {n_ranks} ranks",
            problem=_merged(reports),
            context={"stage": stage, "failing ranks": sorted(reports)},
            resolution="mend what the first report names and run again; a recording goes on "
            "from what it has cached",
        )

    @staticmethod
    def of(stage: str, reports: Mapping[int, FailureReport], *, n_ranks: int) -> StageError:
        """The error of the class that the first failing rank's report asks for."""
        builtin = reports[min(reports)].builtin
        return _STAGE_ERRORS[builtin](stage, reports, n_ranks=n_ranks)


def _merged(reports: Mapping[int, FailureReport]) -> str:
    """The texts of all reports, each once, behind the ranks that it is of."""
    ranks_of: dict[str, list[int]] = {}
    for rank in sorted(reports):
        ranks_of.setdefault(str(reports[rank]), []).append(rank)
    lines = []
    for text, ranks in ranks_of.items():
        named = f"rank {ranks[0]} on {reports[ranks[0]].host}"
        if len(ranks) > 1:
            named += f" and {len(ranks) - 1} more"
        lines.append(indent(f"{named}: {text}", " " * 4).lstrip())
    return "\n           ".join(lines)


class StageImportError(StageError, ImportError):
    """A stage failed because a library is missing."""


class StagePermissionError(StageError, PermissionError):
    """A stage failed because a file or directory is out of reach."""


class StageValueError(StageError, ValueError):
    """A stage failed because of a value it was given."""


_STAGE_ERRORS: dict[str, type[StageError]] = {
    "ImportError": StageImportError,
    "PermissionError": StagePermissionError,
    "RuntimeError": StageError,
    "ValueError": StageValueError,
}


class RunStoppedError(PhasicMpiError, RuntimeError):
    """The run was asked to stop; what was recorded is committed, and a rerun goes on from there."""
