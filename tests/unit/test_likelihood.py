"""Likelihoods beside closed forms of Kingman's coalescent, scipy and exact central differences."""

import math
from fractions import Fraction

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from scipy import stats

from phasic_mpi import replay
from phasic_mpi.errors import ConfigError, EvaluationError
from phasic_mpi.graph import PhaseTypeGraph
from phasic_mpi.models import build_model
from phasic_mpi.trace import EliminationTrace
from tests.recording import record_alone
from tests.reference import eliminate, rates

pytestmark = pytest.mark.usefixtures("float64")

STEP = Fraction(1, 2**40)
ISLANDS = [1.0, 0.4]
COUNTS = jnp.array([7.0, 0.0, 3.0])


def descendants(n: int) -> tuple[PhaseTypeGraph, np.ndarray]:
    """Kingman's coalescent with how many lineages have how many descendants, and these counts.

    Returns:
        The graph, and rewards ``float64[n - 1, n_vertices]`` of the classes 1 to ``n - 1``.
    """
    states = [(n, *[0] * (n - 1))]
    edges = []
    for source, state in enumerate(states):  # grows while it is read
        for i in range(n):
            for j in range(i, n):
                pairs = math.comb(state[i], 2) if i == j else state[i] * state[j]
                if not pairs:
                    continue
                after = list(state)
                after[i] -= 1
                after[j] -= 1
                after[i + j + 1] += 1
                if tuple(after) not in states:
                    states.append(tuple(after))
                edges.append((source + 1, states.index(tuple(after)) + 1, pairs))
    sources, targets, pairs = zip(*edges, strict=True)
    graph = PhaseTypeGraph.from_arrays(
        n_vertices=len(states) + 1,
        param_source=sources,
        param_target=targets,
        param_coefficient=np.array(pairs, dtype=float)[:, np.newaxis],
        start_target=[1],
        start_weight=[1.0],
    )
    return graph, np.array([(0,) * n, *states], dtype=float).T[:-1]


def serial(n: int = 3) -> tuple[replay.Program, jax.Array]:
    """Vertices in a row, each left at its own rate and a class of its own."""
    graph = PhaseTypeGraph.from_arrays(
        n_vertices=n + 2,
        param_source=np.arange(1, n + 1),
        param_target=np.arange(2, n + 2),
        param_coefficient=np.eye(n),
        start_target=[1],
        start_weight=[1.0],
    )
    return replay.load_program(record_alone(graph)), jnp.eye(n, n + 2, 1)


@pytest.fixture(scope="module")
def islands() -> tuple[PhaseTypeGraph, EliminationTrace, np.ndarray]:
    """A cyclic graph with three classes of random rewards, the second of them not counted."""
    graph = build_model("structured-coalescent", n=4, islands=2)
    rewards = np.random.default_rng(1).uniform(0, 2, (3, graph.n_vertices))
    return graph, record_alone(graph), rewards


def exact_means(graph: PhaseTypeGraph, rewards: np.ndarray, theta: list) -> list[Fraction]:
    rows, alpha = rates(graph, theta, Fraction)
    visits = eliminate(rows, Fraction(0)).visits(alpha)
    return [
        sum((Fraction(r) * v for r, v, row in zip(line, visits, rows, strict=True) if row), 0)
        for line in rewards.tolist()
    ]


def exact_logs(graph: PhaseTypeGraph, rewards: np.ndarray, theta: list) -> list[mpmath.mpf]:
    """Both log-likelihoods of ``COUNTS``, to 60 digits."""
    with mpmath.workdps(60):
        means = [
            mpmath.mpf(m.numerator) / m.denominator for m in exact_means(graph, rewards, theta)
        ]
        counts = [int(c) for c in COUNTS]
        logs = mpmath.fsum(c * mpmath.log(m) for c, m in zip(counts, means, strict=True))
        factorials = mpmath.fsum(mpmath.loggamma(c + 1) for c in counts)
        n, total = sum(counts), mpmath.fsum(means)
        multinomial = mpmath.loggamma(n + 1) - factorials + logs - n * mpmath.log(total)
        return [multinomial, logs - total - factorials]


