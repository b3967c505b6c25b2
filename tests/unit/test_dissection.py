"""Nested dissection and predicted costs: parts that separate, and counts against elimination."""

import hashlib
import itertools
import threading
import time

import numpy as np
import pytest

from phasic_mpi import _core
from phasic_mpi.models import build_model
from phasic_mpi.scc import BLOCK_SCHEMA, condense
from tests.unit.test_order import (
    Edges,
    both_ways,
    grid_edges,
    neighbours,
    nested_dissection,
    pattern,
    random_edges,
)

CANCELLED = next(code for code, name in _core.STATUS_NAMES.items() if name == "cancelled")


def lattice_edges(*sizes: int) -> list[tuple[int, int]]:
    """Both ways between the points of a box that differ by 1 in one coordinate."""
    number = np.arange(np.prod(sizes)).reshape(sizes)
    pairs = []
    for axis in range(len(sizes)):
        along = np.moveaxis(number, axis, 0)
        pairs += zip(along[:-1].ravel().tolist(), along[1:].ravel().tolist(), strict=True)
    return both_ways(pairs)


def parts_of(n: int, edges: Edges, leaf_vertices: int) -> tuple[list[int], list[int]]:
    parent, part_of = _core.dissect(*pattern(n, edges), leaf_vertices)
    return parent.tolist(), part_of.tolist()


def lineage(parent: list[int], part: int) -> list[int]:
    """The part and all above it."""
    line = [part]
    while parent[line[-1]] != -1:
        line.append(parent[line[-1]])
    return line


def subtree_sizes(parent: list[int], part_of: list[int]) -> list[int]:
    """Vertices of each part and of all below it."""
    size = [part_of.count(part) for part in range(len(parent))]
    for part in reversed(range(len(parent))):
        if parent[part] != -1:
            size[parent[part]] += size[part]
    return size


def assert_parts_separate(n: int, edges: Edges, leaf_vertices: int) -> None:
    parent, part_of = parts_of(n, edges, leaf_vertices)
    assert all(above < part for part, above in enumerate(parent))
    lines = [lineage(parent, part) for part in range(len(parent))]
    for u, v in edges:
        if part_of[u] != -1 and part_of[v] != -1:
            assert part_of[u] in lines[part_of[v]] or part_of[v] in lines[part_of[u]]


def plain_elimination(n: int, edges: Edges, order: np.ndarray) -> tuple[int, int]:
    """Entries of L + U, and products of column with row of each pivot, vertex by vertex."""
    targets = neighbours(n, edges)
    sources = neighbours(n, ((v, u) for u, v in edges))
    n_entries = n_products = 0
    for vertex in order.tolist():
        n_entries += len(sources[vertex]) + len(targets[vertex])
        n_products += len(sources[vertex]) * len(targets[vertex])
        for source in sources[vertex]:
            targets[source] = (targets[source] | targets[vertex]) - {vertex, source}
        for target in targets[vertex]:
            sources[target] = (sources[target] | sources[vertex]) - {vertex, target}
    return n_entries, n_products


@pytest.mark.parametrize("seed", range(20))
def test_parts_of_a_random_graph_meet_only_in_the_parts_above_both(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 400))
    assert_parts_separate(n, random_edges(n, int(rng.integers(0, 3 * n)), rng), 20)


@pytest.mark.parametrize("sizes", [(40, 40), (3, 300), (11, 11, 11), (6, 6, 6, 6)])
def test_sides_of_a_box_are_apart_even_and_shrink_to_the_leaves(sizes: tuple[int, ...]) -> None:
    n, edges = int(np.prod(sizes)), lattice_edges(*sizes)
    assert_parts_separate(n, edges, 100)
    parent, part_of = parts_of(n, edges, 100)
    size = subtree_sizes(parent, part_of)
    cut = set(parent) - {-1}
    assert all(size[part] <= 100 for part in range(len(parent)) if part not in cut)
    assert all(size[part] <= 0.65 * size[parent[part]] for part in range(1, len(parent)))


def test_the_separator_of_a_square_is_hardly_longer_than_its_side() -> None:
    _, part_of = parts_of(3600, grid_edges(60, 60), 2000)
    assert 60 <= part_of.count(0) <= 66


def test_a_path_is_cut_at_one_or_two_vertices() -> None:
    parent, part_of = parts_of(1000, both_ways((v, v + 1) for v in range(999)), 50)
    sizes = [part_of.count(part) for part in set(parent) - {-1}]
    assert max(sizes) <= 2
    assert sizes.count(2) <= len(sizes) / 2


