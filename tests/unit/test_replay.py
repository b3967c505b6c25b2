"""Replay in JAX beside exact rational arithmetic, dense solves and finite differences of both."""

import dataclasses
import gc
import itertools
from collections.abc import Callable
from fractions import Fraction
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.errors import JaxRuntimeError

import phasic_mpi
from phasic_mpi import _core, ffi, replay
from phasic_mpi.errors import ConfigError, EvaluationError
from phasic_mpi.graph import PhaseTypeGraph
from phasic_mpi.models import build_model
from phasic_mpi.replay.program import BACKENDS
from tests.graphs import chain_of_sccs
from tests.launch import launch
from tests.recording import record_alone
from tests.reference import eliminate, exact_moments, rates, sub_intensity

pytestmark = pytest.mark.usefixtures("float64")

STEP = Fraction(1, 2**40)  # central differences in exact arithmetic are then right to 1e-20

MODELS: dict[str, tuple[Callable[[], PhaseTypeGraph], list[float]]] = {
    "kingman": (lambda: build_model("kingman", n=8), [1.5]),
    "structured-coalescent": (
        lambda: build_model("structured-coalescent", n=4, islands=2),
        [1.0, 0.5],
    ),
    "tandem-queue": (lambda: build_model("tandem-queue", capacity=3), [0.9, 1.0, 1.25]),
}


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=MODELS)
def case(
    request: pytest.FixtureRequest, backend: str
) -> tuple[PhaseTypeGraph, replay.Program, list[float]]:
    build, theta = MODELS[request.param]
    graph = build()
    return graph, replay.load_program(record_alone(graph), backend), theta


def exact(graph: PhaseTypeGraph, theta: list[Fraction], power: int) -> Fraction:
    return exact_moments(graph, theta, power)[power - 1]


def moved(theta: list[float], *steps: tuple[int, int]) -> list[Fraction]:
    out = [Fraction(number) for number in theta]
    for index, sign in steps:
        out[index] += sign * STEP
    return out


def many(theta: list[float], n: int) -> jax.Array:
    return jnp.array(np.array(theta) * np.random.default_rng(7).uniform(0.5, 2, (n, len(theta))))


def test_moments_are_those_of_exact_arithmetic(case) -> None:
    graph, program, theta = case
    moments = jax.jit(replay.moments, static_argnums=2)(program, jnp.array(theta), 4)
    expected = [float(number) for number in exact_moments(graph, theta, 4)]
    np.testing.assert_allclose(moments, expected, rtol=1e-13)


def test_moments_of_constant_stiff_graphs_are_those_of_exact_arithmetic(backend) -> None:
    graph = chain_of_sccs(3, 8, 1, rates=(-6, 6))
    program = replay.load_program(record_alone(graph), backend)
    moments = replay.moments(program, jnp.zeros(0), 3)
    expected = [float(number) for number in exact_moments(graph, [], 3)]
    np.testing.assert_allclose(moments, expected, rtol=1e-13)


@pytest.mark.parametrize("mode", [jax.grad, jax.jacfwd, jax.jacrev])
def test_derivatives_are_exact_central_differences(case, mode) -> None:
    graph, program, theta = case
    gradient = jax.jit(mode(lambda t: replay.moments(program, t, 2)[1]))(jnp.array(theta))
    expected = [
        float(
            (exact(graph, moved(theta, (i, 1)), 2) - exact(graph, moved(theta, (i, -1)), 2))
            / (2 * STEP)
        )
        for i in range(len(theta))
    ]
    np.testing.assert_allclose(gradient, expected, rtol=1e-12)


def test_hessians_are_exact_central_differences_under_vmap(case) -> None:
    graph, program, theta = case
    hessian = jax.vmap(jax.hessian(lambda t: replay.moments(program, t, 1)[0]))
    value = jax.jit(hessian)(jnp.array([theta, theta]))
    for i in range(len(theta)):
        for j in range(len(theta)):
            corners = [
                a * b * exact(graph, moved(theta, (i, a), (j, b)), 1)
                for a in (1, -1)
                for b in (1, -1)
            ]
            expected = float(sum(corners) / (4 * STEP * STEP))
            np.testing.assert_allclose(value[:, i, j], expected, rtol=1e-11)