def both(program: replay.Program, theta: jax.Array, rewards: jax.Array) -> jax.Array:
    return jnp.stack(
        [
            replay.log_likelihood_counts(program, theta, COUNTS, rewards),
            replay.log_likelihood_poisson_counts(program, theta, COUNTS, rewards),
        ]
    )


@pytest.mark.parametrize("n", [2, 5, 9])
def test_the_expected_site_frequency_spectrum_of_kingman_is_theta_over_i(n: int) -> None:
    graph, lineages = descendants(n)
    program = replay.load_program(record_alone(graph))
    mutation = 3.0
    means = jax.jit(replay.class_means)(program, jnp.ones(1), mutation / 2 * lineages)
    index = np.arange(1, n)
    np.testing.assert_allclose(means, mutation / index, rtol=1e-13)
    probability = replay.class_probabilities(program, jnp.array([0.7]), jnp.array(lineages))
    np.testing.assert_allclose(probability, 1 / index / (1 / index).sum(), rtol=1e-13)


def test_a_site_frequency_spectrum_of_kingman_has_scipys_likelihoods() -> None:
    graph, lineages = descendants(6)
    program = replay.load_program(record_alone(graph))
    counts, index = np.array([11, 4, 0, 2, 1]), np.arange(1, 6)
    value = replay.log_likelihood_counts(program, jnp.ones(1), counts, jnp.array(lineages))
    expected = stats.multinomial(18, 1 / index / (1 / index).sum()).logpmf(counts)
    np.testing.assert_allclose(value, expected, rtol=1e-13)
    value = replay.log_likelihood_poisson_counts(
        program, jnp.ones(1), counts, 2.5 * jnp.array(lineages)
    )
    np.testing.assert_allclose(value, stats.poisson(5 / index).logpmf(counts).sum(), rtol=1e-13)


def test_the_poisson_gradient_of_kingman_is_a_closed_form() -> None:
    graph, lineages = descendants(6)
    program = replay.load_program(record_alone(graph))
    counts, index = np.array([11, 4, 0, 2, 1]), np.arange(1, 6)

    def log_likelihood(t: jax.Array) -> jax.Array:
        """At t[0] the rate of coalescence and t[1] that of mutation per lineage."""
        rewards = t[1] * jnp.array(lineages)
        return replay.log_likelihood_poisson_counts(program, t[:1], counts, rewards)

    rate, mutation = 0.8, 1.5
    # The sum of c log m - m with m_i = 2 mutation / (rate i).
    mean = 2 * mutation / rate * (1 / index).sum()
    slope = [(mean - counts.sum()) / rate, (counts.sum() - mean) / mutation]
    gradient = jax.jit(jax.grad(log_likelihood))(jnp.array([rate, mutation]))
    np.testing.assert_allclose(gradient, slope, rtol=1e-12)
    hessian = jax.jit(jax.hessian(log_likelihood))(jnp.array([rate, mutation]))
    across = mean / rate / mutation
    expected = [
        [(counts.sum() - 2 * mean) / rate**2, across],
        [across, -counts.sum() / mutation**2],
    ]
    np.testing.assert_allclose(hessian, expected, rtol=1e-12)


def test_the_multinomial_gradient_of_vertices_in_a_row_is_a_closed_form() -> None:
    program, rewards = serial()
    theta = np.array([0.5, 1.0, 4.0])
    gradient = jax.grad(lambda t: replay.log_likelihood_counts(program, t, COUNTS, rewards))(
        jnp.array(theta)
    )
    # Of -sum c log t - n log sum 1 / t.
    n, counts = 10, np.asarray(COUNTS)
    expected = -counts / theta + n / theta**2 / (1 / theta).sum()
    np.testing.assert_allclose(gradient, expected, rtol=1e-13)


def test_likelihoods_on_a_cyclic_graph_are_those_of_exact_arithmetic(islands) -> None:
    graph, trace, rewards = islands
    program = replay.load_program(trace)
    values = jax.jit(both)(program, jnp.array(ISLANDS), jnp.array(rewards))
    expected = exact_logs(graph, rewards, ISLANDS)
    np.testing.assert_allclose(values, [float(x) for x in expected], rtol=1e-13)


