"""Parts of a block: joined, they are the block; alone, they cannot be mistaken for it."""

import dataclasses
import json

import numpy as np
import pytest

from phasic_mpi import _core
from phasic_mpi.errors import GraphError, PayloadError
from phasic_mpi.models import build_model
from phasic_mpi.parts import CutBlock, divide, join, join_all
from phasic_mpi.payload import decode_block, encode_block
from phasic_mpi.record import Recorder
from phasic_mpi.scc import SccBlock, condense
from phasic_mpi.trace import BlockTrace
from tests.block_traces import plain_trace, random_block

ARRAYS = ("order", "row_ptr", "upper_ptr", "col", "edge_slot")


def large_block() -> SccBlock:
    """One component of 5,920 vertices that is cut."""
    [block] = condense(build_model("sir", sizes=[11, 11], waning=1)).distinct
    return block


def cut(block: SccBlock, leaf_vertices: int) -> CutBlock:
    found = _core.cut(block.row_ptr, block.col, leaf_vertices)
    parts = tuple(SccBlock.from_core(*part[:4]) for part in found)
    return CutBlock(block, parts, tuple(part[4] for part in found))


def record(blocks: tuple[SccBlock, ...]) -> dict[str, BlockTrace]:
    traces = Recorder(strategy="sequential", n_threads=1).record(blocks)
    return {trace.key: trace for trace in traces}


def assert_same_pattern(actual: BlockTrace, expected: BlockTrace) -> None:
    assert (actual.key, actual.check) == (expected.key, expected.check)
    for name in ARRAYS:
        assert np.array_equal(getattr(actual, name), getattr(expected, name)), name


@pytest.mark.parametrize("leaf_vertices", [1, 5, 30])
@pytest.mark.parametrize("seed", range(25))
def test_joined_parts_are_what_plain_elimination_gives(seed: int, leaf_vertices: int) -> None:
    block = random_block(2 + 5 * seed, seed, n_extra=seed * (seed % 3))
    found = cut(block, leaf_vertices)
    joined = join(found, record(found.parts))
    assert_same_pattern(joined, plain_trace(block, order=joined.order))


@pytest.mark.parametrize("seed", range(5))
def test_each_vertex_is_an_own_one_of_one_part_and_before_that_only_on_boundaries(
    seed: int,
) -> None:
    block = random_block(200, seed)
    found = cut(block, 20)
    owned: list[int] = []
    for part, vertex in zip(found.parts, found.vertex, strict=True):
        own, boundary = np.split(vertex, [part.n_recorded - part.n_boundary])
        owned += own.tolist()
        assert not set(boundary.tolist()) & set(owned)
    assert sorted(owned) == list(range(200))


def test_parts_have_the_edges_of_the_block_once() -> None:
    block = random_block(300, 3)
    found = cut(block, 25)
    edges = []
    for part, vertex in zip(found.parts, found.vertex, strict=True):
        row = np.repeat(np.arange(part.n_vertices), np.diff(part.row_ptr)) - part.n_below
        col = part.col - part.n_below
        real = (row >= 0) & (col >= 0)
        edges += zip(vertex[row[real]].tolist(), vertex[col[real]].tolist(), strict=True)
    row = np.repeat(np.arange(300), np.diff(block.row_ptr))
    assert sorted(edges) == list(zip(row.tolist(), block.col.tolist(), strict=True))


def test_a_block_recorded_whole_has_the_bits_of_its_joined_parts() -> None:
    block = large_block()
    division = divide([block])
    assert len(division.units) > 20
    traces = record(division.units)
    join_all(division, traces)
    assert traces.keys() == {block.key}
    assert_same_pattern(traces[block.key], record((block,))[block.key])


def test_the_order_in_advance_is_the_one_that_is_recorded() -> None:
    block = large_block()
    order = _core.elimination_order(block.row_ptr, block.col)
    assert np.array_equal(order, record((block,))[block.key].order)


def test_threads_do_not_change_a_division() -> None:
    graph = build_model("structured-coalescent", n=23, islands=4)
    one, four, many = (divide(condense(graph).distinct, n_threads=n) for n in (1, 4, 50))
    assert len(one.cut) > 1
    for other in (four, many):
        assert [unit.key for unit in one.units] == [unit.key for unit in other.units]
        assert [cut.block.key for cut in one.cut] == [cut.block.key for cut in other.cut]


def test_small_blocks_and_those_that_fill_little_are_not_cut() -> None:
    ring = np.arange(5000)
    edges = np.sort(np.stack([(ring - 1) % 5000, (ring + 1) % 5000], axis=1), axis=1)
    blocks = [
        random_block(_core.CUT_VERTICES - 1, 1),
        SccBlock.build(2 * np.arange(5001), edges.ravel().astype(np.int32)),
    ]
    assert divide(blocks).units == tuple(blocks)
    assert divide(blocks).cut == ()


def test_slices_of_separators_and_leaves_stay_small() -> None:
    division = divide([large_block()])
    [found] = division.cut
    own = np.array([part.n_recorded - part.n_boundary for part in found.parts])
    below = np.array([part.n_below for part in found.parts])
    assert own[below > 0].max() <= 48
    assert own[below == 0].max() <= 500


