"""Simulated paths beside closed forms and exact arithmetic; seeds are fixed.

Statistical bounds are 4 standard errors, and 0.001 for p-values.
"""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from phasic_mpi import replay
from phasic_mpi.errors import ConfigError, EvaluationError
from phasic_mpi.graph import PhaseTypeGraph
from phasic_mpi.models import build_model
from phasic_mpi.replay import jumps
from phasic_mpi.trace import EliminationTrace
from tests.recording import record_alone
from tests.reference import eliminate, exact_moments, rates

pytestmark = pytest.mark.usefixtures("float64")

N_SAMPLES = 20_000
THETA = [1.0, 0.4]

sample_times = jax.jit(replay.sample_times, static_argnames="n_samples")
sample_paths = jax.jit(replay.sample_paths, static_argnames=("n_samples", "max_jumps"))
rows_of = jax.jit(jumps.jump_rows)


@pytest.fixture(scope="module")
def islands() -> tuple[PhaseTypeGraph, EliminationTrace]:
    """A structured coalescent, cyclic, at ``THETA``."""
    graph = build_model("structured-coalescent", n=4, islands=2)
    return graph, record_alone(graph)


def load(graph: PhaseTypeGraph) -> replay.Program:
    return replay.load_program(record_alone(graph))


def key(seed: int) -> jax.Array:
    return jax.random.key(seed)


def linear(
    edges: list[tuple[int, int, list[float]]],
    *,
    start: list[tuple[int, list[float]]],
) -> PhaseTypeGraph:
    """A graph of edges and initial probabilities, all linear in theta."""
    sources, targets, coefficients = zip(*edges, strict=True)
    started, probabilities = zip(*start, strict=True)
    return PhaseTypeGraph.from_arrays(
        n_vertices=max(targets) + 1,
        param_source=sources,
        param_target=targets,
        param_coefficient=coefficients,
        start_param_target=started,
        start_param_coefficient=probabilities,
    )


def within(sample: np.ndarray, expected: float) -> bool:
    """Whether the mean of a sample is within 4 standard errors."""
    return abs(sample.mean() - expected) < 4 * sample.std() / np.sqrt(len(sample))


def test_a_row_of_exponentials_has_the_hypoexponential_distribution() -> None:
    rates_of = np.array([0.3, 1.0, 4.0])
    graph = linear(
        [(i + 1, i + 2, [*np.eye(4)[i]]) for i in range(3)], start=[(1, [0.0, 0.0, 0.0, 1.0])]
    )
    times = sample_times(load(graph), jnp.array([*rates_of, 1.0]), key(1), n_samples=N_SAMPLES)
    weights = [
        np.prod([b / (b - a) for b in rates_of if b != a]) for a in rates_of
    ]  # partial fractions of the Laplace transform

    def cdf(t: np.ndarray) -> np.ndarray:
        return 1 - sum(w * np.exp(-a * t) for w, a in zip(weights, rates_of, strict=True))

    assert stats.kstest(np.asarray(times), cdf).pvalue > 1e-3


def test_one_vertex_has_the_exponential_distribution_of_its_total_rate() -> None:
    graph = linear([(1, 2, [1.0]), (1, 3, [2.0])], start=[(1, [1.0])])
    times = sample_times(load(graph), jnp.array([1.0]), key(2), n_samples=N_SAMPLES)
    assert stats.kstest(np.asarray(times), stats.expon(scale=1 / 3).cdf).pvalue > 1e-3


def test_means_and_variances_are_those_of_exact_moments(islands) -> None:
    graph, trace = islands
    program = replay.load_program(trace)
    times = np.asarray(sample_times(program, jnp.array(THETA), key(3), n_samples=N_SAMPLES))
    mean, second = (float(moment) for moment in exact_moments(graph, THETA, 2))
    assert within(times, mean)
    assert within((times - mean) ** 2, second - mean**2)


