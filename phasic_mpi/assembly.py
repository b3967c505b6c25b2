"""Puts a trace together while the traces of its blocks and parts arrive, each column once."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from phasic_mpi.errors import PayloadError
from phasic_mpi.graph import PhaseTypeGraph
from phasic_mpi.matching import fitting, require_all
from phasic_mpi.parts import CutBlock, Division, join
from phasic_mpi.patterns import JoinedPatterns
from phasic_mpi.scc import Condensation
from phasic_mpi.stitch import stitch_patterns
from phasic_mpi.trace import BlockTrace, EliminationTrace


class Assembly:
    """A trace whose patterns are filled in block by block.

    A block goes to its place once all its parts are there, and they are let go of.

    Args:
        condensation: The blocks.
        division: The units that are recorded for them.
        n_entries: Entries of L and U that the trace of each unit will have, by key.
        n_threads: Blocks to join at the same time, at least 1, while others arrive; the parts of
            one more wait.
    """

    def __init__(
        self,
        condensation: Condensation,
        division: Division,
        n_entries: Mapping[str, int],
        *,
        n_threads: int = 1,
    ) -> None:
        distinct = condensation.distinct
        cut = {found.block.key: found for found in division.cut}
        units = [cut[block.key].parts if block.key in cut else (block,) for block in distinct]
        self._condensation = condensation
        self._units = division.units
        self._n_entries = n_entries
        self._index = {block.key: index for index, block in enumerate(distinct)}
        self._whole = self._index.keys() - cut.keys()
        self._missing = {key: {part.key for part in found.parts} for key, found in cut.items()}
        self._users_of: dict[str, list[CutBlock]] = {}
        for key, parts in self._missing.items():
            for part in parts:
                self._users_of.setdefault(part, []).append(cut[key])
        self._arrived: set[str] = set()
        self._parts: dict[str, BlockTrace] = {}
        self._n_threads = n_threads
        self._pool = ThreadPoolExecutor(n_threads)
        self._joining: deque[Future[None]] = deque()
        self._patterns = JoinedPatterns.of_sizes(
            n_vertices=[block.n_recorded for block in distinct],
            n_entries=[sum(n_entries.get(unit.key, 0) for unit in own) for own in units],
            n_edges=[block.n_placed for block in distinct],
        )
        # Memory that nothing has been written to is not taken yet.
        self._col = np.empty(int(self._patterns.entry_ptr[-1]), dtype=np.int32)

    @property
    def nbytes(self) -> int:
        """Bytes of all patterns."""
        return self._col.nbytes + sum(array.nbytes for array in self._patterns)

    def add(self, trace: BlockTrace) -> None:
        """Takes in the trace of a unit, which is let go of once it has found its place.

        Raises:
            PayloadError: It has not the entries that were announced, or does not belong to its
                unit, or parts that came before cannot be joined.
        """
        announced = self._n_entries.get(trace.key, 0)
        if trace.n_entries != announced:
            raise PayloadError(
                "A trace is not what was announced",
                problem=f"expected {announced} entries, got {trace.n_entries}",
                context={"block": trace.key},
                resolution="run again; if it happens twice, check the memory of the hosts",
            )
        self._arrived.add(trace.key)
        if trace.key in self._whole:
            index = self._index[trace.key]
            self._put(index, trace)
            self._columns(index)[:] = trace.col
        if trace.key in self._users_of:
            self._parts[trace.key] = trace
            self._join_with(trace.key)

    def _join_with(self, part: str) -> None:
        """Has the blocks joined that this part was the last one of."""
        for cut in self._users_of[part]:
            self._missing[cut.block.key].discard(part)
        complete = [cut for cut in self._users_of[part] if not self._missing[cut.block.key]]
        for cut in complete:
            while len(self._joining) >= self._n_threads:
                self._joining.popleft().result()
            self._joining.append(self._pool.submit(self._join, cut, self._take_parts(cut)))

    def _take_parts(self, cut: CutBlock) -> dict[str, BlockTrace]:
        """Traces of the parts of a block; those that no other block needs are let go of."""
        traces = {part.key: self._parts[part.key] for part in cut.parts}
        for key in traces:
            self._users_of[key].remove(cut)
            if not self._users_of[key]:
                del self._parts[key]
        return traces

    def _join(self, cut: CutBlock, traces: dict[str, BlockTrace]) -> None:
        index = self._index[cut.block.key]
        self._put(index, join(cut, traces, col=self._columns(index)))

    def _columns(self, index: int) -> NDArray[np.int32]:
        begin, end = self._patterns.entry_ptr[index : index + 2].tolist()
        return self._col[begin:end]

    def _put(self, index: int, trace: BlockTrace) -> None:
        self._patterns.put(index, fitting(self._condensation.distinct[index], trace))

    def settle(self) -> None:
        """Waits until the blocks are joined whose parts are there.

        Raises:
            PayloadError: Parts cannot be joined.
        """
        while self._joining:
            self._joining.popleft().result()

    def stitch(self, graph: PhaseTypeGraph) -> EliminationTrace:
        """The whole trace.

        Raises:
            PayloadError: Traces are missing, or parts cannot be joined.
        """
        require_all(self._units, self._arrived)
        self.settle()
        return stitch_patterns(graph, self._condensation, self._patterns, self._col)