def test_visits_are_the_gradient_of_the_mean_in_the_rewards(case) -> None:
    graph, program, theta = case
    visits = replay.expected_visits(program, jnp.array(theta))
    gradient = jax.grad(lambda r: replay.moments(program, jnp.array(theta), 1, r)[0])(
        jnp.ones(graph.n_vertices)
    )
    np.testing.assert_allclose(visits, gradient, rtol=1e-14)
    mean = float(exact_moments(graph, theta, 1)[0])
    np.testing.assert_allclose(visits.sum(), mean, rtol=1e-13)


def test_expected_rewards_are_those_of_exact_elimination(case) -> None:
    graph, program, theta = case
    reward = np.random.default_rng(3).uniform(0, 2, graph.n_vertices)
    rows, _ = rates(graph, theta, Fraction)
    expected = eliminate(rows, Fraction(0)).rewards(
        [Fraction(r) if row else Fraction(0) for r, row in zip(reward.tolist(), rows, strict=True)]
    )
    actual = replay.expected_rewards(program, jnp.array(theta), jnp.array(reward))
    np.testing.assert_allclose(actual[1:], [float(x) for x in expected[1:]], rtol=1e-13)


def test_covariances_are_those_of_exact_elimination(case) -> None:
    graph, program, theta = case
    rewards = np.random.default_rng(4).uniform(0, 2, (3, graph.n_vertices))
    rows, alpha = rates(graph, theta, Fraction)
    elimination = eliminate(rows, Fraction(0))

    def accumulated(reward: list[Fraction]) -> list[Fraction]:
        own = [r if row else Fraction(0) for r, row in zip(reward, rows, strict=True)]
        return elimination.rewards(own)

    def mean(values: list[Fraction]) -> Fraction:
        return sum((a * x for a, x in zip(alpha, values, strict=True)), Fraction(0))

    exact_rewards = [[Fraction(r) for r in row] for row in rewards.tolist()]
    waiting = [accumulated(row) for row in exact_rewards]
    expected = np.zeros((3, 3))
    for i in range(3):
        for j in range(3):
            mixed = [
                a * y + b * x
                for a, b, x, y in zip(
                    exact_rewards[i], exact_rewards[j], waiting[i], waiting[j], strict=True
                )
            ]
            product = mean(waiting[i]) * mean(waiting[j])
            expected[i, j] = float(mean(accumulated(mixed)) - product)
    actual = replay.covariance(program, jnp.array(theta), jnp.array(rewards))
    np.testing.assert_allclose(actual, expected, rtol=1e-11)
    deviation = np.sqrt(np.diag(expected))
    correlation = replay.correlation(program, jnp.array(theta), jnp.array(rewards))
    np.testing.assert_allclose(correlation, expected / np.outer(deviation, deviation), rtol=1e-11)


def test_joint_moments_are_sums_over_the_orders_in_which_rewards_run_up(case) -> None:
    graph, program, theta = case
    rewards = np.random.default_rng(8).uniform(0, 2, (2, graph.n_vertices))
    rows, alpha = rates(graph, theta, Fraction)
    elimination = eliminate(rows, Fraction(0))
    expected = Fraction(0)
    # E[Y_0^2 Y_1] = sum over the 6 permutations of (0, 0, 1) of alpha U R U R U R 1, U = M^-1.
    for order in itertools.permutations((0, 0, 1)):
        value = [Fraction(1)] * graph.n_vertices
        for i in order:
            value = elimination.rewards(
                [
                    Fraction(r) * x if row else Fraction(0)
                    for r, x, row in zip(rewards[i].tolist(), value, rows, strict=True)
                ]
            )
        expected += sum((a * x for a, x in zip(alpha, value, strict=True)), Fraction(0))
    actual = replay.joint_moment(program, jnp.array(theta), jnp.array(rewards), (2, 1))
    np.testing.assert_allclose(actual, float(expected), rtol=1e-13)
    alone = replay.joint_moment(program, jnp.array(theta), jnp.array(rewards), (0, 3))
    third = replay.moments(program, jnp.array(theta), 3, jnp.array(rewards[1]))[2]
    np.testing.assert_allclose(alone, third, rtol=1e-14)