def test_means_of_rewards_are_those_of_exact_elimination(islands) -> None:
    graph, trace = islands
    program = replay.load_program(trace)
    reward = np.random.default_rng(1).uniform(-1, 2, graph.n_vertices)
    rows, alpha = rates(graph, THETA, Fraction)
    visits = eliminate(rows, Fraction(0)).visits(alpha)
    expected = float(
        sum(Fraction(r) * v for r, v, row in zip(reward, visits, rows, strict=True) if row)
    )
    sample = sample_times(
        program, jnp.array(THETA), key(4), n_samples=N_SAMPLES, rewards=jnp.array(reward)
    )
    assert within(np.asarray(sample), expected)


def test_time_spent_in_every_vertex_is_its_expected_visit(islands) -> None:
    graph, trace = islands
    program = replay.load_program(trace)
    paths = sample_paths(program, jnp.array(THETA), key(5), n_samples=N_SAMPLES, max_jumps=60)
    assert (paths.n_jumps > 0).all()
    rows, alpha = rates(graph, THETA, Fraction)
    visits = eliminate(rows, Fraction(0)).visits(alpha)
    vertex, times = np.asarray(paths.vertex), np.asarray(paths.times)
    for v in range(1, graph.n_vertices):
        spent = np.where(vertex == v, times, 0.0).sum(axis=1)
        assert within(spent, float(visits[v])) if rows[v] else not spent.any()


def test_jumps_follow_the_weights_of_the_edges(islands) -> None:
    graph, trace = islands
    program = replay.load_program(trace)
    vertex = np.asarray(
        sample_paths(program, jnp.array(THETA), key(6), n_samples=N_SAMPLES, max_jumps=60).vertex
    )
    rows, _ = rates(graph, THETA, float)
    taken = np.zeros((graph.n_vertices, graph.n_vertices))
    before, after = vertex[:, :-1].ravel(), vertex[:, 1:].ravel()
    np.add.at(taken, (before[before >= 0], after[before >= 0]), 1)  # absorption is column -1
    for source in np.unique(before[before >= 0]):
        weights = np.zeros(graph.n_vertices)
        for target, rate in rows[source].items():
            weights[target if rows[target] else -1] += rate
        assert not taken[source][weights == 0].any(), "an edge that does not exist"
        observed, expected = taken[source][weights > 0], weights[weights > 0]
        if len(expected) > 1:
            expected = expected / expected.sum() * observed.sum()
            assert stats.chisquare(observed, expected).pvalue > 1e-3


def test_paths_and_times_of_one_key_are_the_same_walks(islands) -> None:
    graph, trace = islands
    program = replay.load_program(trace)
    reward = jnp.array(np.random.default_rng(2).uniform(0, 2, graph.n_vertices))
    theta = jnp.array(THETA)
    times = sample_times(program, theta, key(7), n_samples=100, rewards=reward)
    paths = sample_paths(program, theta, key(7), n_samples=100, max_jumps=60)
    np.testing.assert_allclose((reward[paths.vertex] * paths.times).sum(axis=1), times, rtol=1e-13)
    assert ((paths.vertex >= 0).sum(axis=1) == paths.n_jumps).all()


def test_a_path_that_is_too_long_is_marked_and_the_others_are_whole(islands) -> None:
    _, trace = islands
    program = replay.load_program(trace)
    theta = jnp.array(THETA)
    whole = sample_paths(program, theta, key(8), n_samples=500, max_jumps=60)
    short = sample_paths(program, theta, key(8), n_samples=500, max_jumps=5)
    fits = np.asarray(whole.n_jumps) <= 5
    assert 0 < fits.sum() < 500
    assert (np.asarray(short.n_jumps) == np.where(fits, whole.n_jumps, -1)).all()
    assert (np.isnan(short.times.sum(axis=1)) == ~fits).all()
    assert (short.vertex == whole.vertex[:, :6]).all()
    assert (short.times[:, :5] == whole.times[:, :5]).all()
    assert (short.times[fits] == whole.times[fits, :6]).all()


