"""Elimination orders: their fill against closed forms, nested dissection and exact degrees."""

import itertools
from collections.abc import Iterable

import numpy as np
import pytest

from phasic_mpi import _core

Edges = Iterable[tuple[int, int]]


def pattern(n: int, edges: Edges) -> tuple[np.ndarray, np.ndarray]:
    """CSR of distinct directed edges, columns ascending, without self-loops."""
    rows = [sorted(row) for row in neighbours(n, edges)]
    row_ptr = np.cumsum([0, *map(len, rows)], dtype=np.int64)
    return row_ptr, np.array(list(itertools.chain(*rows)), dtype=np.int32)


def neighbours(n: int, edges: Edges) -> list[set[int]]:
    rows: list[set[int]] = [set() for _ in range(n)]
    for u, v in edges:
        if u != v:
            rows[u].add(v)
    return rows


def both_ways(edges: Edges) -> list[tuple[int, int]]:
    return [pair for u, v in edges for pair in ((u, v), (v, u))]


def order_of(n: int, edges: Edges) -> np.ndarray:
    order = _core.elimination_order(*pattern(n, edges))
    assert order.dtype == np.int32
    assert sorted(order.tolist()) == list(range(n))
    return order


def count_fill(n: int, edges: Edges, order: Iterable[int]) -> int:
    """Edges that eliminating vertex by vertex adds: the fill of L + U without pivoting."""
    edges = list(edges)
    targets = neighbours(n, edges)
    sources = neighbours(n, ((v, u) for u, v in edges))
    fill = 0
    for vertex in map(int, order):
        for source in sources[vertex]:
            added = targets[vertex] - targets[source] - {source}
            fill += len(added)
            targets[source] |= added
            targets[source].discard(vertex)
            for target in added:
                sources[target].add(source)
        for target in targets[vertex]:
            sources[target].discard(vertex)
    return fill


def exact_minimum_degree(n: int, edges: Edges) -> list[int]:
    """The textbook algorithm on explicit cliques, ties by vertex."""
    adjacent = neighbours(n, both_ways(edges))
    left, order = set(range(n)), []
    while left:
        vertex = min(left, key=lambda candidate: (len(adjacent[candidate]), candidate))
        clique = adjacent[vertex]
        for member in clique:
            adjacent[member] = (adjacent[member] | clique) - {vertex, member}
        left.remove(vertex)
        order.append(vertex)
    return order


def markowitz(n: int, edges: Edges) -> list[int]:
    """Always the least in-degree times out-degree of what is left, ties by vertex."""
    edges = list(edges)
    targets = neighbours(n, edges)
    sources = neighbours(n, ((v, u) for u, v in edges))
    left, order = set(range(n)), []
    while left:
        vertex = min(left, key=lambda v: (len(sources[v]) * len(targets[v]), v))
        for source in sources[vertex]:
            targets[source] = (targets[source] | targets[vertex]) - {vertex, source}
        for target in targets[vertex]:
            sources[target] = (sources[target] | sources[vertex]) - {vertex, target}
        left.remove(vertex)
        order.append(vertex)
    return order


def grid_edges(rows: int, columns: int) -> list[tuple[int, int]]:
    number = np.arange(rows * columns).reshape(rows, columns)
    across = zip(number[:, :-1].ravel().tolist(), number[:, 1:].ravel().tolist(), strict=True)
    down = zip(number[:-1].ravel().tolist(), number[1:].ravel().tolist(), strict=True)
    return both_ways([*across, *down])


def nested_dissection(number: np.ndarray) -> list[int]:
    """Halves of a grid, then the line between them (George 1973)."""
    if number.shape[0] < number.shape[1]:
        number = number.T
    if number.shape[0] < 3:
        return number.ravel().tolist()
    middle = number.shape[0] // 2
    first, second = number[:middle], number[middle + 1 :]
    return [*nested_dissection(first), *nested_dissection(second), *number[middle].tolist()]