@pytest.mark.parametrize("mode", [jax.jacfwd, jax.jacrev])
def test_gradients_on_a_cyclic_graph_are_exact_central_differences(islands, mode) -> None:
    graph, trace, rewards = islands
    program = replay.load_program(trace)
    jacobian = jax.jit(mode(both, argnums=1))(program, jnp.array(ISLANDS), jnp.array(rewards))
    for index in range(2):
        above, below = ([Fraction(t) for t in ISLANDS] for _ in range(2))
        above[index] += STEP
        below[index] -= STEP
        pairs = zip(
            exact_logs(graph, rewards, above), exact_logs(graph, rewards, below), strict=True
        )
        with mpmath.workdps(60):
            slopes = [float((high - low) * 2**39) for high, low in pairs]
        np.testing.assert_allclose(jacobian[:, index], slopes, rtol=1e-11)


def test_a_class_that_was_not_counted_may_be_impossible() -> None:
    program, rewards = serial()
    rewards = rewards.at[1].set(0.0)
    theta = jnp.array([0.5, 1.0, 4.0])
    value, jacobian = both(program, theta, rewards), jax.jacrev(both, 1)(program, theta, rewards)
    means = np.array([2.0, 0.25])
    expected = [
        stats.multinomial(10, means / means.sum()).logpmf([7, 3]),
        stats.poisson(means).logpmf([7, 3]).sum(),
    ]
    np.testing.assert_allclose(value, expected, rtol=1e-13)
    assert jnp.isfinite(jacobian).all()
    impossible = rewards.at[0].set(0.0)
    assert (both(program, theta, impossible) == -jnp.inf).all()


def test_no_events_have_probability_one_among_themselves() -> None:
    program, rewards = serial()
    theta = jnp.array([0.5, 1.0, 4.0])
    assert replay.log_likelihood_counts(program, theta, jnp.zeros(3), rewards) == 0
    poisson = replay.log_likelihood_poisson_counts(program, theta, jnp.zeros(3), rewards)
    np.testing.assert_allclose(poisson, -3.25, rtol=1e-14)
    no_rate = replay.log_likelihood_poisson_counts(program, theta, jnp.zeros(3), 0 * rewards)
    assert no_rate == 0


def test_counts_need_not_be_whole() -> None:
    program, rewards = serial()
    theta = jnp.array([0.5, 1.0, 4.0])
    value = replay.log_likelihood_poisson_counts(program, theta, jnp.array([0.5, 0, 2.25]), rewards)
    expected = 0.5 * math.log(2) + 2.25 * math.log(0.25) - 3.25
    expected -= math.lgamma(1.5) + math.lgamma(3.25)
    np.testing.assert_allclose(value, expected, rtol=1e-13)


def test_theta_and_counts_are_batched_together(islands) -> None:
    _, trace, rewards = islands
    program, rewards = replay.load_program(trace), jnp.array(rewards)
    theta = jnp.array([ISLANDS, [0.3, 2.0]])
    counts = jnp.array([[1.0, 2.0, 3.0], [0.0, 0.0, 5.0], [4.0, 0.0, 1.0]])
    for quantity in (replay.log_likelihood_counts, replay.log_likelihood_poisson_counts):
        single = jax.jit(quantity)
        batch = jax.vmap(
            jax.vmap(lambda t, c, of=single: of(program, t, c, rewards), (None, 0)), (0, None)
        )(theta, counts)
        for i, row in enumerate(theta):
            for j, own in enumerate(counts):
                alone = single(program, row, own, rewards)
                np.testing.assert_allclose(batch[i, j], alone, rtol=1e-13)


def test_illegal_theta_and_rewards_and_traced_counts_give_nan_and_so_do_gradients() -> None:
    program, rewards = serial()
    legal, counts = jnp.array([0.5, 1.0, 4.0]), jnp.array([2.0, 0.0, 1.0])
    cases = [
        (legal.at[0].set(-1.0), counts, rewards),
        (legal.at[1].set(jnp.nan), counts, rewards),
        (legal.at[1].set(0.0), counts, rewards),  # a vertex that cannot be left
        (legal.at[1].set(-1.0), 0 * counts, rewards),
        (legal, -counts, rewards),
        (legal, counts.at[1].set(jnp.inf), rewards),
        (legal, counts, -rewards),
        (legal, counts, rewards.at[1].multiply(-1)),
    ]
    for quantity in (replay.log_likelihood_counts, replay.log_likelihood_poisson_counts):
        of = jax.jit(jax.value_and_grad(quantity, argnums=1))
        assert all(jnp.isfinite(part).all() for part in of(program, legal, counts, rewards))
        for theta, own, reward in cases:
            value, gradient = of(program, theta, own, reward)
            assert jnp.isnan(value)
            assert jnp.isnan(gradient).any()
    no_rate = replay.class_probabilities(program, legal, 0 * rewards)
    assert jnp.isnan(no_rate).all()


