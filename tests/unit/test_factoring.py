"""Factors that are kept: their bits, whatever the way and the threads, and what they refuse."""

from dataclasses import replace
from functools import partial

import jax.numpy as jnp
import numpy as np
import pytest

from phasic_mpi import _core, ffi, replay
from phasic_mpi.errors import EvaluationError, GraphError
from phasic_mpi.evaluate import Replay, expected_rewards
from phasic_mpi.factoring import Factoring
from phasic_mpi.graph import PhaseTypeGraph
from phasic_mpi.models import build_model
from phasic_mpi.replay import load_program
from phasic_mpi.trace import EliminationTrace
from tests import reference
from tests.graphs import chain_of_sccs, random_scc
from tests.recording import record_alone

pytestmark = pytest.mark.usefixtures("float64")

PLAN = _core.FactorPlan

GRAPHS = {
    "little fill": lambda: chain_of_sccs(3, 40, 1),
    "more fill": lambda: chain_of_sccs(2, 160, 2),
    "much fill": lambda: random_scc(400, 3),
    "islands": lambda: build_model("structured-coalescent", n=10, islands=4),
    "components of one vertex": lambda: build_model("kingman-spectrum", n=9),
}


def plan_of(trace: EliminationTrace, supernodes: bool | None) -> _core.FactorPlan:
    return PLAN(trace.core(), np.unique(trace.edge_slot), supernodes)


@pytest.fixture(params=[None, False, True], ids=["by cost", "apart", "supernodes"])
def supernodes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool | None:
    """Which blocks are eliminated in supernodes, here and wherever a trace is made ready."""
    chosen = partial(PLAN, supernodes=request.param)
    monkeypatch.setattr("phasic_mpi.factoring._core.FactorPlan", chosen)
    return request.param


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("name", GRAPHS)
def test_a_kept_factor_has_the_bits_of_one_that_is_used_at_once(
    name: str, transposed: bool, supernodes: bool | None
) -> None:
    trace = record_alone(GRAPHS[name]())
    plan = replay.load_program(trace).plan
    rng = np.random.default_rng(5)
    weight = rng.uniform(0.5, 1.5, np.unique(trace.edge_slot).size)
    right = rng.uniform(0.1, 1.0, (3, trace.n_transient))
    factor = plan_of(trace, supernodes).factor(weight, 1)
    for row in right:
        found = row.copy()
        factor.solve(found, transpose=transposed)
        expected = ffi.solve(
            plan,
            jnp.array(weight),
            jnp.zeros(row.size),
            jnp.zeros((0, row.size)),
            jnp.array(row)[np.newaxis],
            transposed=transposed,
        )[0]
        np.testing.assert_array_equal(found, expected)


def largest_error(graph: PhaseTypeGraph, theta: list[float]) -> float:
    """Of the expected times from all transient vertices."""
    trace = record_alone(graph)
    exact = reference.expected_times(graph, theta)[0]
    times = expected_rewards(trace, theta)[trace.vertex]
    return reference.largest_relative_error(times, [exact[v] for v in trace.vertex.tolist()])


@pytest.mark.usefixtures("supernodes")
def test_all_digits_are_kept_where_rates_span_twelve_orders() -> None:
    assert largest_error(chain_of_sccs(2, 60, 3, rates=(-6, 6)), []) < 1e-14


def test_a_block_that_pays_in_supernodes_is_factored_there_to_the_last_digits() -> None:
    graph = random_scc(250, 3, degree=100, rates=(-6, 6))
    assert plan_of(record_alone(graph), None).n_in_supernodes == 1
    assert largest_error(graph, []) < 1e-14


def test_threads_leave_no_bit_different() -> None:
    graph = build_model("structured-coalescent", n=25, islands=4)
    trace = record_alone(graph)
    theta = [1.0, 0.5]
    alone = Replay(trace).moments(theta, 2)
    for n_threads in (2, 3, 8):
        together = Replay(trace, n_threads=n_threads)
        for _ in range(3):
            np.testing.assert_array_equal(together.moments(theta, 2), alone)
    np.testing.assert_allclose(alone[0], reference.lu_moments(graph, theta, 2), rtol=1e-10)