def random_edges(n: int, n_edges: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    return [(int(u), int(v)) for u, v in rng.integers(0, n, (n_edges, 2))]


def random_tree(n: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    label = rng.permutation(n).tolist()
    return [(label[v], label[int(rng.integers(0, v))]) for v in range(1, n)]


def test_an_empty_and_a_single_vertex_pattern_are_ordered() -> None:
    assert order_of(0, []).size == 0
    assert order_of(1, []).tolist() == [0]


@pytest.mark.parametrize("seed", range(40))
def test_the_order_of_a_random_graph_is_a_permutation_and_the_same_again(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 200))
    edges = random_edges(n, int(rng.integers(0, 6 * n)), rng)
    assert order_of(n, edges).tolist() == order_of(n, list(reversed(edges))).tolist()


@pytest.mark.parametrize("seed", range(10))
def test_a_tree_fills_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    edges = random_tree(150, rng)
    assert count_fill(150, edges, order_of(150, edges)) == 0
    edges = both_ways(edges)
    assert count_fill(150, edges, order_of(150, edges)) == 0


def test_a_star_fills_nothing_although_its_middle_is_dense() -> None:
    edges = both_ways((500, leaf) for leaf in range(1000) if leaf != 500)
    order = order_of(1000, edges)
    assert count_fill(1000, edges, order) == 0
    assert 500 in order[-2:]


def test_a_clique_fills_nothing() -> None:
    edges = list(itertools.permutations(range(30), 2))
    assert count_fill(30, edges, order_of(30, edges)) == 0


def test_a_cycle_fills_one_chord_for_each_vertex_but_three() -> None:
    edges = both_ways((v, (v + 1) % 400) for v in range(400))
    assert count_fill(400, edges, order_of(400, edges)) == 2 * (400 - 3)


def test_a_disconnected_pattern_fills_as_little_as_its_parts() -> None:
    rng = np.random.default_rng(5)
    clique = itertools.permutations(range(20), 2)
    tree = both_ways((20 + u, 20 + v) for u, v in random_tree(100, rng))
    cycle = both_ways((150 + v, 150 + (v + 1) % 60) for v in range(60))
    edges = [*clique, *tree, *cycle]  # vertices 120 to 149 have no edges
    assert count_fill(210, edges, order_of(210, edges)) == 2 * (60 - 3)


def test_dense_vertices_come_last() -> None:
    n, hubs = 2000, [3, 1000, 1999]
    ring = both_ways((v, (v + 1) % n) for v in range(n))
    edges = ring + both_ways((hub, v) for hub in hubs for v in range(n))
    order = order_of(n, edges)
    assert sorted(order[-3:].tolist()) == hubs
    spokes = [v for v in range(n) if v not in hubs]
    assert count_fill(n, edges, order) <= count_fill(n, edges, spokes + hubs)


@pytest.mark.parametrize("size", [15, 31])
def test_a_grid_fills_a_quarter_less_than_under_plain_nested_dissection(size: int) -> None:
    n, edges = size * size, grid_edges(size, size)
    dissected = count_fill(n, edges, nested_dissection(np.arange(n).reshape(size, size)))
    assert count_fill(n, edges, order_of(n, edges)) <= 0.75 * dissected


@pytest.mark.parametrize("seed", range(4))
def test_the_names_of_the_vertices_matter_little(seed: int) -> None:
    edges = grid_edges(20, 20)
    name = np.random.default_rng(seed).permutation(400).tolist()
    renamed = [(name[u], name[v]) for u, v in edges]
    plain, other = (count_fill(400, e, order_of(400, e)) for e in (edges, renamed))
    assert other == pytest.approx(plain, rel=0.2)


@pytest.mark.parametrize("n", [2, 3, 17, 40, 63, 64])
@pytest.mark.parametrize("seed", range(5))
def test_blocks_that_fit_a_machine_word_are_ordered_as_markowitz_says(n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    edges = random_edges(n, 3 * n, rng)
    assert order_of(n, edges).tolist() == markowitz(n, edges)


@pytest.mark.parametrize(("n", "n_edges"), [(12, 24), (30, 60), (60, 120), (60, 400)])
def test_random_graphs_fill_no_more_than_with_exact_degrees(n: int, n_edges: int) -> None:
    rng = np.random.default_rng(n + n_edges)
    ours = exact = 0
    for _ in range(60):
        edges = random_edges(n, n_edges, rng)
        ours += count_fill(n, edges, order_of(n, edges))
        exact += count_fill(n, edges, exact_minimum_degree(n, edges))
    assert ours <= exact


def test_a_birth_death_chain_of_a_million_states_fills_nothing() -> None:
    n = 1_000_000
    row_ptr = np.concatenate([[0], np.arange(1, 2 * n - 2, 2), [2 * n - 2]])
    inner = np.arange(1, n - 1, dtype=np.int32)
    col = np.concatenate([[1], np.column_stack([inner - 1, inner + 1]).ravel(), [n - 2]])
    order = _core.elimination_order(row_ptr, col.astype(np.int32))
    place = np.empty(n, dtype=np.int64)
    place[order] = np.arange(n)
    assert np.array_equal(np.sort(order), np.arange(n))
    # Eliminating a state while both neighbours are there would join them by a new edge.
    first_of_three = (place[1:-1] < place[:-2]) & (place[1:-1] < place[2:])
    assert not first_of_three.any()


@pytest.mark.parametrize(
    ("array", "index", "value"), [("row_ptr", 1, 99), ("col", 0, 9), ("col", -1, -1)]
)
def test_a_pattern_out_of_range_is_refused(array: str, index: int, value: int) -> None:
    row_ptr, col = pattern(9, grid_edges(3, 3))
    {"row_ptr": row_ptr, "col": col}[array][index] = value
    with pytest.raises(RuntimeError, match="row pointer or column out of range"):
        _core.elimination_order(row_ptr, col)


@pytest.mark.parametrize("seed", range(20))
def test_entries_under_any_order_are_those_of_plain_elimination(seed: int) -> None:
    rng = np.random.default_rng(seed)
    edges = random_edges(40, 90, rng)
    row_ptr, col = pattern(40, edges)
    order = rng.permutation(40).astype(np.int32)
    expected = col.size + count_fill(40, edges, order)
    assert _core.count_cost(row_ptr, col, order)[0] == expected


@pytest.mark.parametrize("order", [[0, 1, 2], [0, 1, 2, 3, 3], [0, 1, 2, 2], [0, 1, 2, 4], []])
def test_an_order_that_is_no_permutation_is_refused(order: list[int]) -> None:
    row_ptr, col = pattern(4, both_ways([(0, 1), (1, 2), (2, 3)]))
    with pytest.raises(ValueError, match="order"):
        _core.count_cost(row_ptr, col, np.array(order, dtype=np.int32))
