"""Distributions beside matrix exponentials of 60 digits and closed forms."""

import logging
from collections.abc import Callable

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest

from phasic_mpi import replay
from phasic_mpi.errors import ConfigError, EvaluationError
from phasic_mpi.graph import PhaseTypeGraph
from phasic_mpi.models import build_model
from phasic_mpi.replay import poisson
from phasic_mpi.replay.distributions import atom
from tests.dense import Dense
from tests.graphs import chain_of_sccs
from tests.recording import record_alone

pytestmark = pytest.mark.usefixtures("float64")

# Of the mean; both methods must hold on all of them.
TIMES = np.array([1e-8, 1e-3, 0.1, 0.5, 1.0, 2.0, 5.0, 20.0])

MODELS: dict[str, tuple[Callable[[], PhaseTypeGraph], list[float]]] = {
    "kingman": (lambda: build_model("kingman", n=8), [1.5]),
    "structured-coalescent": (
        lambda: build_model("structured-coalescent", n=3, islands=2),
        [1.0, 0.5],
    ),
    "tandem-queue": (lambda: build_model("tandem-queue", capacity=2), [0.9, 1.0, 1.25]),
}
QUANTITIES = ("pdf", "cdf", "survival")


Case = tuple[replay.Program, list[float], Dense]


def load(name: str) -> Case:
    build, theta = MODELS[name]
    graph = build()
    return replay.load_program(record_alone(graph)), theta, Dense(graph, theta)


@pytest.fixture(params=MODELS, scope="module")
def case(request: pytest.FixtureRequest) -> Case:
    return load(request.param)


@pytest.fixture(scope="module")
def islands() -> Case:
    return load("structured-coalescent")


def of(program: replay.Program, name: str, theta: list[float], times: np.ndarray, **how):
    return np.asarray(getattr(replay, name)(program, jnp.array(theta), times, **how))


@pytest.mark.parametrize("name", QUANTITIES)
def test_uniformisation_is_right_to_a_relative_1e_12_from_the_first_moment_to_the_tail(
    case, name
) -> None:
    program, theta, dense = case
    times = TIMES * dense.mean
    expected = [float(dense.at(t)[name]) for t in times]
    actual = of(program, name, theta, times, method="uniformisation")
    # One minus a survival of 60 digits has fewer.
    np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-45)


@pytest.mark.parametrize("name", QUANTITIES)
def test_inversion_is_right_to_an_absolute_1e_12(case, name) -> None:
    program, theta, dense = case
    times = TIMES * dense.mean
    expected = [float(dense.at(t)[name]) for t in times]
    actual = of(program, name, theta, times, method="inversion")
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-12 * max(1, 1 / dense.mean))


@pytest.mark.parametrize("method", ["uniformisation", "inversion"])
def test_states_have_the_probabilities_of_the_matrix_exponential(case, method) -> None:
    program, theta, dense = case
    times = np.array([0.0, 0.3, 1.0]) * dense.mean
    actual = of(program, "state_probabilities", theta, times, method=method)
    for time, row in zip(times, actual, strict=True):
        expected = [float(x) for x in dense.at(time)["states"]]
        np.testing.assert_allclose(row[dense.vertex], expected, rtol=0, atol=1e-12)
        assert row.sum() == pytest.approx(sum(expected), abs=1e-12)


def stiff_graph(seed: int) -> PhaseTypeGraph:
    """Three components of four vertices with rates from 1e-6 to 1e6."""
    return chain_of_sccs(3, 4, seed, rates=(-6, 6))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_stiff_graphs_are_right_from_1e_8_to_1e_8_of_the_mean(seed) -> None:
    graph = stiff_graph(seed)
    program, dense = replay.load_program(record_alone(graph)), Dense(graph, [])
    times = 10.0 ** np.arange(-8, 9, 2) * dense.mean
    for name in QUANTITIES:
        expected = np.array([float(dense.at(t)[name]) for t in times])
        actual = of(program, name, [], times)
        scale = max(1.0, np.abs(expected).max())
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-10 * scale)


