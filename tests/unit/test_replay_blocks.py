"""All ways of eliminating a block, and both widths, beside dense solves."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from phasic_mpi import _core, ffi, replay
from phasic_mpi.graph import PhaseTypeGraph
from phasic_mpi.models import build_model
from phasic_mpi.replay.program import edge_weights
from tests import reference
from tests.graphs import chain_of_sccs
from tests.recording import record_alone

pytestmark = pytest.mark.usefixtures("float64")

N_STEPS = 3
PLAN = _core.Plan

# Graphs, and between which numbers of multiplications per entry the densest block of each lies:
# plan.cpp takes lists of places below 8, panels above 24, and between them panels for one theta
# and lists for several; with supernodes, all blocks of one real theta go through these.
GRAPHS = {
    "lists": (lambda: chain_of_sccs(3, 40, 1), (0, 7)),
    "both": (lambda: chain_of_sccs(2, 160, 2), (9, 23)),
    "both, symmetric": (lambda: build_model("structured-coalescent", n=10, islands=4), (9, 23)),
    "panels": (lambda: chain_of_sccs(1, 400, 3), (25, 1000)),
    "grid": (lambda: build_model("tandem-queue", capacity=33), (9, 23)),
}


class Systems:
    """Random operands of ``ffi.solve`` for several weights."""

    def __init__(self, graph: PhaseTypeGraph, n: int, dtype: type) -> None:
        trace = record_alone(graph)
        entries = np.diff(trace.row_ptr[trace.pattern_ptr])
        self.products_per_entry = (trace.core().count_updates() / entries).max()
        self.program = replay.load_program(trace)
        rng = np.random.default_rng(5)
        size = self.program.n_transient
        n_parameters = self.program.n_parameters
        theta = jnp.array(rng.uniform(0.5, 1.5, (n, n_parameters)))
        weights = jax.vmap(lambda t: edge_weights(self.program, t))(theta)
        self.weight = weights * rng.uniform(0.5, 1.5, weights.shape)

        def numbers(*shape: int) -> jax.Array:
            real = rng.uniform(0.1, 1, shape)
            return jnp.array(real if dtype is float else real + 1j * rng.uniform(0.1, 1, shape))

        self.shift = numbers(size)
        self.multiplier = numbers(N_STEPS - 1, size)
        self.rhs = numbers(N_STEPS, size)

    def solve(self, weight: jax.Array, transposed: bool) -> jax.Array:
        return ffi.solve(
            self.program.plan,
            weight,
            self.shift,
            self.multiplier,
            self.rhs,
            transposed=transposed,
        )

    def dense(self, weight: jax.Array, transposed: bool) -> np.ndarray:
        n = self.program.n_transient
        source, target = np.asarray(self.program.source), np.asarray(self.program.target)
        matrix = np.zeros((n, n + 1), dtype=self.rhs.dtype)
        np.add.at(matrix, (source, target), -np.asarray(weight))
        matrix = matrix[:, :n] + np.diag(
            np.bincount(source, weights=weight, minlength=n) + np.asarray(self.shift)
        )
        out = np.array(self.rhs)
        steps = range(N_STEPS)[::-1] if transposed else range(N_STEPS)
        for step in steps:
            if transposed and step + 1 < N_STEPS:
                out[step] += self.multiplier[step] * out[step + 1]
            if not transposed and step > 0:
                out[step] += self.multiplier[step - 1] * out[step - 1]
            out[step] = np.linalg.solve(matrix.T if transposed else matrix, out[step])
        return out


@pytest.fixture(params=GRAPHS, scope="module")
def graph(request: pytest.FixtureRequest) -> tuple[PhaseTypeGraph, tuple[int, int]]:
    build, limits = GRAPHS[request.param]
    return build(), limits


def choose(supernodes: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs that are loaded from now on eliminate all blocks in supernodes, or none."""
    plan = partial(PLAN, supernodes=supernodes)
    monkeypatch.setattr("phasic_mpi.replay.program._core.Plan", plan)


@pytest.fixture(params=[False, True], ids=["apart", "supernodes"])
def supernodes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    choose(request.param, monkeypatch)


@pytest.mark.usefixtures("supernodes")
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("dtype", [float, complex])
def test_solutions_are_those_of_dense_solves(graph, dtype, transposed) -> None:
    built, (least, most) = graph
    systems = Systems(built, 1, dtype)
    assert least <= systems.products_per_entry <= most
    actual = systems.solve(systems.weight[0], transposed)
    expected = systems.dense(systems.weight[0], transposed)
    np.testing.assert_allclose(actual, expected, rtol=1e-11)