@pytest.mark.usefixtures("supernodes")
@pytest.mark.parametrize("name", GRAPHS)
def test_what_another_theta_leaves_in_memory_does_not_show(name: str) -> None:
    graph = GRAPHS[name]()
    trace = record_alone(graph)
    theta = np.ones(max(1, graph.n_parameters))[: graph.n_parameters]
    expected = Replay(trace).moments(theta, 2)
    used = Replay(trace)
    if graph.n_parameters:
        used.moments(1e3 * theta, 1)
        with pytest.raises(EvaluationError):
            used.moments(0 * theta, 1)
    np.testing.assert_array_equal(used.moments(np.array([theta, theta]), 2), [*expected, *expected])


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("name", ["little fill", "more fill", "much fill"])
def test_the_first_vertex_that_cannot_be_left_is_found(
    name: str, n_threads: int, supernodes: bool | None
) -> None:
    trace = record_alone(GRAPHS[name]())
    slots = np.unique(trace.edge_slot)
    weight = np.ones(slots.size)
    weight[slots >= trace.first_off_slot] = 0.0  # a component without a way out
    failed = plan_of(trace, supernodes).factor(weight, n_threads).failed
    # Each of its vertices is left for those that are eliminated later, but for the last one.
    last = int(trace.pattern_ptr[trace.block_pattern[0] + 1]) - 1
    assert failed == trace.order[last]


def parallel(rates: list[float]) -> PhaseTypeGraph:
    """One state that is left by several edges."""
    return PhaseTypeGraph.from_arrays(
        n_vertices=3,
        edge_source=np.full(len(rates), 1),
        edge_target=np.full(len(rates), 2),
        edge_weight=rates,
        start_target=[1],
        start_weight=[1.0],
    )


@pytest.mark.usefixtures("supernodes")
@pytest.mark.parametrize("rate", [1e308, 1e-310])
@pytest.mark.parametrize("name", ["one vertex", "more fill", "much fill"])
def test_rates_that_overflow_or_vanish_are_refused_with_their_vertex(
    name: str, rate: float
) -> None:
    graph = parallel([1.0, 2.0]) if name == "one vertex" else GRAPHS[name]()
    columns = graph.serialize()
    edges = np.array(columns["edges"])
    edges[:, 2] = rate
    graph = PhaseTypeGraph.from_serialized({**columns, "edges": edges})
    with pytest.raises(EvaluationError, match=r"positive finite rate out of vertex \d+.*vanish"):
        Replay(record_alone(graph)).moments([], 1)


def test_slots_of_one_are_rates_out() -> None:
    graph = PhaseTypeGraph.from_arrays(
        n_vertices=4,
        edge_source=[1, 2],
        edge_target=[2, 3],
        edge_weight=[0.5, 1.0],
        start_target=[1],
        start_weight=[1.0],
    )
    trace = record_alone(graph)
    stays = trace.edge_slot < trace.first_exit_slot
    scalars, arrays = trace.parts()
    kept = ("edge_source", "edge_target", "edge_slot", "constant")
    opened = EliminationTrace.from_parts(
        scalars, {**arrays, **{name: arrays[name][stays] for name in kept}}
    )
    found, expected = np.array([2.0, 3.0]), np.array([2.0, 3.0])
    Factoring(trace).factored(np.zeros(0), 0).solve(expected)
    Factoring(opened, unit_slots=trace.edge_slot[~stays]).factored(np.zeros(0), 0).solve(found)
    np.testing.assert_array_equal(found, expected)


def test_weights_of_another_number_are_refused() -> None:
    trace = record_alone(GRAPHS["little fill"]())
    with pytest.raises(ValueError, match=r"weight: expected \d+ numbers, got 3"):
        plan_of(trace, None).factor(np.ones(3), 1)


def without_slot(trace: EliminationTrace, slot: int) -> EliminationTrace:
    """A trace of one block whose pattern lacks an entry."""
    moved = {
        name: array - (array > slot)
        for name in ("row_ptr", "upper_ptr", "edge_slot")
        for array in [getattr(trace, name)]
    }
    return replace(trace, col=np.delete(trace.col, slot), **moved)


def test_a_trace_that_lacks_what_its_elimination_fills_in_is_refused() -> None:
    trace = record_alone(random_scc(12, 1))
    (filled_in, *_) = np.setdiff1d(np.arange(trace.n_entries), trace.edge_slot)
    broken = without_slot(trace, int(filled_in))
    for load in (Replay, load_program):
        with pytest.raises(GraphError, match="lacks entries that its elimination fills in"):
            load(broken)