def mixture(fast: float) -> PhaseTypeGraph:
    """Half of the time exponential with rate ``fast``, half with rate 1."""
    return PhaseTypeGraph.from_arrays(
        n_vertices=4,
        edge_source=[1, 2],
        edge_target=[3, 3],
        edge_weight=[fast, 1.0],
        start_target=[1, 2],
        start_weight=[0.5, 0.5],
    )


def test_a_part_that_is_long_over_leaves_no_rounding_in_the_density() -> None:
    program = replay.load_program(record_alone(mixture(1e12)))
    times = np.array([1e-8, 1e-6, 1e-4, 1e-2, 1.0])
    actual = of(program, "pdf", [], times, method="inversion")
    np.testing.assert_allclose(actual, 0.5 * np.exp(-times), rtol=0, atol=1e-10)


def test_auto_inverts_where_uniformisation_would_take_too_many_terms(caplog) -> None:
    program = replay.load_program(record_alone(mixture(1e12)))
    with caplog.at_level(logging.INFO, logger="phasic_mpi"):
        of(program, "cdf", [], np.array([1.0]))
        of(program, "cdf", [], np.array([1e-12]))
    first, second = caplog.messages
    assert "by inversion: uniformisation would take 1" in first
    assert "by uniformisation with" in second


def erlang(n: int) -> PhaseTypeGraph:
    number = np.arange(1, n + 1)
    return PhaseTypeGraph.from_arrays(
        n_vertices=n + 2,
        edge_source=number,
        edge_target=number + 1,
        edge_weight=np.full(n, float(n)),
        start_target=[1],
        start_weight=[1.0],
    )


def test_the_far_left_tail_keeps_its_digits_under_uniformisation() -> None:
    program = replay.load_program(record_alone(erlang(50)))
    (actual,) = of(program, "pdf", [], np.array([1e-3]))
    expected = mp.mpf(50) ** 50 * mp.mpf(1e-3) ** 49 * mp.exp(-mp.mpf(50) * mp.mpf(1e-3))
    assert actual == pytest.approx(float(expected / mp.factorial(49)), rel=1e-12)


def test_a_law_too_sharp_for_the_terms_of_an_inversion_is_nan_and_right_with_more() -> None:
    program = replay.load_program(record_alone(erlang(2000)))
    assert np.isnan(of(program, "cdf", [], np.array([1.01]), method="inversion")).all()
    some, many = (
        of(program, "cdf", [], np.array([1.01]), method=method, n_terms=n_terms)
        for method, n_terms in (("inversion", 500), ("uniformisation", None))
    )
    np.testing.assert_allclose(some, many, rtol=0, atol=1e-10)


def test_too_few_terms_of_uniformisation_give_nan_at_late_times_only() -> None:
    program = replay.load_program(record_alone(erlang(3)))
    early, late = of(
        program, "cdf", [], np.array([0.1, 100.0]), method="uniformisation", n_terms=60
    )
    assert early > 0
    assert np.isnan(late)


def test_rewards_scale_the_time_at_each_vertex() -> None:
    build, theta = MODELS["tandem-queue"]
    graph = build()
    program = replay.load_program(record_alone(graph))
    rewards = np.random.default_rng(2).uniform(0.2, 3, graph.n_vertices)
    dense = Dense(graph, theta, rewards)
    times = np.array([0.1, 1.0, 3.0]) * dense.mean
    for method in ("uniformisation", "inversion"):
        for name in QUANTITIES:
            expected = [float(dense.at(t)[name]) for t in times]
            actual = of(program, name, theta, times, rewards=jnp.array(rewards), method=method)
            np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-12)