def test_paths_of_no_jump_are_those_that_start_absorbed() -> None:
    graph = linear([(1, 2, [1.0])], start=[(1, [0.25]), (2, [0.5])])
    program = load(graph)
    times = np.asarray(sample_times(program, jnp.ones(1), key(9), n_samples=N_SAMPLES))
    started = times > 0
    assert within(started, 0.25)
    assert stats.kstest(times[started], stats.expon.cdf).pvalue > 1e-3
    paths = sample_paths(program, jnp.ones(1), key(9), n_samples=N_SAMPLES, max_jumps=0)
    assert (np.asarray(paths.n_jumps) == np.where(started, -1, 0)).all()
    assert (np.asarray(paths.vertex[:, 0]) == np.where(started, 1, -1)).all()
    assert (np.isnan(paths.times[:, 0]) == started).all()


def test_the_initial_distribution_is_followed() -> None:
    graph = linear(
        [(v, 5, [0.0, 1.0]) for v in (1, 2, 3, 4)],
        start=[(1, [0.1, 0.0]), (2, [0.0, 0.0]), (3, [0.7, 0.0]), (4, [0.2, 0.0])],
    )
    paths = sample_paths(load(graph), jnp.ones(2), key(10), n_samples=N_SAMPLES, max_jumps=1)
    started = np.bincount(paths.vertex[:, 0], minlength=5)
    assert started[[0, 2]].tolist() == [0, 0]
    shares = np.array([0.1, 0.7, 0.2]) * N_SAMPLES
    assert stats.chisquare(started[[1, 3, 4]], shares).pvalue > 1e-3


def test_edges_of_weight_zero_are_not_taken_even_at_the_ends_of_the_unit_interval() -> None:
    edges = [(1, v, [float(v in (3, 5)), float(v in (2, 4, 6))]) for v in range(2, 7)]
    graph = linear(edges + [(v, 7, [1.0, 1.0]) for v in range(2, 7)], start=[(1, [1.0, 0.0])])
    program = load(graph)
    rows = rows_of(program, jnp.array([1.0, 0.0]))
    position = int(np.flatnonzero(np.asarray(program.vertex) == 1)[0])
    uniform = jnp.array([0.0, 0.5, 1.0 - 2.0**-53])
    picked = jumps.pick(rows, jnp.full(3, position, dtype=jnp.int32), uniform)
    assert set(np.asarray(program.vertex[picked]).tolist()) == {3, 5}


def test_rates_keep_their_digits_beside_rates_twelve_decades_larger() -> None:
    small = [1e-6, 2e-6, 5e-6]
    edges = [(1, 2, 1e6), (1, 3, 3e6), *[(2, 4 + i, r) for i, r in enumerate(small)]]
    edges += [(v, 7, 1e6) for v in (3, 4, 5, 6)]
    program = load(linear([(a, b, [w, 0.0]) for a, b, w in edges], start=[(1, [0.0, 1.0])]))
    theta = jnp.ones(2)
    rows = rows_of(program, theta)
    position = int(np.flatnonzero(np.asarray(program.vertex) == 2)[0])
    sums = rows.upto[rows.ptr[position] : rows.ptr[position + 1]]
    np.testing.assert_allclose(sums, np.cumsum(small), rtol=1e-15)
    paths = sample_paths(program, theta, key(11), n_samples=N_SAMPLES, max_jumps=3)
    seen = np.bincount(np.asarray(paths.vertex[:, 2]) + 1, minlength=8)[5:8]
    assert stats.chisquare(seen, np.array(small) / sum(small) * seen.sum()).pvalue > 1e-3
    waited = np.asarray(paths.times[:, 1])[np.asarray(paths.vertex[:, 1]) == 2]
    assert stats.kstest(waited, stats.expon(scale=1 / sum(small)).cdf).pvalue > 1e-3


def test_rare_edges_of_a_row_come_first_and_keep_their_digits() -> None:
    weights = [3.0, 1e-12, 2e6, 7e-4, 1e-12]
    graph = linear(
        [(1, 2 + i, [w, 0.0]) for i, w in enumerate(weights)]
        + [(2 + i, 7, [0.0, 1.0]) for i in range(5)],
        start=[(1, [0.0, 1.0])],
    )
    program = load(graph)
    rows = rows_of(program, jnp.ones(2))
    position = int(np.flatnonzero(np.asarray(program.vertex) == 1)[0])
    sums = rows.upto[rows.ptr[position] : rows.ptr[position + 1]]
    exact = [float(sum(map(Fraction, sorted(weights)[: i + 1]))) for i in range(5)]
    np.testing.assert_allclose(sums, exact, rtol=1e-15)