def test_counts_and_rewards_that_do_not_fit_are_refused(use_float32) -> None:
    program, rewards = serial()
    theta = jnp.ones(3)
    for quantity in (replay.log_likelihood_counts, replay.log_likelihood_poisson_counts):
        with pytest.raises(EvaluationError, match=r"at least 0, got -2.0 in class 1"):
            quantity(program, theta, jnp.array([1.0, -2.0, 3.0]), rewards)
        with pytest.raises(EvaluationError, match=r"at least 0, got nan in class 2"):
            jax.grad(lambda t, of=quantity: of(program, t, [1.0, 2.0, np.nan], rewards))(theta)
        with pytest.raises(EvaluationError, match=r"one count per class, shape \(3,\), got \(2,\)"):
            quantity(program, theta, jnp.ones(2), rewards)
        with pytest.raises(EvaluationError, match=r"expected shape \(5,\), got \(4,\)"):
            quantity(program, theta, jnp.ones(3), rewards[:, 1:])
    with pytest.raises(EvaluationError, match=r"expected shape \(n_classes, 5\), got \(5,\)"):
        replay.class_probabilities(program, theta, rewards[0])
    use_float32()
    with pytest.raises(ConfigError, match="single precision"):
        replay.class_probabilities(program, np.ones(3), np.ones((3, 5)))
    with pytest.raises(ConfigError, match="single precision"):
        replay.log_likelihood_counts(program, np.ones(3), np.ones(3), np.ones((3, 5)))


TIMES = np.array([0.0, 0.2, 0.7, 1.9])


@pytest.mark.parametrize("method", ["uniformisation", "inversion"])
def test_times_are_as_likely_as_under_the_closed_form_with_an_atom_at_zero(method) -> None:
    graph = PhaseTypeGraph.from_arrays(
        n_vertices=3,
        param_source=[1],
        param_target=[2],
        param_coefficient=[[1.0]],
        start_target=[1],
        start_weight=[0.75],
    )
    program = replay.load_program(record_alone(graph))
    rate = jnp.array([1.3])
    how = replay.choose_method(program, rate, TIMES.max(), method=method)._asdict()

    def log_likelihood(rate: jax.Array) -> jax.Array:
        return replay.log_likelihood_times(program, rate, TIMES, **how)

    expected = math.log(0.25) + np.log(0.75 * 1.3 * np.exp(-1.3 * TIMES[1:])).sum()
    np.testing.assert_allclose(log_likelihood(rate), expected, rtol=1e-11)
    slope = jax.jit(jax.grad(log_likelihood))(rate)
    np.testing.assert_allclose(slope, 3 / 1.3 - TIMES.sum(), rtol=1e-10)
    curvature = jax.hessian(log_likelihood)(rate)
    np.testing.assert_allclose(curvature, -3 / 1.3**2, rtol=1e-9)


def test_rewards_are_as_likely_as_times_of_a_process_that_is_slower_by_them() -> None:
    program, _ = serial()
    theta, rewards = jnp.array([1.0, 0.7, 2.0]), jnp.array([0.0, 2.0, 0.5, 4.0, 0.0])
    slower = theta / rewards[1:-1]
    np.testing.assert_allclose(
        replay.log_likelihood_times(program, theta, TIMES[1:], rewards=rewards),
        replay.log_likelihood_times(program, slower, TIMES[1:]),
        rtol=1e-13,
    )


def test_an_impossible_time_has_the_log_likelihood_minus_infinity() -> None:
    program, _ = serial()
    theta = jnp.array([1.0, 0.7, 2.0])
    assert replay.log_likelihood_times(program, theta, np.array([1.0, -1.0])) == -np.inf