def test_vertices_without_reward_take_no_time() -> None:
    # Vertex 1 takes no time and leads on to 2 (rate 3) or to absorption (rate 1).
    graph = PhaseTypeGraph.from_arrays(
        n_vertices=4,
        edge_source=[1, 1, 2],
        edge_target=[2, 3, 3],
        edge_weight=[3.0, 1.0, 5.0],
        start_target=[1],
        start_weight=[1.0],
    )
    program = replay.load_program(record_alone(graph))
    how = {"rewards": jnp.array([0.0, 0.0, 2.0, 0.0])}
    times = np.array([0.0, 0.1, 1.0, 4.0])
    left = 0.75 * np.exp(-2.5 * times)
    np.testing.assert_allclose(of(program, "survival", [], times, **how), left, atol=1e-12)
    np.testing.assert_allclose(of(program, "cdf", [], times, **how), 1 - left, atol=1e-12)
    pdf = of(program, "pdf", [], times, **how)
    np.testing.assert_allclose(pdf[1:], 2.5 * left[1:], atol=1e-12)
    assert np.isnan(pdf[0])
    np.testing.assert_allclose(atom(program, jnp.zeros(0), **how), 0.25, rtol=1e-14)


@pytest.mark.parametrize("method", ["uniformisation", "inversion"])
def test_an_atom_at_zero_belongs_to_the_distribution_and_not_to_the_density(method) -> None:
    graph = PhaseTypeGraph.from_arrays(
        n_vertices=3,
        edge_source=[1],
        edge_target=[2],
        edge_weight=[2.0],
        start_target=[1],
        start_weight=[0.75],
    )
    program = replay.load_program(record_alone(graph))
    times = np.array([-1.0, 0.0, 0.5])
    left = np.array([1.0, 0.75, 0.75 * np.exp(-1.0)])
    expected = {"survival": left, "cdf": 1 - left, "pdf": 2 * left * [0, 1, 1]}
    for name, values in expected.items():
        first = 1 if name == "pdf" and method == "inversion" else 0
        actual = of(program, name, [], times, method=method)
        np.testing.assert_allclose(np.delete(actual, first), np.delete(values, first), atol=1e-12)
    np.testing.assert_allclose(atom(program, jnp.zeros(0), method=method), 0.25, rtol=1e-14)
    quantiles = of(program, "quantile", [], np.array([0.0, 0.2, 0.25, 0.5, 1.0]), method=method)
    np.testing.assert_allclose(
        quantiles, [0, 0, 0, np.log(0.75 / 0.5) / 2, np.inf], rtol=1e-12, atol=1e-14
    )


@pytest.mark.parametrize("method", ["uniformisation", "inversion"])
def test_quantiles_invert_the_distribution_function(case, method) -> None:
    program, theta, dense = case
    probabilities = np.array([1e-6, 0.05, 0.5, 0.95, 0.999])
    quantiles = of(program, "quantile", theta, probabilities, method=method)
    back = [float(dense.at(q)["cdf"]) for q in quantiles]
    np.testing.assert_allclose(back, probabilities, rtol=1e-11, atol=1e-12)


def test_the_hazard_is_the_density_over_the_survival(case) -> None:
    program, theta, dense = case
    times = TIMES[2:] * dense.mean
    expected = [float(dense.at(t)["pdf"] / dense.at(t)["survival"]) for t in times]
    np.testing.assert_allclose(of(program, "hazard", theta, times), expected, rtol=1e-12)


def difference(function: Callable[[list], mp.mpf], theta: list[float], index: int) -> float:
    """Central difference in 60 digits."""
    step = mp.mpf(10) ** -15

    def at(sign: int) -> mp.mpf:
        moved = [mp.mpf(x) for x in theta]
        moved[index] += sign * step
        return function(moved)

    return float((at(1) - at(-1)) / (2 * step))


