"""The backend "xla" beside the compiled one, and the schedule that it follows."""

from collections.abc import Callable
from dataclasses import replace
from itertools import permutations
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from phasic_mpi import replay
from phasic_mpi.errors import ConfigError, EnvironmentMismatchError, GraphError
from phasic_mpi.graph import PhaseTypeGraph
from phasic_mpi.models import build_model
from phasic_mpi.replay.program import BACKENDS
from phasic_mpi.replay.schedule import Schedule, build_schedule
from phasic_mpi.replay.waves import ONE, RECIPROCAL, ZERO, Steps, levels
from phasic_mpi.trace import EliminationTrace
from tests.graphs import chain_of_sccs, random_scc
from tests.launch import launch
from tests.recording import record_alone

pytestmark = pytest.mark.usefixtures("float64")

# Each has a theta, and no component of any answer may differ by more.
RELATIVE = 1e-13
GRAPHS: dict[str, tuple[Callable[[], PhaseTypeGraph], list[float]]] = {
    "kingman": (lambda: build_model("kingman", n=12), [1.5]),
    "two islands": (lambda: build_model("structured-coalescent", n=7, islands=2), [1.0, 0.5]),
    "three islands": (lambda: build_model("structured-coalescent", n=5, islands=3), [1.0, 1e-9]),
    "tandem queue": (lambda: build_model("tandem-queue", capacity=6), [0.9, 1.0, 1e-8]),
    "random": (lambda: random_scc(60, 1), []),
    "random, stiff": (lambda: random_scc(60, 2, rates=(-6, 6)), []),
    "chain, stiff": (lambda: chain_of_sccs(6, 15, 3, rates=(-6, 6)), []),
    "one state": (
        lambda: PhaseTypeGraph.from_arrays(
            n_vertices=3,
            edge_source=[1],
            edge_target=[2],
            edge_weight=[4.0],
            start_target=[1],
            start_weight=[1.0],
        ),
        [],
    ),
}


@pytest.fixture(params=GRAPHS)
def graph(request: pytest.FixtureRequest) -> SimpleNamespace:
    """A graph, its trace and its programs of both backends, and a theta."""
    build, theta = GRAPHS[request.param]
    trace = record_alone(build())
    programs = [replay.load_program(trace, backend) for backend in BACKENDS]
    return SimpleNamespace(trace=trace, programs=programs, theta=jnp.array(theta))


def schedule_of(trace: EliminationTrace, *, step_cost: int = 200) -> Schedule:
    return build_schedule(trace, np.unique(trace.edge_slot), step_cost=step_cost)


def assert_agree(graph: SimpleNamespace, quantity: Callable[..., jax.Array]) -> None:
    compiled, scheduled = (quantity(program, graph.theta) for program in graph.programs)
    assert jnp.isfinite(compiled).all()
    np.testing.assert_allclose(scheduled, compiled, rtol=RELATIVE, atol=0)


def test_every_component_agrees_with_the_compiled_backend(graph) -> None:
    rewards = jnp.array(np.random.default_rng(1).uniform(0, 2, graph.trace.n_vertices))
    assert_agree(graph, replay.expected_rewards)
    assert_agree(graph, replay.expected_visits)
    assert_agree(graph, lambda program, theta: replay.moments(program, theta, 5, rewards))
    assert_agree(graph, lambda program, theta: replay.laplace_transform(program, theta, 0.3 + 2j))


@pytest.mark.parametrize("name", ["two islands", "tandem queue"])
@pytest.mark.parametrize("derivative", [jax.grad, jax.jacfwd, jax.hessian])
def test_derivatives_agree_with_the_compiled_backend(name, derivative) -> None:
    build, theta = GRAPHS[name]
    trace = record_alone(build())
    thetas = jnp.array(theta) * jnp.array([[1.0], [0.5], [2.0]])

    def derived(program: replay.Program, theta: jax.Array) -> jax.Array:
        return derivative(lambda t: replay.moments(program, t, 2)[1])(theta)

    compiled, scheduled = (
        jax.jit(jax.vmap(derived, (None, 0)))(replay.load_program(trace, backend), thetas)
        for backend in BACKENDS
    )
    # Solutions agree to 1e-13; a derivative is a sum of terms of both signs.
    np.testing.assert_allclose(scheduled, compiled, rtol=1e-11, atol=0)


