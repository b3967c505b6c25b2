"""What a run or an evaluation did: counts, bytes and seconds, collected while it goes on."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Report:
    """Facts that are collected while something goes on; complete on rank 0.

    Attributes:
        stage_seconds: Wall-clock seconds of each stage on rank 0.
    """

    stage_seconds: dict[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON-able types."""
        return asdict(self)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Adds the time spent inside, without that of stages in it, to ``stage_seconds[name]``."""
        start, known = time.perf_counter(), sum(self.stage_seconds.values())
        try:
            yield
        finally:
            within = sum(self.stage_seconds.values()) - known
            spent = time.perf_counter() - start - within
            self.stage_seconds[name] = self.stage_seconds.get(name, 0.0) + spent


@dataclass
class EvaluationReport(Report):
    """Facts about one evaluation.

    Attributes:
        n_ranks: Ranks that took part.
        n_theta: Rows of theta.
        method: How distribution functions were computed; empty if none were.
        n_terms: Terms of uniformisation, None for other methods.
        n_rows: Rows of theta in one call of XLA.
        call_bytes: Bytes that one such call takes.
        compute_seconds: Per rank, seconds spent computing.
        compute_cpu_seconds: Per rank, seconds of all its threads in that time; fewer than
            ``compute_seconds`` with one thread if something else uses its core.
        peak_rss_bytes: Per rank, largest resident memory so far.
    """

    n_ranks: int = 1
    n_theta: int = 0
    method: str = ""
    n_terms: int | None = None
    n_rows: int = 0
    call_bytes: int = 0
    compute_seconds: list[float] = field(default_factory=list)
    compute_cpu_seconds: list[float] = field(default_factory=list)
    peak_rss_bytes: list[int] = field(default_factory=list)


@dataclass
class RunReport(Report):
    """Facts about one run.

    Attributes:
        n_ranks: Ranks that took part.
        strategy: How blocks were recorded; several names if ``auto`` chose by rank.
        n_vertices: Vertices of the graph; ``n_edges`` of its edges, ``n_transient`` transient ones.
        n_self_loops: Self-loops left out; ``n_zero_edges``: edges of weight zero left out.
        n_blocks: Strongly connected components of transient vertices.
        n_distinct: Distinct blocks of more than one vertex: those that need a recording.
        largest_block: Vertices of the largest block.
        n_cut: Distinct blocks cut into parts, ``n_parts``: distinct parts, each with a recording.
        n_cache_hits: Distinct blocks and parts found in a cache; ``n_recorded``: those recorded.
        n_entries: Off-diagonal entries of L and U over all blocks.
        n_operations: Scalar operations of one replay of the mean.
        payload_bytes: Bytes scattered; ``gathered_bytes``: bytes of traces brought to rank 0.
        trace_bytes: Bytes of the trace in memory; ``file_bytes``: of the file written.
        n_failed_cache_writes: Segments that could not be written to a cache.
        balance: Largest by mean planned load of a rank; 1 is even.
        record_seconds: Per rank, seconds spent recording.
        record_cpu_seconds: Per rank, seconds of processor of the thread that records; fewer than
            ``record_seconds`` if something else uses its core, or if JAX's threads do the work.
        keep_seconds: Per rank, seconds spent writing the cache.
        peak_rss_bytes: Per rank, largest resident memory so far.
    """

    n_ranks: int = 1
    strategy: str = ""
    n_vertices: int = 0
    n_edges: int = 0
    n_transient: int = 0
    n_self_loops: int = 0
    n_zero_edges: int = 0
    n_blocks: int = 0
    n_distinct: int = 0
    largest_block: int = 0
    n_cut: int = 0
    n_parts: int = 0
    n_cache_hits: int = 0
    n_recorded: int = 0
    n_entries: int = 0
    n_operations: int = 0
    payload_bytes: int = 0
    gathered_bytes: int = 0
    trace_bytes: int = 0
    file_bytes: int = 0
    n_failed_cache_writes: int = 0
    balance: float = 1.0
    record_seconds: list[float] = field(default_factory=list)
    record_cpu_seconds: list[float] = field(default_factory=list)
    keep_seconds: list[float] = field(default_factory=list)
    peak_rss_bytes: list[int] = field(default_factory=list)


def peak_rss_bytes() -> int:
    """Largest resident memory of this process so far, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