@pytest.mark.parametrize("method", ["uniformisation", "inversion"])
@pytest.mark.parametrize("mode", [jax.grad, jax.jacfwd, jax.jacrev])
def test_derivatives_of_the_log_density_are_central_differences(method, mode) -> None:
    build, theta = MODELS["structured-coalescent"]
    graph = build()
    program, time = replay.load_program(record_alone(graph)), 1.3
    how = replay.choose_method(program, jnp.array(theta), time, method=method)._asdict()

    def log_density(theta: jax.Array, times: jax.Array) -> jax.Array:
        return jnp.log(replay.pdf(program, theta, times, **how))[0]

    gradient = jax.jit(jax.vmap(mode(log_density), (None, 0)))
    actual = gradient(jnp.array(theta), jnp.full((2, 1), time))
    expected = [
        difference(lambda t: mp.log(Dense(graph, t).at(time)["pdf"]), theta, i) for i in (0, 1)
    ]
    np.testing.assert_allclose(actual, [expected, expected], rtol=1e-8)


@pytest.mark.parametrize("method", ["uniformisation", "inversion"])
def test_hessians_of_the_log_density_are_central_differences_of_its_gradient(method) -> None:
    build, theta = MODELS["structured-coalescent"]
    graph = build()
    program, time = replay.load_program(record_alone(graph)), 1.3
    how = replay.choose_method(program, jnp.array(theta), time, method=method)._asdict()
    hessian = jax.jit(jax.hessian(lambda t: jnp.log(replay.pdf(program, t, time, **how))))
    for i in (0, 1):
        for j in (0, 1):

            def slope(point: list, j: int = j) -> mp.mpf:
                step = mp.mpf(10) ** -15
                up, down = list(point), list(point)
                up[j] += step
                down[j] -= step
                at_up, at_down = (mp.log(Dense(graph, t).at(time)["pdf"]) for t in (up, down))
                return (at_up - at_down) / (2 * step)

            expected = difference(slope, theta, i)
            assert float(hessian(jnp.array(theta))[i, j]) == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("method", ["uniformisation", "inversion"])
def test_quantiles_are_differentiated_through_the_distribution_function(islands, method) -> None:
    program, theta, dense = islands
    how = replay.choose_method(program, jnp.array(theta), 3 * dense.mean, method=method)._asdict()
    value = replay.quantile(program, jnp.array(theta), 0.3, **how)
    slope = jax.jacfwd(lambda t: replay.cdf(program, t, value, **how))(jnp.array(theta))
    density = float(dense.at(float(value))["pdf"])
    gradient = jax.jit(jax.grad(lambda t: replay.quantile(program, t, 0.3, **how)))
    np.testing.assert_allclose(gradient(jnp.array(theta)), -slope / density, rtol=1e-9)
    along = jax.grad(lambda p: replay.quantile(program, jnp.array(theta), p, **how))(0.3)
    np.testing.assert_allclose(along, 1 / density, rtol=1e-9)


@pytest.mark.parametrize("method", ["uniformisation", "inversion"])
def test_rows_of_theta_under_vmap_are_what_each_is_alone(islands, method) -> None:
    program, theta, dense = islands
    rows = jnp.array(theta) * jnp.array([[1.0], [1.1], [0.8]])
    times = jnp.array([0.2, 2.0]) * dense.mean
    how = replay.choose_method(program, rows, times, method=method)._asdict()
    batch = jax.jit(jax.vmap(lambda t: replay.pdf(program, t, times, **how)))(rows)
    alone = [replay.pdf(program, row, times, **how) for row in rows]
    np.testing.assert_allclose(batch, alone, rtol=1e-11)


