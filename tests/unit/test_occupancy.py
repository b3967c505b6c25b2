"""Time spent in vertices beside integrals of matrix exponentials of 60 digits."""

from collections.abc import Callable
from functools import cache

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest
from scipy.special import gammainc

from phasic_mpi import replay
from phasic_mpi.errors import ConfigError, EvaluationError
from phasic_mpi.graph import PhaseTypeGraph
from phasic_mpi.models import build_model
from phasic_mpi.replay import poisson
from tests.dense import Dense
from tests.graphs import chain_of_sccs
from tests.recording import record_alone

pytestmark = pytest.mark.usefixtures("float64")

MODELS: dict[str, tuple[Callable[[], PhaseTypeGraph], list[float]]] = {
    "kingman": (lambda: build_model("kingman", n=8), [1.5]),
    "structured-coalescent": (
        lambda: build_model("structured-coalescent", n=3, islands=2),
        [1.0, 0.5],
    ),
    "tandem-queue": (lambda: build_model("tandem-queue", capacity=2), [0.9, 1.0, 1.25]),
}
METHODS = ("uniformisation", "inversion")

Case = tuple[replay.Program, jax.Array, Dense]


@cache
def load(name: str, backend: str = "ffi") -> Case:
    build, theta = MODELS[name]
    graph = build()
    program = replay.load_program(record_alone(graph), backend=backend)
    return program, jnp.array(theta), dense(name)


@cache
def dense(name: str) -> Dense:
    build, theta = MODELS[name]
    return Dense(build(), theta)


@pytest.fixture(scope="module")
def islands() -> Case:
    return load("structured-coalescent")


def expected(dense: Dense, quantity: str, times: np.ndarray) -> np.ndarray:
    return np.array([[float(x) for x in dense.at(float(t))[quantity]] for t in times])


@pytest.mark.parametrize("backend", ["ffi", "xla"])
def test_uniformisation_is_right_to_a_relative_1e_12_at_any_time(backend) -> None:
    for name in MODELS:
        program, theta, dense = load(name, backend)
        times = np.array([1e-8, 1e-3, 0.1, 1.0, 5.0, 30.0]) * dense.mean
        actual = replay.expected_occupancy(program, theta, times, method="uniformisation")
        np.testing.assert_allclose(
            actual[:, dense.vertex], expected(dense, "spent", times), rtol=1e-12
        )
        assert np.delete(actual, dense.vertex, axis=1).max() == 0


def test_inversion_is_right_to_a_part_of_1e_11_of_the_time(islands) -> None:
    program, theta, dense = islands
    times = np.array([1e-3, 0.1, 1.0, 5.0]) * dense.mean
    actual = replay.expected_occupancy(program, theta, times, method="inversion")
    error = actual[:, dense.vertex] - expected(dense, "spent", times)
    assert np.abs(error / times[:, np.newaxis]).max() < 1e-11


@pytest.mark.parametrize("method", METHODS)
def test_one_pass_gives_the_probabilities_and_the_times_of_two(islands, method) -> None:
    program, theta, dense = islands
    times = np.array([[0.0, 0.3], [1.0, 2.0]]) * dense.mean
    both = replay.occupation(program, theta, times, method=method)
    states = replay.state_probabilities(program, theta, times, method=method)
    assert both.spent.shape == both.probabilities.shape == (2, 2, program.n_vertices)
    np.testing.assert_allclose(both.probabilities, states, rtol=0, atol=1e-13)
    # Whoever is not absorbed by the time has spent all of it somewhere.
    survival = replay.survival(program, theta, times, method=method)
    np.testing.assert_allclose(both.probabilities.sum(axis=-1), survival, atol=1e-12)
    assert np.abs(both.spent[0, 0]).max() == 0


def test_all_the_time_is_spent_in_the_limit(islands) -> None:
    program, theta, dense = islands
    late = replay.expected_occupancy(program, theta, 60 * dense.mean)
    visits = replay.expected_visits(program, theta)
    np.testing.assert_allclose(late, visits, rtol=1e-12, atol=1e-14)


def test_times_so_short_that_nothing_happens_are_spent_at_the_start(islands) -> None:
    program, theta, _ = islands
    spent = replay.expected_occupancy(program, theta, jnp.array([-1.0, 0.0, 1e-30]))
    start = replay.with_start(program, jnp.zeros(program.n_vertices).at[1].set(1.0))
    np.testing.assert_allclose(spent.sum(axis=-1), [0.0, 0.0, 1e-30], rtol=1e-13)
    assert float(replay.expected_occupancy(start, theta, 1e-30)[1]) == pytest.approx(1e-30)


def test_stiff_graphs_keep_their_digits() -> None:
    graph = chain_of_sccs(2, 4, 1, rates=(-2, 2))
    program, dense = replay.load_program(record_alone(graph)), Dense(graph, [])
    times = np.array([1e-4, 1e-2, 1.0]) * dense.mean
    actual = replay.expected_occupancy(program, jnp.zeros(0), times, method="uniformisation")
    np.testing.assert_allclose(actual[:, dense.vertex], expected(dense, "spent", times), rtol=1e-11)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("backend", ["ffi", "xla"])
