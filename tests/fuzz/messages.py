"""Changes to what ranks send each other: payloads of blocks, and traces."""

from __future__ import annotations

import json
import random
from functools import cache

import numpy as np

from phasic_mpi import payload
from phasic_mpi.parts import divide
from phasic_mpi.record import Recorder
from phasic_mpi.scc import SccBlock, condense
from phasic_mpi.trace import BlockTrace
from tests.block_traces import random_block
from tests.fuzz import examples, json_text, raw_bytes
from tests.graphs import random_scc

# The graph whose traces are changed on their way back to rank 0.
TRACED = examples.graphs()[4]

_KEYS = (b"", b"0" * 64, b"\xff" * 64, "ä".encode(), b"../../etc/passwd")
_LARGEST = 1_000_000  # vertices of a block whose key is computed again
_HOSTILE = (-1, 0, 1, 1 << 31, -(1 << 31), (1 << 63) - 1, -(1 << 63))


@cache
def blocks() -> tuple[SccBlock, ...]:
    """Whole blocks, and the first parts of one that is cut."""
    whole = [block for graph in examples.graphs() for block in condense(graph).distinct]
    parts = divide(condense(random_scc(700, 5)).distinct).units
    small = sorted(parts, key=lambda part: part.n_edges)[:3]
    return (*whole, random_block(30, 2), *small)


@cache
def traces() -> tuple[BlockTrace, ...]:
    """Traces of the blocks of :data:`TRACED`."""
    recorder = Recorder(strategy="sequential", n_threads=1)
    return tuple(recorder.record(condense(TRACED).distinct))


def make_blocks(rng: random.Random) -> bytes:
    """A message of a few payloads, one of them changed; its digest and perhaps its key fit."""
    parts: list[bytes] = []
    for block in rng.sample(blocks(), rng.choice((1, 1, 3))):
        parts += [block.key.encode(), payload.encode_block(block)]
    at = rng.randrange(0, len(parts), 2)
    kind = rng.random()
    if kind < 0.9:
        document = json_text.parse(parts[at + 1])
        json_text.change_document(document, rng)
        parts[at + 1] = json_text.render(document).encode("utf-8", "surrogatepass")
    elif kind < 0.95:
        parts[at + 1] = json_text.change_text(parts[at + 1], rng)
    if rng.random() < 0.7:
        parts[at] = _key_of(parts[at + 1]) or parts[at]
    elif rng.random() < 0.1:
        parts[at] = rng.choice(_KEYS)
    return _sealed(parts, rng)


def make_traces(rng: random.Random) -> bytes:
    """A message of the traces of :data:`TRACED`, one of them changed."""
    packed = [payload.pack_trace(trace) for trace in traces()]
    at = rng.randrange(len(packed))
    if rng.random() < 0.5:
        packed[at] = raw_bytes.changed(packed[at], rng)
    else:
        array = np.frombuffer(packed[at], dtype=np.uint8).copy()
        numbers = array[48 : 48 + (array.size - 48) // 8 * 8].view("<i8")  # behind both digests
        for _ in range(rng.choice((1, 2, 5))):
            index = rng.randrange(numbers.size)
            numbers[index] = rng.choice((*_HOSTILE, numbers[index] ^ 1, numbers[index] // 2))
        packed[at] = array.tobytes()
    return _sealed(packed, rng)


def make(rng: random.Random) -> bytes:
    """A message of either kind; the first byte says which."""
    return b"B" + make_blocks(rng) if rng.random() < 0.7 else b"T" + make_traces(rng)


def _sealed(parts: list[bytes], rng: random.Random) -> bytes:
    """One message with the digests of its parts; now and then it is changed after that."""
    if rng.random() < 0.05:
        rng.shuffle(parts)
    if rng.random() < 0.05:
        parts.pop()
    message = bytes(payload.pack_messages(parts))
    return raw_bytes.changed(message, rng) if rng.random() < 0.1 else message


def _key_of(text: bytes) -> bytes | None:
    """The key that belongs to the changed edges, if they can be read at all."""
    try:
        fields = json.loads(text)
        edges = np.array(fields["edges"], dtype=np.int64)[:-1].clip(max=_LARGEST) - 1
        roles = np.array(fields["states"], dtype=np.int64).ravel()
        n = min(fields["n_vertices"] - 2, _LARGEST)
        counts = np.bincount(edges[:, 0], minlength=n)
        row_ptr = np.concatenate([[0], np.cumsum(counts)])
        n_below, n_boundary = int((roles == 1).sum()), int((roles == 3).sum())
        block = SccBlock.from_core(row_ptr, edges[:, 1].astype(np.int32), n_below, n_boundary)
    except (ValueError, TypeError, LookupError, ArithmeticError, MemoryError, RecursionError):
        return None
    return block.key.encode()