@pytest.mark.parametrize("method", ["uniformisation", "inversion"])
def test_both_backends_compute_the_same_distributions_and_derivatives(islands, method) -> None:
    program, theta, dense = islands
    build, _ = MODELS["structured-coalescent"]
    other = replay.load_program(record_alone(build()), backend="xla")
    at, times = jnp.array(theta), jnp.array([0.3, 2.0]) * dense.mean
    how = replay.choose_method(program, at, times, method=method)._asdict()
    assert replay.choose_method(other, at, times, method=method)._asdict() == how
    for function in (replay.pdf, replay.survival, replay.state_probabilities):
        both = [function(own, at, times, **how) for own in (other, program)]
        np.testing.assert_allclose(*both, rtol=1e-11, atol=1e-13)
    slopes = [
        jax.jit(jax.jacrev(lambda t, own=own: replay.cdf(own, t, times, **how)))(at)
        for own in (other, program)
    ]
    np.testing.assert_allclose(*slopes, rtol=1e-10)


@pytest.mark.parametrize("method", ["uniformisation", "inversion"])
def test_negative_rates_give_nan(islands, method) -> None:
    program, theta, _ = islands
    rows = jnp.array([theta, [-x for x in theta]])
    how = {"method": method, "n_terms": 200}
    values = jax.vmap(lambda t: replay.cdf(program, t, jnp.ones(1), **how))(rows)
    assert np.isnan(values).ravel().tolist() == [False, True]
    atoms = jax.vmap(jax.value_and_grad(lambda t: atom(program, t, **how)))(rows)
    for value in atoms:
        assert np.isnan(value).reshape(2, -1).all(axis=1).tolist() == [False, True]


def test_poisson_probabilities_have_their_digits_at_any_mean() -> None:
    for mean in (1e-9, 0.5, 12.0, 750.0, 1e5, 1e7):
        spread = np.array([-8, -3, -0.5, 0, 0.5, 3, 8]) * np.sqrt(mean)
        number = np.unique(np.maximum(np.floor(mean + spread), 0))
        expected = [
            float(mp.exp(n * mp.log(mean) - mean - mp.loggamma(n + 1))) for n in number.tolist()
        ]
        actual = poisson.pmf(jnp.array(number), jnp.float64(mean))
        np.testing.assert_allclose(actual, expected, rtol=5e-14)


def test_enough_terms_leave_out_less_than_the_tail() -> None:
    for mean in (0.0, 1e-12, 0.3, 40.0, 1e4):
        n = poisson.n_terms(mean)
        assert mp.gammainc(n, 0, mean, regularized=True) <= poisson.TAIL
        assert n <= mean + 9 * np.sqrt(mean) + 40


def test_what_cannot_be_computed_is_refused() -> None:
    program = replay.load_program(record_alone(build_model("kingman", n=4)))
    theta, zero = jnp.ones(1), jnp.zeros(5).at[2].set(1.0)
    with pytest.raises(ConfigError, match=r"expected a method of auto, .* got 'fourier'"):
        replay.pdf(program, theta, 1.0, method="fourier")
    with pytest.raises(ConfigError, match="n_terms of at least 1, got 0"):
        replay.pdf(program, theta, 1.0, n_terms=0)
    with pytest.raises(ConfigError, match=r"do not depend on traced arrays, got method=.auto."):
        jax.grad(lambda t: replay.pdf(program, t, 1.0))(theta)
    with pytest.raises(ConfigError, match="got method='uniformisation' and n_terms=None"):
        jax.jit(lambda t: replay.cdf(program, t, 1.0, method="uniformisation"))(theta)
    with pytest.raises(EvaluationError, match="expected rewards above 0, got 0"):
        replay.cdf(program, theta, 1.0, rewards=zero, method="uniformisation")
    with pytest.raises(EvaluationError, match="expected rewards of at least 0, got -1"):
        replay.cdf(program, theta, 1.0, rewards=-zero, method="inversion")
    with pytest.raises(EvaluationError, match="expected finite rates"):
        replay.cdf(program, -theta, 1.0)
    with pytest.raises(EvaluationError, match=r"probabilities from 0 to 1, got 1\.5"):
        replay.quantile(program, theta, [0.5, 1.5])