@pytest.mark.parametrize("orders", [(1,), (0, 0), (1, -1)])
def test_orders_that_do_not_fit_the_rewards_are_refused(case, orders) -> None:
    graph, program, theta = case
    with pytest.raises(EvaluationError, match="expected 2 orders of at least 0"):
        replay.joint_moment(program, jnp.array(theta), jnp.ones((2, graph.n_vertices)), orders)


@pytest.mark.parametrize("s", [0.0, 0.7, 0.3 + 2.5j])
def test_laplace_transforms_are_dense_solves(case, s) -> None:
    graph, program, theta = case
    reward = np.random.default_rng(5).uniform(0, 2, graph.n_vertices)
    matrix, alpha, transient = sub_intensity(graph, theta)
    dense = matrix.toarray()
    expected = (
        alpha @ np.linalg.solve(dense + s * np.diag(reward[transient]), dense.sum(axis=1))
        + 1
        - alpha.sum()
    )
    actual = replay.laplace_transform(program, jnp.array(theta), s, jnp.array(reward))
    assert jnp.iscomplexobj(actual) == isinstance(s, complex)
    np.testing.assert_allclose(actual, expected, rtol=1e-12)


def test_the_derivative_of_the_laplace_transform_at_zero_is_minus_the_mean(case) -> None:
    graph, program, theta = case
    slope = jax.grad(lambda s: replay.laplace_transform(program, jnp.array(theta), s))(0.0)
    np.testing.assert_allclose(slope, -float(exact_moments(graph, theta, 1)[0]), rtol=1e-12)


@pytest.mark.parametrize("n", [1, 2, 3, 8, 9, 21])
def test_a_batch_holds_the_same_bits_as_its_rows_alone(case, n) -> None:
    _, program, theta = case
    rows = many(theta, n)
    single = jax.jit(replay.moments, static_argnums=2)
    batch = jax.jit(jax.vmap(lambda t: replay.moments(program, t, 3)))(rows)
    assert (batch == jnp.stack([single(program, row, 3) for row in rows])).all()


def test_a_complex_batch_holds_the_same_bits_as_its_rows_alone(case) -> None:
    _, program, theta = case
    points = jnp.linspace(0.1, 2, 11) * (1 + 2j)
    transform = jax.jit(lambda s: replay.laplace_transform(program, jnp.array(theta), s))
    batch = jax.vmap(transform)(points)
    np.testing.assert_allclose(batch, jnp.stack([transform(s) for s in points]), rtol=1e-15)


def test_theta_and_rewards_are_batched_together(case) -> None:
    graph, program, theta = case
    rows = many(theta, 4)
    rewards = jnp.array(np.random.default_rng(6).uniform(0, 1, (5, graph.n_vertices)))
    both = jax.vmap(jax.vmap(lambda t, r: replay.moments(program, t, 2, r), (None, 0)), (0, None))(
        rows, rewards
    )
    assert both.shape == (4, 5, 2)
    for i, row in enumerate(rows):
        for j, reward in enumerate(rewards):
            expected = replay.moments(program, row, 2, reward)
            np.testing.assert_allclose(both[i, j], expected, rtol=1e-15)


def test_a_theta_of_negative_rates_is_nan_and_spares_the_rest_of_the_batch(case) -> None:
    _, program, theta = case
    rows = many(theta, 10).at[4].multiply(-1).at[7, 0].set(jnp.nan).at[8, 0].set(jnp.inf)
    moments = jax.vmap(lambda t: replay.moments(program, t, 2))(rows)
    illegal = jnp.isnan(moments).all(axis=1)
    assert illegal.tolist() == [index in (4, 7, 8) for index in range(10)]
    assert jnp.isfinite(moments[~illegal]).all()


def test_a_vertex_that_cannot_be_left_gives_nan(backend) -> None:
    program = replay.load_program(record_alone(build_model("kingman", n=4)), backend)
    assert jnp.isnan(replay.moments(program, jnp.zeros(1), 1)).all()