def test_batches_of_shifts_rewards_and_theta_nest_in_any_order() -> None:
    build, theta = GRAPHS["two islands"]
    trace = record_alone(build())
    program = replay.load_program(trace, "xla")
    rng = np.random.default_rng(2)
    thetas = jnp.array(np.array(theta) * rng.uniform(0.5, 2, (3, 2)))
    points = jnp.array(rng.uniform(0, 1, 4) + 1j)
    rewards = jnp.array(rng.uniform(0, 1, (2, trace.n_vertices)))

    def mapped(function: Callable[..., jax.Array], order: tuple[int, ...]) -> jax.Array:
        for argument in order:
            axes = [None, None, None]
            axes[argument] = 0
            function = jax.vmap(function, tuple(axes))
        # The argument mapped last has the first axis of the result.
        return jnp.transpose(
            jax.jit(function)(thetas, points, rewards), np.argsort(order[::-1], kind="stable")
        )

    def transform(theta: jax.Array, s: jax.Array, reward: jax.Array) -> jax.Array:
        return replay.laplace_transform(program, theta, s, reward)

    one_by_one = jax.jit(transform)
    expected = np.array([[[one_by_one(t, s, r) for r in rewards] for s in points] for t in thetas])
    for order in permutations(range(3)):
        np.testing.assert_allclose(mapped(transform, order), expected, rtol=1e-14)


def test_a_large_batch_has_the_numbers_of_small_ones() -> None:
    build, theta = GRAPHS["three islands"]
    program = replay.load_program(record_alone(build()), "xla")
    thetas = jnp.array(theta) * jnp.array(np.random.default_rng(3).uniform(0.5, 2, (96, 2)))
    moments = jax.jit(jax.vmap(lambda theta: replay.moments(program, theta, 3)))
    some = jnp.concatenate([moments(part) for part in jnp.split(thetas, 3)])
    np.testing.assert_allclose(moments(thetas), some, rtol=RELATIVE)


def test_an_unknown_backend_is_refused() -> None:
    trace = record_alone(build_model("kingman", n=4))
    with pytest.raises(ConfigError, match="expected one of 'ffi', 'xla', got 'cuda'"):
        replay.load_program(trace, "cuda")


def test_only_the_compiled_backend_needs_a_cpu_and_says_what_else_there_is(monkeypatch) -> None:
    trace = record_alone(build_model("kingman", n=4))
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    with pytest.raises(EnvironmentMismatchError, match="to be 'cpu', got 'gpu'") as caught:
        replay.load_program(trace)
    assert 'load_program(trace, backend="xla")' in caught.value.resolution
    assert replay.load_program(trace, "xla").backend == "xla"


def test_a_program_without_a_plan_is_a_pytree_of_arrays() -> None:
    program = replay.load_program(record_alone(build_model("kingman", n=4)), "xla")
    leaves, structure = jax.tree.flatten(program)
    assert program.plan is None
    assert all(isinstance(leaf, jax.Array) for leaf in leaves)
    assert jax.tree.unflatten(structure, leaves).schedule is not None


def test_the_size_of_the_compiled_function_does_not_grow_with_the_graph() -> None:
    texts = []
    for capacity in (5, 20):
        trace = record_alone(build_model("tandem-queue", capacity=capacity))
        program = replay.load_program(trace, "xla")
        moments = jax.jit(replay.moments, static_argnums=2)
        texts.append(moments.lower(program, jnp.ones(3), 1).as_text())
    small, large = (text.count("stablehlo.while") for text in texts)
    assert large <= small + 6
    assert max(map(len, texts)) < 200_000


