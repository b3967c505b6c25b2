"""What ranks send each other: blocks as JSON, traces as flat binary, each with its digest.

A block's payload is a whole phase-type graph in the JSON schema of graph files, so anything that
reads such graphs reads it: vertex 0 starts, vertices 1 to n are the block, vertex n + 1 absorbs.
Weights are all 1: only the pattern of the edges means something. The states of a part of a block
say what its vertices are: 1 below it, 2 its own, 3 on its boundary; 0 for the other two.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn, TypeAlias

import msgspec
import numpy as np
import orjson
import simdjson
from numpy.typing import NDArray

from phasic_mpi.errors import GraphError, PayloadError
from phasic_mpi.scc import SccBlock
from phasic_mpi.trace import BlockTrace

# Bytes, a memoryview or an array: `collections.abc.Buffer`, which Python has from 3.12 on.
_Buffer: TypeAlias = Any

_DIGEST_BYTES = 32
_LENGTH = np.dtype("<i8")
_COLUMN = np.dtype("<i4")

_TRACE_HEADER = struct.Struct("<32s16s3q")  # key, check, n_vertices, n_edges, n_entries


class _Payload(msgspec.Struct, forbid_unknown_fields=True):
    """Fields of a payload, in the order in which they are written."""

    n_vertices: int
    state_length: int
    param_length: int
    states: msgspec.Raw
    edges: msgspec.Raw
    param_edges: list[tuple[()]]
    start_edges: list[tuple[int, int]]
    start_param_edges: list[tuple[()]]


_DECODER = msgspec.json.Decoder(_Payload)

# States of the vertices below a part, of its own, and of its boundary.
_ROLES = (1, 2, 3)


def encode_block(block: SccBlock) -> bytes:
    """Returns the payload of a block: a graph in JSON."""
    n = block.n_vertices
    edges = np.empty((block.n_edges + 1, 3), dtype=np.int64)
    edges[:-1, 0] = np.arange(1, n + 1).repeat(block.row_ptr[1:] - block.row_ptr[:-1])
    edges[:-1, 1] = block.col
    edges[:-1, 1] += 1
    edges[-1, :2] = 1, n + 1
    edges[:, 2] = 1
    states: list[int] | NDArray[np.int64] = []
    if block.is_part:
        n_own = n - block.n_below - block.n_boundary
        roles = np.repeat([0, *_ROLES, 0], [1, block.n_below, n_own, block.n_boundary, 1])
        states = roles[:, np.newaxis]
    fields = {
        "n_vertices": n + 2,
        "state_length": int(block.is_part),
        "param_length": 0,
        "states": states,
        "edges": edges,
        "param_edges": [],
        "start_edges": [[1, 1]],
        "start_param_edges": [],
    }
    return orjson.dumps(fields, option=orjson.OPT_SERIALIZE_NUMPY)


def decode_block(text: bytes | memoryview, expected_key: str) -> SccBlock:
    """Reads a payload back and computes its key again.

    Raises:
        PayloadError: The text is not such a payload, or it is another block than the key says.
    """
    try:
        fields = _DECODER.decode(text)
        edges, states = _integers(fields.edges, 3), _integers(fields.states, 1).ravel()
    except (RuntimeError, TypeError, ValueError) as exc:
        _refuse(f"not a block in JSON: {exc}", expected_key, len(text))
    n = fields.n_vertices - 2
    n_below, n_boundary = _roles(fields, states, expected_key, len(text))
    frame = (fields.param_length, fields.start_edges)
    if (
        frame != (0, [(1, 1)])
        or fields.param_edges
        or fields.start_param_edges
        or not edges.size
        or not 2 <= n <= max(len(edges), states.size)
        or np.count_nonzero(edges[:, 2] != 1)
        or edges[-1].tolist() != [1, n + 1, 1]
    ):
        _refuse(
            "expected unit edges within one block, started at vertex 1 and left from there to an "
            f"absorbing vertex, got {fields.n_vertices} vertices, {len(edges)} edges, start "
            f"{fields.start_edges[:3]}",
            expected_key,
            len(text),
        )
    row_ptr, col = _rows(n, edges[:-1] - 1, expected_key, len(text))
    # The key says that this is what was sent; it does not say that the sender meant well.
    try:
        block = SccBlock.build(row_ptr, col, n_below, n_boundary)
    except GraphError as exc:
        _refuse(exc.problem, expected_key, len(text))
    if block.key != expected_key:
        _refuse(f"its content has the key {block.key}", expected_key, len(text))
    return block


def _integers(text: msgspec.Raw, width: int) -> NDArray[np.int64]:
    """``int64[n, width]``. Most of a payload are integers: simdjson makes no objects of them.

    Raises:
        RuntimeError, TypeError, ValueError: These are not rows of so many integers each.
    """
    rows = simdjson.Parser().parse(bytes(text))
    if not isinstance(rows, simdjson.Array):
        raise TypeError("expected a list of rows")
    numbers = np.frombuffer(rows.as_buffer(of_type="i"), dtype=np.int64)
    if numbers.size != width * len(rows):
        raise ValueError(f"expected {len(rows)} rows of {width} integers, got {numbers.size}")
    return numbers.reshape(-1, width)


def _roles(fields: _Payload, states: NDArray[np.int64], key: str, n_bytes: int) -> tuple[int, int]:
    """Vertices below a part and on its boundary; none of either if the block is whole."""
    if fields.state_length == 0 and states.size == 0:
        return 0, 0
    inner = states[1:-1]
    expected = (1, fields.n_vertices, [0, 0])
    actual = (fields.state_length, states.size, states[[0, -1]].tolist() if states.size else [])
    if expected != actual or not np.isin(inner, _ROLES).all() or (np.diff(inner) < 0).any():
        _refuse(
            f"expected the state of each of {fields.n_vertices} vertices to be 0 outside of a part "
            f"and to ascend from {_ROLES[0]} to {_ROLES[-1]} within, got {states.size} states",
            key,
            n_bytes,
        )
    return int((inner == _ROLES[0]).sum()), int((inner == _ROLES[-1]).sum())


def _rows(
    n: int, edges: NDArray[np.int64], key: str, n_bytes: int
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """CSR of edges, ``int64[n_edges, 3]``: source and target, both from 0 on, and a 0."""
    source, target = edges[:, 0], edges[:, 1]
    # As unsigned numbers, negative ones are out of range at the other end.
    outside = edges.view(np.uint64) >= n
    descends = source[1:] < source[:-1]
    if np.count_nonzero(outside) or np.count_nonzero(descends):
        bad = outside[:, 0] | outside[:, 1]
        bad[1:] |= descends
        _refuse(
            f"expected edges sorted by source between vertices 1..{n}, not so at row "
            f"{int(np.argmax(bad))}",
            key,
            n_bytes,
        )
    return source.searchsorted(np.arange(n + 1)), target.astype(np.int32)


def _refuse(problem: str, key: str, n_bytes: int) -> NoReturn:
    raise PayloadError(
        "A block arrived damaged",
        problem=problem,
        context={"block": key, "n_bytes": n_bytes},
        resolution="run again; if it happens twice, run `python -m phasic_mpi doctor` on all ranks",
    )


def pack_blocks(blocks: Iterable[SccBlock]) -> bytes:
    """One message of the payloads of blocks, each behind its key."""
    return pack_messages(
        [part for block in blocks for part in (block.key.encode(), encode_block(block))]
    )


def unpack_blocks(packed: memoryview) -> list[SccBlock]:
    """The blocks of a message, each with its key computed again.

    Raises:
        PayloadError: A digest differs, a key has no payload, or a payload is not the block that its
            key says.
    """
    parts = unpack_messages(packed)
    if len(parts) % 2:
        _refuse_message(f"expected a key and a payload for each block, got {len(parts)} parts")
    return [
        decode_block(text, bytes(key).decode("ascii", "replace"))
        for key, text in zip(parts[::2], parts[1::2], strict=True)
    ]


def pack_messages(messages: Sequence[bytes | memoryview]) -> bytes:
    """Joins messages into one: their number, their lengths and SHA-256 digests, then the bytes."""
    return _pack((message,) for message in messages)


def pack_traces(traces: Sequence[BlockTrace]) -> bytes:
    """One message of traces, each as :func:`pack_trace` has it; their arrays are copied once."""
    return _pack(map(_pieces, traces))


def _pack(messages: Iterable[Sequence[_Buffer]]) -> bytes:
    """One message of messages that are given in pieces."""
    lengths: list[int] = []
    digests: list[bytes] = []
    pieces: list[_Buffer] = []
    for message in messages:
        digest = hashlib.sha256()
        for piece in message:
            digest.update(piece)
        lengths.append(sum(memoryview(piece).nbytes for piece in message))
        digests.append(digest.digest())
        pieces += message
    table = np.array([len(lengths), *lengths], dtype=_LENGTH)
    return b"".join([table.tobytes(), *digests, *pieces])


def unpack_messages(packed: memoryview) -> list[memoryview]:
    """Takes a packed message apart without copying and checks every digest.

    Raises:
        PayloadError: Lengths do not add up, or a digest differs.
    """
    if len(packed) < _LENGTH.itemsize:
        _refuse_message(f"expected at least {_LENGTH.itemsize} bytes, got {len(packed)}")
    n_messages = int(np.frombuffer(packed[: _LENGTH.itemsize], _LENGTH)[0])
    table = _LENGTH.itemsize * (1 + n_messages)
    start = table + _DIGEST_BYTES * n_messages
    if n_messages < 0 or start > len(packed):
        _refuse_message(f"a table of {n_messages} messages does not fit {len(packed)} bytes")
    lengths: list[int] = np.frombuffer(packed[_LENGTH.itemsize : table], _LENGTH).tolist()
    if min(lengths, default=0) < 0 or start + sum(lengths) != len(packed):
        _refuse_message(
            f"expected {start + sum(lengths)} bytes in {n_messages} messages, got {len(packed)}"
        )
    digests = bytes(packed[table:start])
    messages = []
    for index, length in enumerate(lengths):
        message = packed[start : start + length]
        start += length
        digest = hashlib.sha256(message).digest()
        if not digests.startswith(digest, _DIGEST_BYTES * index):
            _refuse_message(f"message {index} of {n_messages} ({length} bytes) has another SHA-256")
        messages.append(message)
    return messages


def _refuse_message(problem: str) -> NoReturn:
    raise PayloadError(
        "A message between ranks arrived damaged",
        problem=problem,
        resolution="run again; if it happens twice, check the network and the memory of the hosts",
    )


def pack_trace(trace: BlockTrace) -> bytes:
    """Flat binary of a trace: key, check, three counts, then its arrays, little-endian."""
    return b"".join(_pieces(trace))


def _pieces(trace: BlockTrace) -> list[_Buffer]:
    key, check = bytes.fromhex(trace.key), bytes.fromhex(trace.check)
    counts = (trace.n_vertices, trace.n_edges, trace.n_entries)
    return [
        _TRACE_HEADER.pack(key, check, *counts),
        np.ascontiguousarray(trace.row_ptr, _LENGTH),
        np.ascontiguousarray(trace.upper_ptr, _LENGTH),
        np.ascontiguousarray(trace.edge_slot, _LENGTH),
        np.ascontiguousarray(trace.order, _COLUMN),
        np.ascontiguousarray(trace.col, _COLUMN),
    ]


def unpack_trace(packed: memoryview) -> BlockTrace:
    """Reads a trace back; its arrays are views of ``packed``.

    Raises:
        PayloadError: The counts do not add up to the length.
    """
    start = _TRACE_HEADER.size
    if len(packed) < start:
        _refuse_message(f"expected at least {start} bytes of a trace, got {len(packed)}")
    key, check, *counts = _TRACE_HEADER.unpack_from(packed)
    n_vertices, n_edges, n_entries = counts
    n_lengths, n_columns = 2 * n_vertices + 1 + n_edges, n_vertices + n_entries
    middle = start + _LENGTH.itemsize * n_lengths
    end = middle + _COLUMN.itemsize * n_columns
    if min(counts) < 0 or end != len(packed):
        _refuse_message(f"counts {counts}: expected {end} bytes, got {len(packed)}")
    lengths = np.frombuffer(packed, _LENGTH, n_lengths, start)
    columns = np.frombuffer(packed, _COLUMN, n_columns, middle)
    return BlockTrace(
        key=key.hex(),
        check=check.hex(),
        order=columns[:n_vertices],
        row_ptr=lengths[: n_vertices + 1],
        upper_ptr=lengths[n_vertices + 1 : 2 * n_vertices + 1],
        col=columns[n_vertices:],
        edge_slot=lengths[2 * n_vertices + 1 :],
    )