def test_single_precision_is_refused(use_float32) -> None:
    trace = record_alone(build_model("kingman", n=4))
    program = replay.load_program(trace)
    use_float32()
    with pytest.raises(ConfigError, match="expected jax_enable_x64 to be on, it is off"):
        replay.load_program(trace)
    with pytest.raises(ConfigError, match="single precision"):
        replay.moments(program, np.ones(1), 1)


def test_theta_and_rewards_of_another_shape_and_no_moments_are_refused() -> None:
    program = replay.load_program(record_alone(build_model("kingman", n=4)))
    with pytest.raises(EvaluationError, match=r"expected one theta of shape \(1,\), got \(2,\)"):
        replay.moments(program, jnp.ones(2), 1)
    with pytest.raises(EvaluationError, match=r"expected shape \(\d+,\), got \(3,\)"):
        replay.moments(program, jnp.ones(1), 1, jnp.ones(3))
    with pytest.raises(EvaluationError, match="n_moments of at least 1, got 0"):
        replay.moments(program, jnp.ones(1), 0)


@pytest.fixture
def named() -> replay.Program:
    """Three lineages on two islands; the parameters are coalescence and migration."""
    return replay.load_program(record_alone(build_model("structured-coalescent", n=3, islands=2)))


BY_NAME = {"migration": 0.5, "coalescence": 1.25}
BY_PLACE = np.array([1.25, 0.5])


def test_a_mapping_gives_the_numbers_of_the_vector(named) -> None:
    how = replay.choose_method(named, BY_NAME, 1.0)
    assert how == replay.choose_method(named, BY_PLACE, 1.0)
    third = jax.jit(lambda theta: replay.moments(named, theta, 3))
    density = jax.jit(lambda theta: replay.pdf(named, theta, 1.0, **how._asdict()))
    for function in (third, density):
        np.testing.assert_allclose(function(BY_NAME), function(BY_PLACE), rtol=1e-15)


def test_derivatives_in_a_mapping_are_mappings(named) -> None:
    def mean(theta):
        return replay.moments(named, theta, 1)[0]

    gradient, expected = jax.jit(jax.grad(mean))(BY_NAME), jax.jit(jax.grad(mean))(BY_PLACE)
    for name, slope in zip(named.parameter_names, expected, strict=True):
        np.testing.assert_allclose(gradient[name], slope, rtol=1e-14)
    curvature = jax.jit(jax.hessian(mean))(BY_NAME)
    rows = [[curvature[i][j] for j in named.parameter_names] for i in named.parameter_names]
    np.testing.assert_allclose(rows, jax.jit(jax.hessian(mean))(BY_PLACE), rtol=1e-13)


def test_mappings_are_batched_like_rows(named) -> None:
    rows = jnp.array([[1.25, 0.5], [1.0, 2.0], [0.25, 3.0]])
    columns = {"coalescence": rows[:, 0], "migration": rows[:, 1]}
    batch = jax.jit(jax.vmap(lambda theta: replay.moments(named, theta, 2)))
    np.testing.assert_array_equal(batch(columns), batch(rows))
    assert replay.choose_method(named, columns, 9.0) == replay.choose_method(named, rows, 9.0)
    shared = {"coalescence": 0, "migration": None}
    some = jax.jit(jax.vmap(lambda theta: replay.moments(named, theta, 2), in_axes=(shared,)))
    both = jnp.column_stack([rows[:, 0], jnp.full(3, 0.5)])
    np.testing.assert_array_equal(some({**columns, "migration": 0.5}), batch(both))


def test_other_names_are_refused_under_jit_too(named) -> None:
    with pytest.raises(EvaluationError, match="unknown: 'growth'; missing: migration"):
        jax.jit(lambda theta: replay.moments(named, theta, 1))({"coalescence": 1.0, "growth": 1.0})
    with pytest.raises(EvaluationError, match=r"one theta of shape \(2,\), got \(3, 2\)"):
        replay.moments(named, {"coalescence": jnp.ones(3), "migration": 1.0}, 1)
    with pytest.raises(ConfigError, match="do not depend on traced"):
        jax.jit(lambda theta: replay.pdf(named, theta, 1.0))(BY_NAME)
    bare = dataclasses.replace(named, parameter_names=())
    with pytest.raises(EvaluationError, match="the parameters of this graph have no names"):
        replay.moments(bare, BY_NAME, 1)