def test_levels_are_lengths_of_longest_paths() -> None:
    source, target = np.array([0, 1, 0, 3, 2]), np.array([1, 2, 2, 2, 4])
    assert levels(6, source, target).tolist() == [0, 1, 2, 0, 3, 0]


def test_every_product_is_computed_once(graph) -> None:
    trace, schedule = graph.trace, schedule_of(graph.trace)
    n_read = trace.n_entries + trace.off_col.size + trace.n_transient
    # Besides the updates: exits by way of L and of edges between blocks, and the sums of pivots.
    assert n_products(schedule.steps) == trace.n_updates + n_read
    assert n_products(schedule.forward.steps) == n_read
    assert n_products(schedule.transposed.steps) == n_read


@pytest.mark.parametrize("step_cost", [1, 5000])
def test_a_step_reads_what_earlier_steps_have_finished(graph, step_cost) -> None:
    schedule = schedule_of(graph.trace, step_cost=step_cost)
    check_order(schedule.steps, schedule.origin.size)
    for sweep in (schedule.forward, schedule.transposed):
        check_order(sweep.steps, sweep.origin.size, scales_by_itself=False)


def n_products(steps: tuple[Steps, ...]) -> int:
    return sum(int((part.left != ZERO).sum()) for part in steps)


def check_order(steps: tuple[Steps, ...], n_slots: int, *, scales_by_itself: bool = True) -> None:
    """Asserts that no step reads a slot that it or a later one changes."""
    flat = [Steps(*row) for part in steps for row in zip(*part, strict=True)]
    changed = np.full(n_slots, -1)
    for index, at in enumerate(flat):
        rows = np.flatnonzero((at.left != ZERO).any(axis=0) | (at.factor != ONE))
        changed[at.start + rows] = index
        assert at.start + at.factor.size <= n_slots
    for index, at in enumerate(flat):
        read = [at.right]
        if scales_by_itself:
            read += [at.left, at.factor[at.factor != RECIPROCAL]]
        assert all((changed[slots] < index).all() for slots in read)


def test_a_pattern_that_lacks_fill_in_is_refused() -> None:
    trace = record_alone(build_model("tandem-queue", capacity=3))
    # The last entry of the longest row of U becomes one that is there already.
    row = int(np.argmax(trace.row_ptr[1:] - trace.upper_ptr))
    col = trace.col.copy()
    col[trace.row_ptr[row + 1] - 1] = row + 1
    with pytest.raises(GraphError, match="expected an entry wherever the elimination fills in"):
        schedule_of(replace(trace, col=col))


def test_theta_are_split_over_devices_by_their_sharding_alone() -> None:
    program = """
import jax, jax.numpy as jnp, numpy as np
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_num_cpu_devices", 2)
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from phasic_mpi import build_model, record_trace, replay
trace = record_trace(build_model("structured-coalescent", n=5, islands=2))
program = replay.load_program(trace, "xla")
mesh = Mesh(np.array(jax.devices()), ("rows",))
moments = jax.jit(jax.vmap(lambda theta, program: replay.moments(program, theta, 3), (0, None)))
thetas = jnp.array(np.random.default_rng(1).uniform(0.5, 2, (10, 2)))
alone = moments(thetas, program)
rows = jax.device_put(thetas, NamedSharding(mesh, PartitionSpec("rows")))
everywhere = jax.device_put(program, NamedSharding(mesh, PartitionSpec()))
compiled = moments.lower(rows, everywhere).compile()
out = compiled(rows, everywhere)
print(len(out.sharding.device_set), "all-gather" in compiled.as_text(), bool((out == alone).all()))
"""
    done = launch(["-c", program])
    assert done.stdout.split() == ["2", "False", "True"], done.stderr