@pytest.mark.usefixtures("supernodes")
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("dtype", [float, complex])
def test_a_batch_holds_the_same_bits_as_its_rows_alone(graph, dtype, transposed) -> None:
    systems = Systems(graph[0], 5, dtype)
    batch = jax.vmap(lambda weight: systems.solve(weight, transposed))(systems.weight)
    alone = jnp.stack([systems.solve(weight, transposed) for weight in systems.weight])
    assert (batch == alone).all()


@pytest.mark.usefixtures("supernodes")
def test_a_row_without_a_solution_leaves_nothing_behind(graph) -> None:
    systems = Systems(graph[0], 9, float)
    batch = jax.vmap(lambda weight: systems.solve(weight, False))
    expected = batch(systems.weight)
    spoiled = batch(systems.weight.at[4].set(jnp.inf))
    assert jnp.isnan(spoiled[4]).all()
    assert jnp.isnan(systems.solve(systems.weight[4] * jnp.nan, False)).all()
    kept = jnp.arange(9) != 4
    assert (spoiled[kept] == expected[kept]).all()
    assert (batch(systems.weight) == expected).all()
    assert (systems.solve(systems.weight[0], False) == expected[0]).all()


@pytest.mark.parametrize("transposed", [False, True])
def test_a_large_block_is_solved_one_theta_after_another_with_the_same_bits(transposed) -> None:
    systems = Systems(build_model("sir", sizes=[9, 9], waning=1), 3, float)
    assert systems.program.plan.n_lanes == 1
    batch = jax.vmap(lambda weight: systems.solve(weight, transposed))(systems.weight)
    for answer, weight in zip(batch, systems.weight, strict=True):
        np.testing.assert_array_equal(answer, systems.solve(weight, transposed))


@pytest.mark.parametrize("size", [4, 60])
def test_many_small_blocks_are_solved_side_by_side(size: int) -> None:
    program = replay.load_program(record_alone(chain_of_sccs(40, size, 1)))
    assert program.plan.n_lanes == 8


def test_threads_that_analyse_leave_no_bit_different() -> None:
    trace = record_alone(build_model("structured-coalescent", n=25, islands=4))
    weight = np.random.default_rng(7).uniform(0.5, 1.5, np.unique(trace.edge_slot).size)
    answers = []
    for n_threads in (1, 2, 5):
        program = replay.load_program(trace, n_threads=n_threads)
        n = program.n_transient
        operands = jnp.array(weight), jnp.full(n, 0.01), jnp.zeros((0, n)), jnp.ones((1, n))
        answers.append(ffi.solve(program.plan, *operands, transposed=False))
    np.testing.assert_array_equal(answers[1], answers[0])
    np.testing.assert_array_equal(answers[2], answers[0])


@pytest.mark.parametrize("transposed", [False, True])
def test_supernodes_on_several_threads_leave_no_bit_different(monkeypatch, transposed) -> None:
    trace = record_alone(build_model("tandem-queue", capacity=141))
    answers = []
    for supernodes in (False, True):
        choose(supernodes, monkeypatch)
        program = replay.load_program(trace)
        weight = edge_weights(program, jnp.array([0.9, 1.0, 1.1]))
        n = program.n_transient
        rhs = jnp.array(np.random.default_rng(6).uniform(0.5, 1.5, (2, n)))
        shift, multiplier = jnp.full(n, 0.01), jnp.ones((1, n))
        solve = partial(ffi.solve, program.plan, transposed=transposed)
        answers += [solve(weight, shift, multiplier, rhs) for _ in range(4)]
    for answer in answers[1:]:
        np.testing.assert_array_equal(answer, answers[0])


def test_supernodes_keep_all_digits_where_rates_span_twelve_orders(monkeypatch) -> None:
    choose(True, monkeypatch)
    graph = chain_of_sccs(2, 60, 3, rates=(-6, 6))
    program = replay.load_program(record_alone(graph))
    n = program.n_transient
    weight = edge_weights(program, jnp.zeros(0))
    right, none = jnp.ones((1, n)), jnp.zeros((0, n))
    times = ffi.solve(program.plan, weight, jnp.zeros(n), none, right, transposed=False)[0]
    exact = reference.expected_times(graph, [])[0]
    errors = [
        abs(float(time / exact[vertex] - 1))
        for vertex, time in zip(program.vertex.tolist(), times.tolist(), strict=True)
    ]
    assert max(errors) < 1e-14
