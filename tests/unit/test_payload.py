"""What ranks send each other arrives as it was sent, or is refused."""

import hashlib
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from phasic_mpi.errors import PayloadError
from phasic_mpi.graph import PhaseTypeGraph
from phasic_mpi.models import build_model
from phasic_mpi.payload import (
    decode_block,
    encode_block,
    pack_blocks,
    pack_messages,
    pack_trace,
    pack_traces,
    unpack_blocks,
    unpack_messages,
    unpack_trace,
)
from phasic_mpi.scc import SccBlock, condense
from phasic_mpi.trace import BlockTrace
from tests.block_traces import plain_trace, random_block

Fields = dict[str, Any]
ARRAYS = {
    "order": np.int32,
    "row_ptr": np.int64,
    "upper_ptr": np.int64,
    "col": np.int32,
    "edge_slot": np.int64,
}


def edges_of(block: SccBlock) -> list[tuple[int, int]]:
    ends = zip(block.row_ptr[:-1], block.row_ptr[1:], strict=True)
    return [(row, int(v)) for row, (a, b) in enumerate(ends) for v in block.col[a:b]]


def assert_same_trace(actual: BlockTrace, expected: BlockTrace) -> None:
    assert (actual.key, actual.check) == (expected.key, expected.check)
    for name, dtype in ARRAYS.items():
        array = getattr(actual, name)
        assert array.dtype == dtype
        assert array.tolist() == getattr(expected, name).tolist()


def changed(block: SccBlock, change: Callable[[Fields], None]) -> bytes:
    """The payload of a block with its fields changed."""
    fields = json.loads(encode_block(block))
    change(fields)
    return json.dumps(fields).encode()