def test_a_part_whose_payload_has_no_edges_is_refused() -> None:
    part = cut(random_block(120, 4), 20).parts[-1]
    fields = json.loads(encode_block(part))
    fields["edges"] = []
    with pytest.raises(PayloadError, match="expected unit edges within one block"):
        decode_block(json.dumps(fields).encode(), part.key)


def test_a_part_survives_its_payload() -> None:
    for part in cut(random_block(120, 4), 20).parts:
        received = decode_block(encode_block(part), part.key)
        assert (received.key, received.check) == (part.key, part.check)
        assert (received.n_below, received.n_boundary) == (part.n_below, part.n_boundary)
        assert np.array_equal(received.row_ptr, part.row_ptr)
        assert np.array_equal(received.col, part.col)


def test_a_part_and_a_block_with_the_same_edges_have_different_keys() -> None:
    block = random_block(30, 5, n_extra=0)
    part = SccBlock.build([0, 1, 2, 2], np.array([1, 2], dtype=np.int32), 1, 1)
    whole = SccBlock.build([0, 1, 2, 2], np.array([1, 2], dtype=np.int32))
    assert len({block.key, part.key, whole.key}) == 3


@pytest.mark.parametrize(
    ("row_ptr", "col", "n_below", "n_boundary", "problem"),
    [
        ([0, 1, 2], [1, 0], 2, 0, "expected own vertices among 2"),
        ([0, 1, 2], [1, 0], -1, 1, "expected own vertices among 2"),
        ([0, 1, 2, 2], [1, 0], 2, 0, "edge 1 from 1 to 0 is not one that a part can have"),
        ([0, 0, 1, 2], [2, 1], 0, 2, "edge 0 from 1 to 2 is not one that a part can have"),
    ],
)
def test_edges_that_no_part_has_are_refused(
    row_ptr: list[int], col: list[int], n_below: int, n_boundary: int, problem: str
) -> None:
    with pytest.raises(GraphError, match=problem):
        SccBlock.build(row_ptr, np.array(col, dtype=np.int32), n_below, n_boundary)
    store = _core.BlockStore()
    arrays = np.array(row_ptr, dtype=np.int64), np.array(col, dtype=np.int32)
    status = store.record(store.put(*arrays, n_below, n_boundary))
    assert _core.STATUS_NAMES[status] == "row pointer or column out of range" or n_below == 2


def is_block(row_ptr: list[int], col: list[int], n_below: int, n_boundary: int) -> bool:
    """What SccBlock says of its arrays, edge by edge."""
    n = len(row_ptr) - 1
    if n < 0 or row_ptr[0] != 0 or row_ptr[-1] != len(col) or sorted(row_ptr) != row_ptr:
        return False
    own = range(n_below, n - n_boundary)
    if min(n_below, n_boundary) < 0 or (n_below + n_boundary > 0 and not own):
        return False
    for u in range(n):
        targets = col[row_ptr[u] : row_ptr[u + 1]]
        if sorted(set(targets) - {u}) != targets or not set(targets) <= set(range(n)):
            return False
        if u < own.start and any(v < u for v in targets):
            return False
        if u >= own.stop and any(v >= own.stop for v in targets) and n_below + n_boundary > 0:
            return False
    return True


def test_changed_patterns_are_refused_unless_they_are_blocks_still() -> None:
    blocks = [random_block(9, 3), *cut(random_block(40, 4), 10).parts, random_block(2, 1)]
    rng = np.random.default_rng(0)
    verdicts = []
    for _ in range(4000):
        block = blocks[rng.integers(len(blocks))]
        arrays = [block.row_ptr.copy(), block.col.copy()]
        sides = [block.n_below, block.n_boundary]
        changed = [*arrays, sides][rng.integers(3)]
        changed[rng.integers(len(changed))] += rng.choice((-2, -1, 1, 2))
        expected = is_block(*(array.tolist() for array in arrays), *map(int, sides))
        verdicts.append(expected)
        if expected:
            SccBlock.build(*arrays, *map(int, sides))
            continue
        with pytest.raises(GraphError, match="Block pattern is malformed"):
            SccBlock.build(*arrays, *map(int, sides))
    assert 400 < sum(verdicts) < 3600


def test_missing_parts_are_named() -> None:
    found = cut(random_block(100, 6), 20)
    traces = record(found.parts)
    del traces[found.parts[0].key]
    with pytest.raises(PayloadError, match=r"1 are missing: " + found.parts[0].key[:12]):
        join(found, traces)


@pytest.mark.parametrize("name", ["order", "row_ptr", "upper_ptr", "col"])
def test_traces_that_are_not_those_of_the_parts_are_refused(name: str) -> None:
    found = cut(random_block(150, 7), 20)
    traces = record(found.parts)
    largest = max(traces.values(), key=lambda trace: trace.n_entries)
    for index in (0, getattr(largest, name).size // 2):
        for value in (-1, getattr(largest, name)[index] + 1, 1 << 30):
            damaged = getattr(largest, name).copy()
            damaged[index] = value
            changed = dataclasses.replace(largest, **{name: damaged})
            with pytest.raises(PayloadError):
                join(found, traces | {largest.key: changed})


def test_parts_of_another_block_are_refused() -> None:
    found = cut(random_block(150, 8), 20)
    other = dataclasses.replace(found, block=random_block(150, 9))
    with pytest.raises(PayloadError, match="cannot be joined"):
        join(other, record(found.parts))
