"""Plans: everything is recorded or fetched once, evenly, and the same on every rank."""

import itertools
from fractions import Fraction

import numpy as np
import pytest

from phasic_mpi import assign
from phasic_mpi.assign import Assignment, estimated_cost, plan, rounds
from phasic_mpi.errors import StoreError
from phasic_mpi.models import build_model
from phasic_mpi.parts import CutBlock, divide
from phasic_mpi.payload import encode_block
from phasic_mpi.record import Recorder
from phasic_mpi.scc import SccBlock, condense
from tests.block_traces import random_block
from tests.unit.test_dissection import lattice_edges
from tests.unit.test_order import pattern

CHECK = "0123456789abcdef" * 2


def some_blocks(n: int, seed: int, *, largest: int = 60) -> list[SccBlock]:
    """Distinct blocks of 2 to ``largest`` vertices."""
    sizes = np.random.default_rng(seed).integers(2, largest + 1, n).tolist()
    found = (random_block(size, number) for number, size in enumerate(sizes))
    return list({block.key: block for block in found}.values())


def cut_block() -> CutBlock:
    """The parts of an epidemic of 5,920 states."""
    [block] = condense(build_model("sir", sizes=[11, 11], waning=1)).distinct
    [found] = divide([block]).cut
    return found


def held_by(blocks: list[SccBlock], indices: list[list[int]]) -> list[dict[str, str]]:
    return [{blocks[i].key: blocks[i].check for i in each} for each in indices]


def names_of(per_round: tuple[tuple[tuple[int, ...], ...], ...], rank: int) -> list[int]:
    return [name for one_round in per_round for name in one_round[rank]]


def best_makespan(costs: list[float], n_ranks: int) -> float:
    """Smallest possible largest load, by trying every assignment."""
    ways = itertools.product(range(n_ranks), repeat=len(costs))
    return min(
        max(sum(c for c, r in zip(costs, way, strict=True) if r == rank) for rank in range(n_ranks))
        for way in ways
    )


@pytest.mark.parametrize("n_ranks", [1, 2, 3, 7])
@pytest.mark.parametrize("min_size", [1, 20, 1000])
def test_every_block_is_recorded_or_fetched_exactly_once(n_ranks: int, min_size: int) -> None:
    blocks = some_blocks(40, seed=1)
    rng = np.random.default_rng(n_ranks)
    held = held_by(blocks, [rng.choice(len(blocks), 8).tolist() for _ in range(n_ranks)])
    made = plan(blocks, held, min_size=min_size)
    fetched = [key for keys in made.fetch for key in keys]
    recorded = [blocks[index].key for indices in made.record for index in indices]
    assert sorted(fetched + recorded) == sorted(block.key for block in blocks)
    assert set(fetched) == {block.key for block in blocks} & {key for keys in held for key in keys}


def test_a_held_block_is_fetched_by_a_rank_that_holds_it() -> None:
    blocks = some_blocks(30, seed=2)
    held = held_by(blocks, [[0, 1, 2, 3], [2, 3, 4], []])
    made = plan(blocks, held)
    for rank, keys in enumerate(made.fetch):
        assert set(keys) <= set(held[rank])


def test_what_all_ranks_hold_is_fetched_by_all_in_equal_shares() -> None:
    blocks = some_blocks(30, seed=3)[:28]
    made = plan(blocks, held_by(blocks, [list(range(28))] * 4))
    assert [len(keys) for keys in made.fetch] == [7, 7, 7, 7]
    assert made.record == ((), (), (), ())
    assert made.scatter == ()
    assert made.balance == 1.0


def test_keys_of_other_graphs_in_a_cache_are_left_alone() -> None:
    blocks = some_blocks(5, seed=4)
    other = {"f" * 64: CHECK}
    assert plan(blocks, [other, other]) == plan(blocks, [{}, {}])


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("n_ranks", [2, 3])
def test_the_largest_load_is_within_four_thirds_of_the_best(seed: int, n_ranks: int) -> None:
    blocks = some_blocks(8, seed=seed)
    made = plan(blocks, [{}] * n_ranks, min_size=1)
    best = best_makespan([estimated_cost(block) for block in blocks], n_ranks)
    graham = Fraction(4, 3) - Fraction(1, 3 * n_ranks)
    assert max(made.loads) <= float(graham) * best * (1 + 1e-12)


def test_many_blocks_are_dealt_out_evenly() -> None:
    made = plan(some_blocks(300, seed=5), [{}] * 8)
    assert made.balance < 1.05


def test_loads_are_the_costs_of_what_each_rank_records() -> None:
    blocks = some_blocks(40, seed=6)
    made = plan(blocks, [{}] * 3)
    for indices, load in zip(made.record, made.loads, strict=True):
        assert load == pytest.approx(sum(estimated_cost(blocks[index]) for index in indices))
    assert made.balance == pytest.approx(max(made.loads) / (sum(made.loads) / 3))


def test_balance_is_the_largest_load_by_the_mean() -> None:
    assert Assignment((), (), (), (1.0, 2.0, 6.0)).balance == 2.0
    assert Assignment((), (), (), (0.0, 0.0)).balance == 1.0


def test_a_rank_gets_its_dearest_block_first() -> None:
    blocks = some_blocks(20, seed=7)
    for indices in plan(blocks, [{}] * 3, min_size=1).record:
        costs = [estimated_cost(blocks[index]) for index in indices]
        assert costs == sorted(costs, reverse=True)