def test_the_derivative_in_the_time_is_the_probability(backend, method) -> None:
    program, theta, _ = load("structured-coalescent", backend)
    how = replay.choose_method(program, theta, 1.0, method=method)._asdict()
    slope = jax.jit(jax.jacfwd(lambda t: replay.expected_occupancy(program, theta, t, **how)))
    states = replay.state_probabilities(program, theta, 0.7, **how)
    np.testing.assert_allclose(slope(0.7), states, rtol=0, atol=1e-10)
    if method == "uniformisation":
        at_zero = replay.state_probabilities(program, theta, 0.0, **how)
        np.testing.assert_allclose(slope(0.0), at_zero, rtol=1e-14)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("mode", [jax.jacfwd, jax.jacrev])
def test_derivatives_in_theta_are_central_differences(islands, method, mode) -> None:
    program, theta, _ = islands
    graph, time = MODELS["structured-coalescent"][0](), 0.8
    rewards = jnp.array(graph.states.sum(axis=1), dtype=jnp.float64)
    how = replay.choose_method(program, theta, time, method=method)._asdict()

    def reward(theta: jax.Array) -> jax.Array:
        return rewards @ replay.expected_occupancy(program, theta, time, **how)

    def exact(parameter: int, sign: int) -> mp.mpf:
        moved = [mp.mpf(x) for x in theta.tolist()]
        moved[parameter] += sign * mp.mpf(10) ** -15
        dense = Dense(graph, moved)
        spent = zip(dense.vertex, dense.at(time)["spent"], strict=True)
        return mp.fsum(mp.mpf(float(rewards[v])) * x for v, x in spent)

    slope = [float((exact(i, 1) - exact(i, -1)) / (2 * mp.mpf(10) ** -15)) for i in (0, 1)]
    batch = jax.jit(jax.vmap(mode(reward)))(jnp.stack([theta, theta]))
    np.testing.assert_allclose(batch, [slope, slope], rtol=1e-9)


def test_rows_of_theta_under_vmap_are_what_each_is_alone(islands) -> None:
    program, theta, _ = islands
    rows = theta * jnp.array([[1.0], [1.1], [0.8]])
    how = replay.choose_method(program, rows, 2.0)._asdict()
    batch = jax.vmap(lambda t: replay.expected_occupancy(program, t, 2.0, **how))(rows)
    alone = [replay.expected_occupancy(program, row, 2.0, **how) for row in rows]
    np.testing.assert_allclose(batch, alone, rtol=1e-12)


def test_a_process_in_which_nothing_happens_stays_where_it_is() -> None:
    program, _, _ = load("tandem-queue")
    spent = replay.expected_occupancy(program, jnp.zeros(3), 2.0)
    assert float(spent.sum()) == pytest.approx(2.0, rel=1e-15)
    assert float(spent.max()) == pytest.approx(2.0, rel=1e-15)


def test_too_few_terms_and_negative_rates_give_nan(islands) -> None:
    program, theta, _ = islands
    how = {"method": "uniformisation", "n_terms": 40}
    early, late = replay.expected_occupancy(program, theta, jnp.array([0.1, 100.0]), **how)
    assert np.isfinite(early).all()
    assert np.isnan(late[program.vertex]).all()
    negative = replay.expected_occupancy(program, -theta, 0.1, **how)
    assert np.isnan(negative[program.vertex]).all()


def test_a_program_starts_where_it_is_told_to(islands) -> None:
    program, theta, _ = islands
    start = (
        jnp.zeros(program.n_vertices)
        .at[program.vertex[jnp.array([1, 4])]]
        .set(jnp.array([0.5, 0.25]))
    )
    other = replay.with_start(program, start)
    from_each = replay.expected_rewards(program, theta)
    assert float(replay.moments(other, theta, 1)[0]) == pytest.approx(float(start @ from_each))
    assert float(replay.cdf(other, theta, 0.0)) == pytest.approx(0.25)
    slope = jax.grad(lambda s: replay.moments(replay.with_start(program, s), theta, 1)[0])(start)
    np.testing.assert_allclose(slope[1:], from_each[1:], rtol=1e-12)


def test_exceedances_keep_their_digits_and_their_slopes_are_probabilities() -> None:
    for mean in (0.5, 400.0):
        n_terms = poisson.n_terms(mean)
        exact = gammainc(np.arange(1, n_terms + 1), mean)
        actual = poisson.exceedances(n_terms, jnp.float64(mean))
        np.testing.assert_allclose(actual, exact, rtol=1e-12, atol=poisson.TAIL * mean)
        slope = jax.jacfwd(lambda m, n=n_terms: poisson.exceedances(n, m))(mean)
        np.testing.assert_array_equal(slope, poisson.pmf(jnp.arange(0.0, n_terms), mean))


def test_what_cannot_be_computed_is_refused(islands) -> None:
    program, theta, _ = islands
    with pytest.raises(ConfigError, match=r"do not depend on traced arrays"):
        jax.jit(lambda t: replay.expected_occupancy(program, t, 1.0))(theta)
    with pytest.raises(EvaluationError, match=r"probability for each vertex, shape \(10,\), got"):
        replay.with_start(program, jnp.ones(3))
    for start in (jnp.full(program.n_vertices, -0.1), jnp.ones(program.n_vertices)):
        with pytest.raises(EvaluationError, match=r"with a sum of at most 1, got .* sum of -?1"):
            replay.with_start(program, start)
