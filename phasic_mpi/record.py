"""Records blocks: ``SccBlock`` -> ``BlockTrace``, by the strategy that the user names.

Every strategy runs the same compiled recorder on the same block, so all give the same traces bit
for bit; they differ in who calls it.

==============  ====================================================================================
``sequential``  one C++ call after another on the calling thread; needs no JAX
``vmap``        one batched JAX call on one CPU device; its handler spreads the rows over threads
``pmap``        one batched JAX call that JAX splits over two or more CPU devices of this process
``auto``        one of these, by the work there is; the log says which and why
==============  ====================================================================================
"""

from __future__ import annotations

import heapq
import logging
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from phasic_mpi import _core
from phasic_mpi.assign import SECONDS_PER_COST, estimated_cost
from phasic_mpi.errors import (
    ConfigError,
    EnvironmentMismatchError,
    MissingDependencyError,
    RecordError,
    RecordingCancelledError,
)
from phasic_mpi.scc import SccBlock
from phasic_mpi.trace import BlockTrace

STRATEGIES = ("auto", "sequential", "vmap", "pmap")

# Importing JAX, starting its CPU backend and compiling the batched call takes 0.4 s when its 1,400
# files are in memory, and seconds when they come from a cold or shared file system.
JAX_START_SECONDS = 1.0

_OK = "ok"
_CANCELLED = "cancelled"

_LOGGER = logging.getLogger(__name__)


