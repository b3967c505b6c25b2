"""Expands a trace into the scalar operations that its replay performs.

Replay never needs this list, which is O(flops) long: it is for inspection and export, and a plain
interpreter of it is an independent check of the compiled replay. Result ``i`` is what operation
``i`` computes; operands are earlier results.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Generator, Iterable, Iterator
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from phasic_mpi.trace import EliminationTrace


class Kind(Enum):
    """What an operation computes from its operands ``a, b, ...``."""

    CONST = "constant"  # value[0]
    PARAM = "parameter"  # theta[operands[0]]
    DOT = "dot"  # sum of value[i] * result of operands[i]
    ADD = "add"  # a + b
    MUL = "multiply"  # a * b
    DIV = "divide"  # a / b
    INV = "invert"  # 1 / a
    SUM = "sum"  # a + b + ...


class Operation(NamedTuple):
    """One scalar operation; ``value`` holds the constants of CONST and DOT."""

    kind: Kind
    operands: tuple[int, ...] = ()
    value: tuple[float, ...] = ()


def expand(
    trace: EliminationTrace, rewards: NDArray[np.float64], n_moments: int
) -> Iterator[Operation]:
    """Yields the operations that lead from theta to moments 1 to ``n_moments``.

    The last ``n_moments`` operations compute the moments.

    Args:
        trace: The trace to expand.
        rewards: ``float64[n_transient]``, reward per unit of time at each position.
        n_moments: Highest moment, at least 1.
    """
    return _Expansion(trace).run(rewards, n_moments)


def count(trace: EliminationTrace, n_moments: int, n_updates: int) -> int:
    """Counts what :func:`expand` yields; ``n_updates`` is that of the whole factorisation."""
    n_rows = trace.n_transient
    n_entries = trace.n_entries
    n_lower = trace.n_lower_entries
    n_shared = int((np.unique(trace.edge_slot, return_counts=True)[1] > 1).sum())
    setup = trace.n_parameters + 1 + trace.n_edges + n_shared + trace.start_vertex.size
    factor = 3 * n_rows + 3 * n_lower + 2 * n_updates
    n_started = int(np.isin(trace.start_vertex, trace.vertex).sum())
    solve = trace.off_col.size + n_entries + 3 * n_rows + n_started + 1
    return setup + factor + n_rows * n_moments + solve * n_moments + 2 * n_moments


Emitting = Generator[Operation, None, int]
EmittingAll = Generator[Operation, None, list[int]]


class _Expansion:
    def __init__(self, trace: EliminationTrace) -> None:
        self.trace = trace
        self.n_done = 0
        self.zero = 0
        self.slot_of: dict[int, int] = {}  # result that holds each slot; zero if not in there
        self.pivot_inverse = np.zeros(trace.n_transient, dtype=np.int64)

    def run(self, rewards: NDArray[np.float64], n_moments: int) -> Iterator[Operation]:
        yield from self._weights()
        for block in range(self.trace.n_blocks):
            yield from self._factor(block)
        start = yield from self._start()
        reward = yield from self._emit_all(
            Operation(Kind.CONST, value=(float(rate),)) for rate in rewards
        )
        solution = reward
        totals = []
        for power in range(1, n_moments + 1):
            if power > 1:
                solution = yield from self._emit_all(
                    Operation(Kind.MUL, (a, b)) for a, b in zip(reward, solution, strict=True)
                )
            solution = yield from self._solve(solution)
            parts = yield from self._emit_all(
                [Operation(Kind.MUL, (weight, solution[position])) for position, weight in start]
            )
            total = yield from self._emit(Operation(Kind.SUM, tuple(parts)))
            factorial = Operation(Kind.CONST, value=(float(math.factorial(power)),))
            totals.append((total, (yield from self._emit(factorial))))
        yield from self._emit_all(Operation(Kind.MUL, pair) for pair in totals)

    def _emit(self, operation: Operation) -> Emitting:
        yield operation
        self.n_done += 1
        return self.n_done - 1

    def _emit_all(self, operations: Iterable[Operation]) -> EmittingAll:
        results = []
        for operation in operations:
            results.append((yield from self._emit(operation)))
        return results

    def _linear(
        self, constant: NDArray[np.float64], coefficient: NDArray[np.float64]
    ) -> EmittingAll:
        parameters = tuple(range(self.trace.n_parameters))
        fixed = yield from self._emit_all(
            Operation(Kind.CONST, value=(float(weight),)) for weight in constant
        )
        linear = yield from self._emit_all(
            Operation(Kind.DOT, parameters, tuple(map(float, row))) for row in coefficient
        )
        return fixed + linear

    def _weights(self) -> Iterator[Operation]:
        trace = self.trace
        yield from self._emit_all(
            Operation(Kind.PARAM, (index,)) for index in range(trace.n_parameters)
        )
        self.zero = yield from self._emit(Operation(Kind.CONST, value=(0.0,)))
        weights = yield from self._linear(trace.constant, trace.coefficient)
        sharing: dict[int, list[int]] = defaultdict(list)
        for slot, weight in zip(trace.edge_slot.tolist(), weights, strict=True):
            sharing[slot].append(weight)
        for slot, parts in sharing.items():
            if len(parts) == 1:
                self.slot_of[slot] = parts[0]
            else:
                self.slot_of[slot] = yield from self._emit(Operation(Kind.SUM, tuple(parts)))

    def _off_edges(self, position: int) -> list[tuple[int, int]]:
        """Slot and target position of each edge that leaves the block."""
        edges = range(self.trace.off_ptr[position], self.trace.off_ptr[position + 1])
        first = self.trace.first_off_slot
        return [(first + edge, int(self.trace.off_col[edge])) for edge in edges]

    def _leaving(self, position: int) -> tuple[int, ...]:
        slots = [slot for slot, _ in self._off_edges(position)]
        slots.append(self.trace.first_exit_slot + position)
        return tuple(self.slot_of[slot] for slot in slots if slot in self.slot_of)

    def _factor(self, block: int) -> Iterator[Operation]:
        """GTH elimination of one block: pivots are sums, never differences."""
        rows = self.trace.block_rows(block)
        escape: list[int] = []
        pivot: list[int] = []
        upper: list[list[tuple[int, int]]] = []
        for position, lower_slots, upper_slots in rows:
            held = {
                col: self.slot_of.get(slot, self.zero) for col, slot in lower_slots + upper_slots
            }
            leaving = yield from self._emit(Operation(Kind.SUM, self._leaving(position)))
            for k, slot in lower_slots:
                multiplier = yield from self._emit(Operation(Kind.DIV, (held[k], pivot[k])))
                self.slot_of[slot] = multiplier
                step = yield from self._emit(Operation(Kind.MUL, (multiplier, escape[k])))
                leaving = yield from self._emit(Operation(Kind.ADD, (leaving, step)))
                for col, slot_above in upper[k]:
                    if col == len(pivot):
                        continue  # a jump back to this vertex: left out, it only delays
                    step = yield from self._emit(
                        Operation(Kind.MUL, (multiplier, self.slot_of[slot_above]))
                    )
                    held[col] = yield from self._emit(Operation(Kind.ADD, (held[col], step)))
            for col, slot in upper_slots:
                self.slot_of[slot] = held[col]
            parts = (leaving, *(held[col] for col, _ in upper_slots))
            pivot.append((yield from self._emit(Operation(Kind.SUM, parts))))
            inverse = yield from self._emit(Operation(Kind.INV, (pivot[-1],)))
            self.pivot_inverse[position] = inverse
            escape.append(leaving)
            upper.append(upper_slots)

    def _start(self) -> Generator[Operation, None, list[tuple[int, int]]]:
        trace = self.trace
        weights = yield from self._linear(trace.start_constant, trace.start_coefficient)
        position = trace.position()
        return [
            (int(position[vertex]), weight)
            for vertex, weight in zip(trace.start_vertex, weights, strict=True)
            if position[vertex] >= 0
        ]

    def _solve(self, rhs: list[int]) -> EmittingAll:
        """Solves for the right-hand side block by block, from the sinks to the sources."""
        solution = list(rhs)
        for block in reversed(range(self.trace.n_blocks)):
            rows = self.trace.block_rows(block)
            local: list[int] = []
            for position, lower_slots, _ in rows:
                pairs = [
                    (self.slot_of[slot], solution[target])
                    for slot, target in self._off_edges(position)
                ]
                pairs += [(self.slot_of[slot], local[k]) for k, slot in lower_slots]
                local.append((yield from self._dot(rhs[position], pairs)))
            for i in reversed(range(len(rows))):
                position, _, upper_slots = rows[i]
                pairs = [(self.slot_of[slot], local[col]) for col, slot in upper_slots]
                total = yield from self._dot(local[i], pairs)
                inverse = int(self.pivot_inverse[position])
                local[i] = yield from self._emit(Operation(Kind.MUL, (total, inverse)))
                solution[position] = local[i]
        return solution

    def _dot(self, first: int, pairs: list[tuple[int, int]]) -> Emitting:
        parts = yield from self._emit_all(Operation(Kind.MUL, pair) for pair in pairs)
        return (yield from self._emit(Operation(Kind.SUM, (first, *parts))))