def test_a_plan_takes_ascending_slots_that_cover_the_edges_between_blocks() -> None:
    trace = record_alone(build_model("structured-coalescent", n=3, islands=2))
    slots = np.unique(trace.edge_slot)
    _core.Plan(trace.core(), slots)
    with pytest.raises(ValueError, match="does not ascend strictly"):
        _core.Plan(trace.core(), slots[::-1].copy())
    with pytest.raises(ValueError, match="out of range"):
        _core.Plan(trace.core(), np.append(slots, trace.n_slots))
    with pytest.raises(ValueError, match="an edge between blocks has no weight"):
        _core.Plan(trace.core(), slots[slots != trace.first_off_slot])


def test_a_program_is_a_pytree_whose_plan_is_part_of_its_structure() -> None:
    program = phasic_mpi.load_program(record_alone(build_model("kingman", n=4)))
    leaves, structure = jax.tree.flatten(program)
    rebuilt = jax.tree.unflatten(structure, leaves)
    assert rebuilt.plan is program.plan
    assert all(isinstance(leaf, jax.Array) for leaf in leaves)


def test_a_call_whose_shapes_do_not_fit_the_plan_is_refused() -> None:
    program = replay.load_program(record_alone(build_model("kingman", n=4)))
    n, n_weights = program.n_transient, program.constant.size
    shift, none = jnp.zeros(n), jnp.zeros((0, n))
    ffi.solve(program.plan, jnp.ones(n_weights), shift, none, jnp.ones((1, n)), transposed=False)
    for weight, right in [(n_weights + 1, n), (n_weights, n + 1)]:
        with pytest.raises(JaxRuntimeError, match=f"do not fit a plan of {n_weights} weights"):
            ffi.solve(
                program.plan,
                jnp.ones(weight),
                shift,
                none,
                jnp.ones((1, right)),
                transposed=False,
            ).block_until_ready()


def test_a_call_for_a_plan_that_is_gone_is_refused() -> None:
    plan = replay.load_program(record_alone(build_model("kingman", n=4))).plan
    gone = SimpleNamespace(id=plan.id)
    del plan
    gc.collect()
    some = jnp.ones((1, 3))  # XLA drops calls with nothing to compute
    with pytest.raises(JaxRuntimeError, match=f"no plan has id {gone.id}"):
        ffi.solve(gone, some[0], some[0], some[1:], some, transposed=False).block_until_ready()


def test_theta_are_split_over_devices_with_the_same_bits() -> None:
    program = """
import jax, jax.numpy as jnp, numpy as np
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_num_cpu_devices", 2)
from phasic_mpi import build_model, record_trace, replay
from jax.sharding import Mesh, PartitionSpec
program = replay.load_program(record_trace(build_model("structured-coalescent", n=5, islands=2)))
moments = jax.vmap(lambda theta, program: replay.moments(program, theta, 3), (0, None))
rows = PartitionSpec("rows")
split = jax.shard_map(moments, mesh=Mesh(np.array(jax.devices()), ("rows",)),
                      in_specs=(rows, PartitionSpec()), out_specs=rows, check_vma=False)
thetas = jnp.array(np.random.default_rng(1).uniform(0.5, 2, (10, 2)))
out = jax.jit(split)(thetas, program)
print(len(out.sharding.device_set), bool((out == jax.jit(moments)(thetas, program)).all()))
"""
    done = launch(["-c", program])
    assert done.stdout.split() == ["2", "True"], done.stderr


def test_the_name_of_a_reward_is_refused_where_an_array_is_expected(case) -> None:
    _, program, theta = case
    with pytest.raises(EvaluationError, match=r"got the name 'singletons'") as caught:
        replay.moments(program, jnp.array(theta), 1, "singletons")
    assert "trace.reward(name)" in caught.value.resolution