class Recorder:
    """Records blocks with one strategy; the same object counts progress and can be cancelled.

    All checks of the strategy are made here, before any work.

    Args:
        strategy: One of :data:`STRATEGIES`.
        n_threads: Threads to use at most, dealt out to the devices; a device has at least one.
            ``vmap`` and ``pmap`` find no more than XLA's pool has, see :mod:`phasic_mpi.ffi`.
        n_devices: CPU devices that JAX is to show in this process; None leaves it as it is.

    Raises:
        ConfigError: An unknown strategy, fewer than one thread or device, or devices for a
            strategy that has no use for them.
        MissingDependencyError: ``vmap`` or ``pmap`` without JAX.
        EnvironmentMismatchError: ``pmap`` with fewer than two devices, or JAX runs already with
            another number of devices than ``n_devices``.
    """

    def __init__(self, *, strategy: str, n_threads: int, n_devices: int | None = None) -> None:
        _check_options(strategy, n_threads, n_devices)
        self._strategy = strategy
        self._n_threads = n_threads
        self._n_devices = n_devices
        self._store = _core.BlockStore()
        self._n_total = 0
        self._settled: str | None = None
        if strategy in ("vmap", "pmap"):
            self._start_jax(strategy)

    @property
    def n_total(self) -> int:
        """Blocks handed to :meth:`record` since this recorder was made."""
        return self._n_total

    @property
    def n_done(self) -> int:
        """Blocks whose recording has ended since this recorder was made."""
        return self._store.n_done

    @property
    def max_concurrency(self) -> int:
        """Largest number of blocks that were being recorded at the same moment."""
        return self._store.max_concurrency

    def cancel(self) -> None:
        """Ends what runs within milliseconds and refuses what comes; from any thread.

        A cancelled recorder stays cancelled, so that no work slips in after the decision.
        """
        self._store.cancel()

    def prepare(self, n_blocks: int, cost: float) -> str:
        """Settles the strategy for all calls of :meth:`record` to come and returns its name.

        Only ``auto`` gains from it, and only if the blocks are recorded in batches: the time that
        JAX takes to start is compared with the work in all of them, not in one batch.

        Args:
            n_blocks: Number of all blocks.
            cost: What they cost together, see :func:`phasic_mpi.assign.estimated_cost`.

        Raises:
            EnvironmentMismatchError: See :class:`Recorder`; ``auto`` may start JAX here.
        """
        self._settled = self._settle(n_blocks, cost)
        return self._settled

    def record(self, blocks: Sequence[SccBlock]) -> list[BlockTrace]:
        """Returns the trace of each block, in the order of ``blocks``.

        Raises:
            RecordError: At least one block could not be recorded; all such blocks are named. The
                others were recorded, but none is returned.
            RecordingCancelledError: :meth:`cancel` was called before the end.
        """
        self._n_total += len(blocks)
        if not blocks:
            return []
        strategy = self._settled or self._settle(len(blocks), float(_costs(blocks).sum()))
        handles: list[int] = []
        try:
            for block in blocks:
                edges = (block.row_ptr, block.col)
                handles.append(self._store.put(*edges, block.n_below, block.n_boundary))
            if strategy == "sequential":
                status = np.array([self._store.record(handle) for handle in handles])
            else:
                status = self._record_with_jax(strategy, np.array(handles, np.uint32), blocks)
            _require_recorded(blocks, status, strategy)
        except BaseException:
            for handle in handles:
                self._store.drop(handle)
            raise
        return [
            BlockTrace(block.key, block.check, *self._store.take(handle))
            for block, handle in zip(blocks, handles, strict=True)
        ]

    def _settle(self, n_blocks: int, cost: float) -> str:
        if self._strategy != "auto":
            return self._strategy
        strategy, reason = self._choose(n_blocks, SECONDS_PER_COST * cost)
        _LOGGER.info("Strategy 'auto': chose '%s' for %d blocks: %s", strategy, n_blocks, reason)
        return strategy

    def _choose(self, n_blocks: int, seconds: float) -> tuple[str, str]:
        if n_blocks == 0:
            return "sequential", "there is nothing to record"
        if n_blocks == 1:
            return "sequential", "one block cannot be spread over threads"
        if self._n_threads < 2:
            return "sequential", "this process has one thread"
        if seconds < JAX_START_SECONDS:
            return "sequential", (
                f"the work of about {seconds:.2g} s ends before JAX has started "
                f"({JAX_START_SECONDS:g} s)"
            )
        try:
            n_devices = self._start_jax("auto")
        except MissingDependencyError as exc:
            return "sequential", exc.problem
        if n_devices < 2:
            return "vmap", f"{self._n_threads} threads, one JAX device"
        return "pmap", f"{self._n_threads} threads, {n_devices} JAX devices"

    def _start_jax(self, strategy: str) -> int:
        """Imports JAX, starts its CPU backend and returns the number of devices."""
        try:
            from phasic_mpi import ffi
        except ImportError as exc:
            raise MissingDependencyError(
                f"Strategy '{strategy}' cannot be used",
                problem=f"it needs JAX, and JAX does not import: {exc}",
                resolution="install it (pip install jax), or use the strategy 'sequential'",
            ) from exc
        if self._n_devices is not None:
            ffi.configure_devices(self._n_devices)
        devices = ffi.cpu_devices()
        if strategy == "pmap" and len(devices) < 2:
            raise EnvironmentMismatchError(
                "Strategy 'pmap' cannot be used",
                problem=f"expected at least 2 JAX devices in this process, got {len(devices)}",
                context={"devices": devices},
                resolution="ask for more devices (--devices 2), or use the strategy 'vmap', which "
                "spreads the work of one device over threads",
            )
        return len(devices)

    def _record_with_jax(
        self, strategy: str, handles: NDArray[np.uint32], blocks: Sequence[SccBlock]
    ) -> NDArray[np.int32]:
        """Returns the status of each block, ``int32[n_blocks]``."""
        from phasic_mpi import ffi

        devices = ffi.cpu_devices() if strategy == "pmap" else ffi.cpu_devices()[:1]
        dealt = _deal(_costs(blocks), len(devices))
        rows = _rows(self._store.id, handles, dealt)
        try:
            if strategy == "pmap":
                n_threads = max(1, self._n_threads // len(devices))
                result = ffi.record_pmap(rows, devices=devices, n_threads=n_threads)
            else:
                result = ffi.record_vmap(rows[0], device=devices[0], n_threads=self._n_threads)
                result = result[np.newaxis]
        except RuntimeError as exc:
            raise RecordError(
                "The batched JAX call failed",
                problem=f"{type(exc).__name__}: {exc}",
                context={"strategy": strategy, "blocks": len(handles), "devices": devices},
                resolution="use the strategy 'sequential' and report this: data cannot cause it",
            ) from exc
        status = np.empty(handles.size, dtype=np.int32)
        for device, indices in enumerate(dealt):
            status[indices] = result[device, : len(indices)]
        return status


def _check_options(strategy: str, n_threads: int, n_devices: int | None) -> None:
    if strategy not in STRATEGIES:
        raise ConfigError(
            "Unknown recording strategy",
            problem=f"expected one of {', '.join(STRATEGIES)}, got {strategy!r}",
            resolution="name one of these, or 'auto' to have it chosen",
        )
    if n_threads < 1 or (n_devices is not None and n_devices < 1):
        raise ConfigError(
            "The recorder cannot run",
            problem=f"expected at least 1 thread and 1 device, got n_threads={n_threads} and "
            f"n_devices={n_devices}",
            resolution="give positive numbers",
        )
    if strategy == "sequential" and n_devices is not None:
        raise ConfigError(
            "Strategy 'sequential' has no use for devices",
            problem=f"expected no number of devices, got {n_devices}",
            resolution="leave the number of devices out, or use the strategy 'pmap'",
        )


def _costs(blocks: Sequence[SccBlock]) -> NDArray[np.float64]:
    return np.array([estimated_cost(block) for block in blocks])


def _deal(cost: NDArray[np.float64], n_devices: int) -> list[list[int]]:
    """Indices of the blocks of each device, most expensive first (longest processing time)."""
    dealt: list[list[int]] = [[] for _ in range(n_devices)]
    load = [(0.0, device) for device in range(n_devices)]
    for block in np.argsort(-cost, kind="stable").tolist():
        total, device = load[0]
        heapq.heapreplace(load, (total + float(cost[block]), device))
        dealt[device].append(block)
    return dealt


def _rows(store_id: int, handles: NDArray[np.uint32], dealt: list[list[int]]) -> NDArray[np.uint32]:
    """Operand of the batched call, ``uint32[n_devices, n, 2]``, see :func:`ffi.record_pmap`."""
    # Powers of two: JAX compiles for 40 ms per shape, and batches of a run come in many sizes.
    n_rows = 1 << (max(len(blocks) for blocks in dealt) - 1).bit_length()
    rows = np.zeros((len(dealt), n_rows, 2), dtype=np.uint32)
    rows[:, :, 0] = store_id
    for device, blocks in enumerate(dealt):
        rows[device, : len(blocks), 1] = handles[blocks]
    return rows


def _require_recorded(blocks: Sequence[SccBlock], status: NDArray[np.int32], strategy: str) -> None:
    names = [_core.STATUS_NAMES[code] for code in status.tolist()]
    bad = [
        f"block {block.key[:12]} ({block.n_vertices} vertices, {block.n_edges} edges): {name}"
        for block, name in zip(blocks, names, strict=True)
        if name not in (_OK, _CANCELLED)
    ]
    context = {"strategy": strategy, "blocks": len(blocks)}
    if bad:
        raise RecordError(
            f"{len(bad)} of {len(blocks)} blocks could not be recorded",
            problem="; ".join(bad),
            context=context,
            resolution="give each rank more memory if it ran out; otherwise a block is not the "
            "pattern of a strongly connected component: cut it out of the graph again",
        )
    if _CANCELLED in names:
        raise RecordingCancelledError(
            "Recording was cancelled",
            problem=f"{names.count(_CANCELLED)} of {len(blocks)} blocks were not recorded",
            context=context,
            resolution="mend what the cause names and run again with a new recorder",
        )