def test_rank_0_which_has_the_serial_stages_is_the_last_to_get_a_block() -> None:
    assert plan(some_blocks(1, seed=8), [{}] * 3).record == ((), (), (0,))


def test_the_same_input_gives_the_same_plan_also_if_many_costs_are_equal() -> None:
    blocks = [random_block(12, seed, n_extra=0) for seed in range(40)]
    blocks = list({block.key: block for block in blocks}.values())
    assert len({estimated_cost(block) for block in blocks}) == 1
    held = held_by(blocks, [[0, 1, 2], [1, 2, 3], [2, 3, 4]])
    backwards = [dict(reversed(keys.items())) for keys in held]
    assert plan(blocks, held, min_size=30) == plan(blocks, backwards, min_size=30)


def test_small_blocks_travel_in_units_of_at_least_min_size_vertices() -> None:
    blocks = [random_block(5, seed, n_extra=9) for seed in range(40)]
    assert len({block.key for block in blocks}) == 40
    n_ranks = 40
    made = plan(blocks, [{}] * n_ranks, min_size=23)
    # Five blocks of five vertices reach 23: eight units, each whole on a rank of its own.
    units = [indices for indices in made.record if indices]
    assert [len(unit) for unit in units] == [5] * 8
    assert sorted(itertools.chain(*units)) == list(range(40))


def test_blocks_of_min_size_travel_alone_and_leftovers_together() -> None:
    blocks = [random_block(n, n) for n in (50, 49, 51, 20, 30, 50, 3)]
    made = plan(blocks, [{}] * 20, min_size=50)
    units = sorted(indices for indices in made.record if indices)
    # 49 + 20 vertices are enough for one unit, 30 + 3 are what is left.
    assert units == [(0,), (1, 3), (2,), (4, 6), (5,)]


def test_rounds_hold_what_each_rank_records_in_its_order() -> None:
    blocks = some_blocks(50, seed=9)
    made = plan(blocks, [{}] * 4, round_bytes=20_000)
    assert len(made.scatter) > 1
    for rank in range(4):
        assert names_of(made.scatter, rank) == list(made.record[rank])


@pytest.mark.parametrize("round_bytes", [1, 5_000, 20_000, 10**9])
def test_no_round_moves_more_than_the_limit_unless_it_is_a_single_block(round_bytes: int) -> None:
    blocks = some_blocks(50, seed=10)
    made = plan(blocks, [{}] * 4, round_bytes=round_bytes)
    for one_round in made.scatter:
        names = [name for names in one_round for name in names]
        n_bytes = sum(len(encode_block(blocks[name])) for name in names)
        assert n_bytes <= round_bytes or len(names) == 1
        assert names


def test_blocks_go_out_in_a_few_rounds_unless_these_were_short(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    blocks = some_blocks(200, seed=12)
    assert len(plan(blocks, [{}] * 4).scatter) == 1
    monkeypatch.setattr(assign, "_SHORT_ROUND_BYTES", 1)
    assert 4 <= len(plan(blocks, [{}] * 4).scatter) <= 6


def test_rounds_are_no_more_than_needed() -> None:
    sizes = {0: 4, 1: 6, 2: 11, 3: 1, 4: 5, 5: 5}
    assert rounds([[0, 2], [1, 3], [4, 5]], sizes, 10) == (
        ((0,), (1,), ()),
        ((), (), (4,)),
        ((2,), (), ()),
        ((), (3,), (5,)),
    )
    assert rounds([[], []], {}, 10) == ()
    assert rounds([["a"], ["b"]], {"a": 0, "b": 0}, 0) == ((("a",), ("b",)),)


def test_a_key_held_with_another_check_is_refused_and_named() -> None:
    blocks = some_blocks(6, seed=11)
    held = [{}, held_by(blocks, [[4]])[0], {blocks[4].key: CHECK}]
    with pytest.raises(StoreError, match=f"expected the check {blocks[4].check}, got {CHECK}") as e:
        plan(blocks, held)
    assert (e.value.context["rank"], e.value.context["block"]) == (2, blocks[4].key)


def test_an_empty_graph_needs_no_plan() -> None:
    made = plan([], [{}, {}])
    assert (made.record, made.fetch, made.scatter) == (((), ()), ((), ()), ())
    assert made.loads == (0.0, 0.0)


def test_the_estimated_size_of_a_payload_is_never_too_small() -> None:
    for block in [*some_blocks(20, seed=12), *cut_block().parts]:
        assert len(encode_block(block)) <= assign.payload_bytes(block)


def test_the_estimated_cost_of_parts_is_that_of_their_entries_within_a_factor_of_five() -> None:
    parts = cut_block().parts
    traces = Recorder(strategy="sequential", n_threads=1).record(parts)
    for part, trace in zip(parts, traces, strict=True):
        assert 1 / 5 < estimated_cost(part) / (300 + trace.n_entries) < 5


@pytest.mark.parametrize("sizes", [(6, 6), (30, 30), (9, 9, 9)])
def test_the_estimated_cost_of_lattices_is_that_of_their_entries_within_a_factor_of_five(
    sizes: tuple[int, ...],
) -> None:
    block = SccBlock.build(*pattern(int(np.prod(sizes)), lattice_edges(*sizes)))
    [trace] = Recorder(strategy="sequential", n_threads=1).record([block])
    assert 1 / 5 < estimated_cost(block) / (300 + trace.n_entries) < 5