def test_keys_and_theta_are_batched_with_the_same_samples(islands) -> None:
    program = replay.load_program(islands[1])
    keys = jax.random.split(key(12), 3)
    rows = jnp.array([THETA, [2.0, 0.1]])
    batch = jax.vmap(lambda t, k: sample_times(program, t, k, n_samples=20), (None, 0))
    both = jax.vmap(batch, (0, None))(rows, keys)
    for i, row in enumerate(rows):
        for j, own in enumerate(keys):
            alone = sample_times(program, row, own, n_samples=20)
            np.testing.assert_allclose(both[i, j], alone, rtol=1e-14)
    assert len(np.unique(both)) == both.size


def test_theta_without_a_law_give_nan_and_spare_the_rest_of_the_batch() -> None:
    # At theta[1] = 0 vertices 1 and 2 lead to each other for ever.
    graph = linear(
        [(1, 2, [1.0, 0.0, 0.0]), (2, 1, [1.0, 0.0, 0.0]), (2, 3, [0.0, 1.0, 0.0])],
        start=[(1, [0.0, 0.0, 1.0])],
    )
    program = load(graph)
    legal = [1.0, 1.0, 1.0]
    illegal = [[1, 0, 1], [-1, 1, 1], [1, np.nan, 1], [np.inf, 1, 1], [1, 1, 1.1], [1, 1, -0.1]]
    rows = jnp.array([legal, *illegal])
    times = jax.vmap(lambda t: sample_times(program, t, key(13), n_samples=5))(rows)
    paths = jax.vmap(lambda t: sample_paths(program, t, key(13), n_samples=5, max_jumps=50))(rows)
    assert jnp.isfinite(times[0]).all()
    assert jnp.isnan(times[1:]).all()
    assert (paths.n_jumps[0] > 0).all()
    assert (paths.n_jumps[1:] == -1).all()
    assert (paths.vertex[1:] == -1).all()
    assert jnp.isnan(paths.times[1:]).all()


def test_derivatives_in_theta_are_refused_and_those_in_rewards_are_samples(islands) -> None:
    graph, trace = islands
    program = replay.load_program(trace)
    theta, ones = jnp.array(THETA), jnp.ones(graph.n_vertices)
    for mode in (jax.jacrev, jax.jacfwd):
        with pytest.raises(EvaluationError, match="got a derivative in theta through samples"):
            mode(lambda t: replay.sample_times(program, t, key(14), 5).sum())(theta)
    with pytest.raises(EvaluationError, match="differentiate moments or densities"):
        jax.jacfwd(lambda t: replay.sample_paths(program, t, key(14), 5, 9).times)(theta)
    times, slope = jax.jvp(
        lambda r: sample_times(program, theta, key(14), n_samples=5, rewards=r),
        (2 * ones,),
        (ones,),
    )
    np.testing.assert_allclose(times, 2 * slope, rtol=1e-14)


def test_wrong_numbers_shapes_and_precision_are_refused(islands, use_float32) -> None:
    program = replay.load_program(islands[1])
    theta = jnp.array(THETA)
    with pytest.raises(EvaluationError, match="n_samples of at least 1, got 0"):
        replay.sample_times(program, theta, key(1), 0)
    with pytest.raises(EvaluationError, match="max_jumps of at least 0, got -1"):
        replay.sample_paths(program, theta, key(1), 1, -1)
    with pytest.raises(EvaluationError, match=r"one theta of shape \(2,\), got \(1,\)"):
        replay.sample_times(program, theta[:1], key(1), 1)
    with pytest.raises(EvaluationError, match=r"expected shape \(\d+,\), got \(2,\)"):
        replay.sample_times(program, theta, key(1), 1, jnp.ones(2))
    use_float32()
    with pytest.raises(ConfigError, match="single precision"):
        replay.sample_times(program, np.array(THETA), key(1), 1)