def test_a_star_is_cut_at_its_middle() -> None:
    _, part_of = parts_of(80, both_ways((40, v) for v in range(80) if v != 40), 39)
    assert [v for v in range(80) if part_of[v] == 0] == [40]


def test_a_dense_vertex_belongs_to_no_part() -> None:
    _, part_of = parts_of(500, both_ways((7, v) for v in range(500) if v != 7), 100)
    assert [v for v in range(500) if part_of[v] == -1] == [7]


def test_a_complete_graph_is_one_part() -> None:
    parent, part_of = parts_of(60, list(itertools.permutations(range(60), 2)), 20)
    assert parent == [-1]
    assert part_of == [0] * 60


def test_a_disconnected_graph_needs_no_separator() -> None:
    square = grid_edges(12, 12)
    _, part_of = parts_of(288, [*square, *((u + 144, v + 144) for u, v in square)], 150)
    assert part_of.count(0) == 0
    assert_parts_separate(500, [], 20)


def order_of_parts(n: int, edges: Edges, leaf_vertices: int) -> np.ndarray:
    """Own vertices of the parts, one part after another."""
    parts = _core.cut(*pattern(n, edges), leaf_vertices)
    return np.concatenate([vertex[: vertex.size - n_boundary] for *_, n_boundary, vertex in parts])


def test_dense_vertices_belong_to_the_last_part() -> None:
    n, hubs = 3000, [3, 1000, 1999]
    ring = both_ways((v, (v + 1) % n) for v in range(n))
    edges = ring + both_ways((hub, v) for hub in hubs for v in range(n))
    assert sorted(order_of_parts(n, edges, 500)[-3:].tolist()) == hubs


def test_dissection_beats_minimum_degree_on_a_cube_and_is_chosen() -> None:
    block = pattern(16**3, lattice_edges(16, 16, 16))
    degree, chosen = _core.minimum_degree_order(*block), _core.elimination_order(*block)
    products = [_core.predict_cost(*block, order)[1] for order in (degree, chosen)]
    assert products[1] < 0.95 * products[0]
    assert len(_core.cut(*block)) > 4


def test_a_square_fills_a_fifth_less_than_under_plain_nested_dissection() -> None:
    block = pattern(10_000, grid_edges(100, 100))
    plain = np.array(nested_dissection(np.arange(10_000).reshape(100, 100)), dtype=np.int32)
    store = _core.BlockStore()
    parts = []
    for row_ptr, col, n_below, n_boundary, vertex in _core.cut(*block, 500):
        handle = store.put(row_ptr, col, n_below, n_boundary)
        assert store.record(handle) == 0
        parts.append((vertex, vertex.size - n_boundary, *store.take(handle)[:4]))
    fill = _core.join(*block, parts)[3].size - block[1].size
    assert fill <= 0.8 * (_core.count_cost(*block, plain)[0] - block[1].size)


@pytest.mark.parametrize("sizes", [(40, 40), (9, 9, 8), (1, 2000)])
def test_where_little_or_nothing_is_gained_minimum_degree_orders(sizes: tuple[int, ...]) -> None:
    block = pattern(int(np.prod(sizes)), lattice_edges(*sizes))
    assert _core.cut(*block) == []
    assert np.array_equal(_core.elimination_order(*block), _core.minimum_degree_order(*block))


@pytest.mark.parametrize("seed", range(20))
def test_predicted_costs_of_symmetric_patterns_are_those_of_plain_elimination(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 60))
    edges = both_ways(random_edges(n, int(rng.integers(0, 2 * n)), rng))
    order = rng.permutation(n).astype(np.int32)
    block = pattern(n, edges)
    predicted = _core.predict_cost(*block, order)
    assert predicted == plain_elimination(n, edges, order)
    assert predicted == _core.count_cost(*block, order)


@pytest.mark.parametrize("seed", range(20))
def test_predicted_costs_of_other_patterns_are_upper_bounds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    edges = random_edges(50, 120, rng)
    order = rng.permutation(50).astype(np.int32)
    predicted = _core.predict_cost(*pattern(50, edges), order)
    actual = plain_elimination(50, edges, order)
    assert _core.count_cost(*pattern(50, edges), order) == actual
    assert predicted[0] >= actual[0]
    assert predicted[1] >= actual[1]