def flipped(data: bytes | bytearray, bit: int) -> bytearray:
    out = bytearray(data)
    out[bit // 8] ^= 1 << (bit % 8)
    return out


@pytest.mark.parametrize("seed", range(20))
def test_a_block_survives_the_round_trip(seed: int) -> None:
    block = random_block(2 + 3 * seed, seed)
    received = decode_block(encode_block(block), block.key)
    assert (received.key, received.check) == (block.key, block.check)
    assert received.row_ptr.tolist() == block.row_ptr.tolist()
    assert received.col.tolist() == block.col.tolist()
    assert (received.row_ptr.dtype, received.col.dtype) == (np.int64, np.int32)


@pytest.mark.parametrize("seed", range(5))
def test_a_payload_is_a_graph_whose_only_component_is_the_block(seed: int) -> None:
    block = random_block(17, seed)
    graph = PhaseTypeGraph.from_serialized(json.loads(encode_block(block)))
    assert graph.n_vertices == block.n_vertices + 2
    pairs = zip(graph.edge_source.tolist(), graph.edge_target.tolist(), strict=True)
    assert list(pairs) == [*((u + 1, v + 1) for u, v in edges_of(block)), (1, 18)]
    assert [part.key for part in condense(graph).distinct] == [block.key]


def test_the_blocks_of_a_model_survive_the_round_trip_in_one_message() -> None:
    blocks = condense(build_model("structured-coalescent", n=6, islands=3)).distinct
    received = unpack_blocks(memoryview(pack_blocks(blocks)))
    assert [block.key for block in received] == [block.key for block in blocks]
    assert unpack_blocks(memoryview(pack_blocks([]))) == []


def set_edge(row: int, column: int, value: object) -> Callable[[Fields], None]:
    def change(fields: Fields) -> None:
        fields["edges"][row][column] = value

    return change


def move_an_edge(fields: Fields) -> None:
    """The last edge of vertex 1 within the block leads elsewhere, still in order."""
    edges = fields["edges"]
    rows = [row for row, edge in enumerate(edges[:-1]) if edge[0] == 1]
    used = [edges[row][1] for row in rows]
    edges[rows[-1]][1] = next(v for v in range(8, 1, -1) if v not in used)
    assert sorted(edges[row][1] for row in rows) == [edges[row][1] for row in rows]


DAMAGES: dict[str, Callable[[Fields], None]] = {
    "another target": move_an_edge,
    "a target that is not there": set_edge(0, 1, 99),
    "a negative target": set_edge(0, 1, -1),
    "a target of more than 64 bits": set_edge(0, 1, 10**20),
    "an edge from the start": set_edge(0, 0, 0),
    "an edge out of order": set_edge(0, 0, 5),
    "a self-loop": set_edge(0, 1, 1),
    "a target as a float": set_edge(0, 1, 2.0),
    "a target as text": set_edge(0, 1, "2"),
    "another weight": set_edge(0, 2, 2),
    "a weight as a float": set_edge(0, 2, 1.0),
    "a weight of more than 64 bits": set_edge(0, 2, 2**64),
    "a weight that is true": set_edge(0, 2, True),
    "another exit": set_edge(-1, 0, 2),
    "an edge of two numbers": lambda fields: fields["edges"][0].pop(),
    "an edge less": lambda fields: fields["edges"].pop(0),
    "an edge twice": lambda fields: fields["edges"].insert(0, fields["edges"][0]),
    "no edges": lambda fields: fields["edges"].clear(),
    "a vertex more": lambda fields: fields.update(n_vertices=fields["n_vertices"] + 1),
    "a vertex less": lambda fields: fields.update(n_vertices=fields["n_vertices"] - 1),
    "a number of vertices as a float": lambda fields: fields.update(n_vertices=10.0),
    "more vertices than fit in memory": lambda fields: fields.update(n_vertices=10**15),
    "a negative number of vertices": lambda fields: fields.update(n_vertices=-2),
    "another start": lambda fields: fields.update(start_edges=[[2, 1]]),
    "two starts": lambda fields: fields.update(start_edges=[[1, 1], [1, 1]]),
    "states": lambda fields: fields.update(states=[[]] * 10),
    "parameters": lambda fields: fields.update(param_length=1),
    "parameterised edges": lambda fields: fields.update(param_edges=[[]]),
    "parameterised starts": lambda fields: fields.update(start_param_edges=[[]]),
    "a field more": lambda fields: fields.update(weight_mode="linear"),
    "a field less": lambda fields: fields.pop("states"),
    "no list": lambda fields: fields.update(edges={}),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_payload_is_refused_under_the_name_of_the_block(damage: str) -> None:
    block = random_block(8, 3)
    with pytest.raises(PayloadError, match="A block arrived damaged") as caught:
        decode_block(changed(block, DAMAGES[damage]), block.key)
    assert caught.value.context["block"] == block.key


def test_a_text_that_is_no_payload_is_refused_under_the_name_of_the_block() -> None:
    block = random_block(8, 3)
    text = encode_block(block)
    unreadable = [
        *(text[:end] for end in range(len(text))),
        text + b",",
        b"\xff" + text,
        text.replace(b'"edges"', b'"edges\xff"'),
        b"[]",
        b"[" * 100_000,
        b'{"edges":' + b"[" * 100_000,
    ]
    for spoilt in unreadable:
        with pytest.raises(PayloadError, match="arrived damaged") as caught:
            decode_block(spoilt, block.key)
        assert caught.value.context["block"] == block.key


def test_another_block_than_announced_is_refused_and_both_are_named() -> None:
    sent, expected = random_block(8, 3), random_block(8, 4)
    with pytest.raises(PayloadError, match=f"has the key {sent.key}") as caught:
        decode_block(encode_block(sent), expected.key)
    assert caught.value.context["block"] == expected.key


@pytest.mark.parametrize("kind", [0, 1, 2])
def test_a_malformed_block_is_refused_although_its_key_fits(kind: int) -> None:
    row_ptr = np.array([0, 2, 3, 5])
    col = np.array([[2, 1, 0, 0, 1], [1, 1, 0, 0, 1], [0, 1, 0, 0, 1]][kind], dtype=np.int32)
    block = SccBlock.from_core(row_ptr, col)
    with pytest.raises(PayloadError, match=r"does not ascend|other than its row"):
        unpack_blocks(memoryview(pack_blocks([block])))


def test_a_key_without_a_payload_is_refused() -> None:
    block = random_block(8, 3)
    parts = [block.key.encode(), encode_block(block), block.key.encode()]
    with pytest.raises(PayloadError, match="a key and a payload for each block, got 3 parts"):
        unpack_blocks(memoryview(pack_messages(parts)))


def test_an_edge_out_of_order_is_named_by_its_row() -> None:
    block = random_block(8, 3)
    text = changed(block, lambda fields: fields["edges"].insert(4, fields["edges"].pop(0)))
    with pytest.raises(PayloadError, match="not so at row 4"):
        decode_block(text, block.key)


@pytest.mark.parametrize("seed", range(300))
def test_a_flipped_bit_in_a_payload_is_refused_or_changes_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    block = random_block(9, seed)
    text = encode_block(block)
    spoilt = flipped(text, int(rng.integers(0, 8 * len(text))))
    try:
        received = decode_block(bytes(spoilt), block.key)
    except PayloadError:
        return
    assert edges_of(received) == edges_of(block)


def test_messages_survive_the_round_trip() -> None:
    for messages in ([], [b""], [b"", b"a", b""], [bytes(1000), b"\xff" * 7]):
        packed = pack_messages(messages)
        assert [bytes(part) for part in unpack_messages(memoryview(packed))] == messages


@pytest.mark.parametrize("messages", [[b"one", b"", b"three"], [b""], [b"", b""], []])
def test_every_flipped_bit_in_packed_messages_is_refused(messages: list[bytes]) -> None:
    packed = pack_messages(messages)
    for bit in range(8 * len(packed)):
        with pytest.raises(PayloadError, match="A message between ranks arrived damaged"):
            unpack_messages(memoryview(flipped(packed, bit)))


def test_packed_messages_cut_short_or_too_long_are_refused() -> None:
    packed = pack_messages([b"one", b"two"])
    for damaged in (*(packed[:end] for end in range(len(packed))), packed + b"\0"):
        with pytest.raises(PayloadError, match="arrived damaged"):
            unpack_messages(memoryview(damaged))


def test_lengths_that_add_up_modulo_64_bits_are_refused() -> None:
    packed = bytearray(pack_messages([b"a", b"b", b"c", b"d", b"e"]))
    lengths = np.array([5, 2**62, 2**62, 2**62, 2**62, 5], dtype="<i8")
    packed[: lengths.nbytes] = lengths.tobytes()
    with pytest.raises(PayloadError, match="arrived damaged"):
        unpack_messages(memoryview(packed))


@pytest.mark.parametrize("seed", range(10))
def test_a_trace_survives_the_round_trip(seed: int) -> None:
    trace = plain_trace(random_block(2 + 4 * seed, seed))
    assert_same_trace(unpack_trace(memoryview(pack_trace(trace))), trace)


def test_a_message_of_traces_is_as_documented_byte_by_byte() -> None:
    traces = [plain_trace(random_block(n, n)) for n in (2, 9)]
    packed = [
        bytes.fromhex(trace.key + trace.check)
        + b"".join(size.to_bytes(8, "little") for size in (n, len(trace.edge_slot), len(trace.col)))
        + b"".join(number.to_bytes(8, "little") for number in trace.row_ptr.tolist())
        + b"".join(number.to_bytes(8, "little") for number in trace.upper_ptr.tolist())
        + b"".join(number.to_bytes(8, "little") for number in trace.edge_slot.tolist())
        + b"".join(number.to_bytes(4, "little") for number in trace.order.tolist())
        + b"".join(number.to_bytes(4, "little") for number in trace.col.tolist())
        for n, trace in zip((2, 9), traces, strict=True)
    ]
    lengths = b"".join(number.to_bytes(8, "little") for number in (2, *map(len, packed)))
    digests = b"".join(hashlib.sha256(part).digest() for part in packed)
    assert pack_traces(traces) == lengths + digests + b"".join(packed)
    assert [pack_trace(trace) for trace in traces] == packed


def test_a_trace_with_other_widths_of_integers_arrives_in_the_documented_ones() -> None:
    trace = plain_trace(random_block(7, 1))
    swapped = BlockTrace(
        trace.key,
        trace.check,
        trace.order.astype(">i4"),
        trace.row_ptr.astype(">i8"),
        trace.upper_ptr.astype(">i8"),
        trace.col.astype(">i4"),
        trace.edge_slot.astype(">i8"),
    )
    assert pack_trace(swapped) == pack_trace(trace)


def test_every_flipped_bit_in_a_packed_trace_is_refused() -> None:
    traces = [plain_trace(random_block(n, n)) for n in (3, 5)]
    packed = pack_messages([pack_trace(trace) for trace in traces])
    for bit in range(8 * len(packed)):
        with pytest.raises(PayloadError, match="A message between ranks arrived damaged"):
            unpack_messages(memoryview(flipped(packed, bit)))


def test_a_trace_cut_short_or_with_other_counts_is_refused() -> None:
    packed = pack_trace(plain_trace(random_block(5, 2)))
    for end in range(len(packed)):
        with pytest.raises(PayloadError, match="expected"):
            unpack_trace(memoryview(packed[:end]))
    first_count = 32 + 16
    for bit in range(8 * first_count, 8 * (first_count + 3 * 8)):
        with pytest.raises(PayloadError, match="expected"):
            unpack_trace(memoryview(flipped(packed, bit)))