def test_predicted_costs_have_closed_forms_on_a_chain_and_a_clique() -> None:
    n = 300
    ascending = np.arange(n, dtype=np.int32)
    chain = pattern(n, both_ways((v, v + 1) for v in range(n - 1)))
    assert _core.predict_cost(*chain, ascending) == (2 * (n - 1), n - 1)
    clique = pattern(n, list(itertools.permutations(range(n), 2)))
    assert _core.predict_cost(*clique, ascending) == (n * (n - 1), (n - 1) * n * (2 * n - 1) // 6)


def test_a_block_is_cut_for_a_better_order_though_its_parts_have_many_times_its_edges() -> None:
    """Boundaries of parts are large in four dimensions, but small beside what is recorded."""
    (block,) = condense(build_model("sir", sizes=[15, 15], waning=1)).distinct
    csr = block.row_ptr, block.col
    assert sum(part[1].size for part in _core.cut(*csr)) > 4 * block.col.size
    entries, products = _core.count_cost(*csr, _core.elimination_order(*csr))
    whole_entries, whole_products = _core.count_cost(*csr, _core.minimum_degree_order(*csr))
    assert entries < 0.9 * whole_entries
    assert products < 0.75 * whole_products


def bytes_of(parts: list[tuple[object, ...]]) -> list[object]:
    return [
        entry.tobytes() if isinstance(entry, np.ndarray) else entry for p in parts for entry in p
    ]


@pytest.mark.parametrize("n_threads", [2, 3, 8])
@pytest.mark.parametrize("sizes", [(40, 40), (120, 90), (14, 14, 14), (6, 6, 6, 6)])
def test_threads_do_not_change_parts(sizes: tuple[int, ...], n_threads: int) -> None:
    block = pattern(int(np.prod(sizes)), lattice_edges(*sizes))
    for leaf_vertices in (None, 30):
        alone = bytes_of(_core.cut(*block, leaf_vertices))
        assert bytes_of(_core.cut(*block, leaf_vertices, n_threads)) == alone


def test_a_block_is_cut_by_at_least_one_thread() -> None:
    with pytest.raises(ValueError, match="n_threads is less than 1"):
        _core.cut(*pattern(4, [(0, 1)]), n_threads=0)


def test_leaves_have_at_least_one_vertex() -> None:
    for function in (_core.dissect, _core.cut):
        with pytest.raises(ValueError, match="leaf_vertices is less than 1"):
            function(*pattern(4, [(0, 1)]), 0)
    assert parts_of(0, [], 1) == ([-1], [])


def test_predicted_costs_need_an_order_of_all_vertices() -> None:
    with pytest.raises(ValueError, match="order is not a permutation of the vertices"):
        _core.predict_cost(*pattern(4, [(0, 1)]), np.array([0, 1, 2, 2], dtype=np.int32))


def test_orders_change_only_with_the_schema_of_blocks() -> None:
    """Whoever changes an order changes ``BLOCK_SCHEMA`` too, and the digest of its orders here."""
    shapes = [(5, 5), (20, 20), (40, 40), (16, 16, 16)]
    blocks = [pattern(int(np.prod(sizes)), lattice_edges(*sizes)) for sizes in shapes]
    orders = b"".join(_core.elimination_order(*block).astype("<i4").tobytes() for block in blocks)
    assert (BLOCK_SCHEMA, hashlib.sha256(orders).hexdigest()[:16]) == (
        "phasic_mpi.block.5",
        "09250e9507b477ac",
    )


def test_a_dissection_is_cancelled() -> None:
    n = 450 * 450
    cell = np.arange(n).reshape(450, 450)
    pairs = [(cell[:, :-1], cell[:, 1:]), (cell[:-1], cell[1:]), (cell[:-1, 1:], cell[1:, :-1])]
    ends = np.concatenate([np.stack([u.ravel(), v.ravel()]) for u, v in pairs], axis=1)
    source, target = np.concatenate([ends, ends[::-1]], axis=1)
    row_ptr = np.concatenate([[0], np.cumsum(np.bincount(source, minlength=n))])
    store = _core.BlockStore()
    handle = store.put(row_ptr, target[np.lexsort((target, source))].astype(np.int32))
    status: list[int] = []
    worker = threading.Thread(target=lambda: status.append(store.record(handle)))
    worker.start()
    time.sleep(0.3)
    began = time.monotonic()
    store.cancel()
    worker.join(timeout=30)
    assert status == [CANCELLED]
    assert time.monotonic() - began < 0.5
