"""Processes in epochs beside matrix exponentials, closed forms and simulation by msprime."""

from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import jax
import jax.numpy as jnp
import msprime
import numpy as np
import pytest
from jax.experimental import sparse
from scipy.linalg import expm

from phasic_mpi import replay
from phasic_mpi.errors import ConfigError, EvaluationError
from phasic_mpi.graph import PhaseTypeGraph
from phasic_mpi.models import build_model
from phasic_mpi.replay import Epoch, epochs
from tests.graphs import chain_of_sccs
from tests.recording import record_alone
from tests.reference import sub_intensity

pytestmark = pytest.mark.usefixtures("float64")

N_TREES = 4000
# A test of that many numbers fails by chance once in about 2,000 seeds.
STANDARD_ERRORS = 4


def kingman(n: int) -> replay.Program:
    return replay.load_program(record_alone(build_model("kingman", n=n)))


class Dense:
    """Epochs as matrices over the transient vertices, the rewards of paths by van Loan (1978)."""

    def __init__(self, graphs: list[PhaseTypeGraph], durations: list[float], maps: list) -> None:
        self.sizes = [graph.n_vertices for graph in graphs]
        parts = [sub_intensity(graph, []) for graph in graphs]
        self.generators = [-matrix.toarray() for matrix, _, _ in parts]
        self.vertices = [transient for _, _, transient in parts]
        self.alpha = parts[0][1]
        self.durations = durations
        self.maps = maps

    def carry(self, number: int, end: np.ndarray) -> np.ndarray:
        """Rows over the transient vertices of an epoch, over those of the next."""
        here, there = self.vertices[number], self.vertices[number + 1]
        return end @ self.maps[number][here][:, there]

    def raw_moments(self, rewards: list[np.ndarray], n_moments: int) -> np.ndarray:
        """Moments of one reward: of the block bidiagonal system of its powers."""
        vectors = np.zeros((n_moments + 1, self.alpha.size))
        vectors[0] = self.alpha
        done = np.zeros(n_moments)
        for number, generator in enumerate(self.generators):
            n = len(generator)
            reward = np.diag(rewards[number][self.vertices[number]])
            block = np.zeros((n_moments + 1, n, n_moments + 1, n))
            for k in range(n_moments + 1):
                block[k, :, k] = generator
                if k:
                    block[k - 1, :, k] = k * reward
            block = block.reshape((n_moments + 1) * n, -1)
            last = number == len(self.durations)
            time = 300.0 if last else self.durations[number]
            end = (vectors.ravel() @ expm(block * time)).reshape(n_moments + 1, n)
            integral = (end.ravel() - vectors.ravel()) @ np.linalg.inv(block)
            integral = integral.reshape(n_moments + 1, n)
            for k in range(1, n_moments + 1):
                done[k - 1] += k * integral[k - 1] @ np.diag(reward)
            if not last:
                vectors = self.carry(number, end)
        return done

    def survival(self, time: float) -> tuple[float, float]:
        """Survival and density."""
        state = self.alpha
        for number, generator in enumerate(self.generators):
            last = number == len(self.durations)
            if last or time < self.durations[number]:
                state = state @ expm(generator * time)
                return state.sum(), -(state @ generator).sum()
            time -= self.durations[number]
            state = self.carry(number, state @ expm(generator * self.durations[number]))
        raise AssertionError


@cache
def three_epochs() -> tuple[tuple[Epoch, ...], Dense, list[jax.Array]]:
    """Random graphs of 8, 6 and 8 vertices; the first map is of vertices, the second a matrix."""
    rng = np.random.default_rng(7)
    graphs = [chain_of_sccs(2, 4, 1), chain_of_sccs(2, 3, 2), chain_of_sccs(2, 4, 3)]
    sizes = [graph.n_vertices for graph in graphs]
    durations = [0.4, 0.7]
    # Some are carried to the absorbing vertex, the last.
    onward = rng.integers(1, sizes[1], sizes[0])
    matrix = rng.dirichlet(np.ones(sizes[2] - 1), sizes[1])
    matrix = np.concatenate([np.zeros((sizes[1], 1)), matrix], axis=1)
    programs = [replay.load_program(record_alone(graph)) for graph in graphs]
    nothing = jnp.zeros(0)
    history = (
        Epoch(programs[0], nothing, durations[0], onward),
        Epoch(programs[1], nothing, durations[1], jnp.array(matrix)),
        Epoch(programs[2], nothing),
    )
    dense = Dense(graphs, durations, [np.eye(sizes[1])[onward], matrix])
    return history, dense, [jnp.array(rng.uniform(0, 2, size=(2, n))) for n in sizes]


def test_rewards_and_their_covariances_are_those_of_matrix_exponentials() -> None:
    history, dense, rewards = three_epochs()
    rows = [[np.array(r[i]) for r in rewards] for i in range(2)]
    total = [np.array(r.sum(axis=0)) for r in rewards]
    exact = np.array([dense.raw_moments(row, 3) for row in [*rows, total]])
    mean = epochs.expected_rewards(history, rewards)
    assert mean.shape == (3, 2)
    np.testing.assert_allclose(mean.sum(axis=0), exact[:2, 0], rtol=1e-10)
    for row, expected in zip(rows, exact, strict=False):
        np.testing.assert_allclose(epochs.moments(history, 3, row), expected, rtol=1e-10)
    variance = exact[:, 1] - exact[:, 0] ** 2
    mixed = (variance[2] - variance[0] - variance[1]) / 2
    np.testing.assert_allclose(
        epochs.covariance(history, rewards),
        [[variance[0], mixed], [mixed, variance[1]]],
        rtol=1e-9,
    )


@pytest.mark.parametrize("method", ["uniformisation", "inversion"])
def test_distributions_are_those_of_matrix_exponentials(method) -> None:
    history, dense, _ = three_epochs()
    history = tuple(
        replace(epoch, how=replay.choose_method(epoch.program, epoch.theta, 20.0, method=method))
        for epoch in history
    )
    times = np.array([-1.0, 0.1, 0.3, 0.5, 1.0, 1.2, 5.0, 20.0])
    survival, density = np.transpose([dense.survival(time) for time in times[1:]])
    computed = np.array([f(history, times) for f in (epochs.survival, epochs.cdf, epochs.pdf)])
    assert computed[:, 0].tolist() == [1, 0, 0]
    np.testing.assert_allclose(computed[0, 1:], survival, atol=1e-11)
    np.testing.assert_allclose(computed[1, 1:], 1 - survival, atol=1e-11)
    np.testing.assert_allclose(computed[2, 1:], density, atol=1e-10)


def test_a_sparse_map_is_the_dense_one() -> None:
    history, _, rewards = three_epochs()
    first, second, third = history
    matrix = sparse.BCOO.fromdense(second.onward)
    other = (first, replace(second, onward=matrix), third)
    for function in (epochs.expected_rewards, epochs.covariance):
        np.testing.assert_allclose(function(other, rewards), function(history, rewards), rtol=1e-12)


def test_two_lineages_of_a_population_that_changes_its_size_have_a_closed_form() -> None:
    program, duration, rate = kingman(2), 0.6, 3.0
    history = [Epoch(program, jnp.ones(1), duration), Epoch(program, jnp.array([rate]))]
    left = np.exp(-duration)
    expected = np.array([1 - left, left / rate])
    visits = epochs.expected_visits(history)
    assert [float(v.sum()) for v in visits] == pytest.approx(expected, rel=1e-13)
    # E[T^2] of a time that is exponential with rate 1 up to d, and with rate r afterwards.
    second = 2 - left * (duration**2 + 2 * duration + 2)
    second += left * (duration**2 + 2 * duration / rate + 2 / rate**2)
    ones = [jnp.ones(program.n_vertices)] * 2
    moments = epochs.moments(history, 2, ones)
    np.testing.assert_allclose(moments, [expected.sum(), second], rtol=1e-13)
    times = np.array([0.2, 0.6, 1.0])
    survival = np.exp(-np.minimum(times, duration) - rate * np.maximum(times - duration, 0))
    np.testing.assert_allclose(epochs.survival(history, times), survival, rtol=1e-13)
    np.testing.assert_allclose(epochs.pdf(history, times), survival * [1, 3, 3], rtol=1e-13)


def test_a_change_of_rates_at_which_nothing_changes_changes_nothing() -> None:
    graph = build_model("structured-coalescent", n=5, islands=2)
    program, theta = replay.load_program(record_alone(graph)), jnp.array([1.0, 0.3])
    reward = jnp.array(graph.states, dtype=jnp.float64).T
    history = [Epoch(program, theta, 0.3), Epoch(program, theta, 1.1), Epoch(program, theta)]
    spent = sum(epochs.expected_visits(history))
    np.testing.assert_allclose(spent, replay.expected_visits(program, theta), rtol=1e-12)
    np.testing.assert_allclose(
        epochs.covariance(history, [reward] * 3),
        replay.covariance(program, theta, reward),
        rtol=1e-10,
    )
    moments = epochs.moments(history, 3, [reward[0]] * 3)
    np.testing.assert_allclose(moments, replay.moments(program, theta, 3, reward[0]), rtol=1e-11)


def test_a_state_that_waits_for_the_next_epoch_has_an_edge_of_rate_zero() -> None:
    # One lineage on each of two islands without migration, then one population.
    waiting = PhaseTypeGraph.from_arrays(
        n_vertices=3,
        param_source=[1],
        param_target=[2],
        param_coefficient=[[1.0]],
        start_target=[1],
        start_weight=[1.0],
    )
    isolated = replay.load_program(record_alone(waiting))
    onward = jnp.array([0, 1, 2])
    history = [Epoch(isolated, jnp.zeros(1), 2.5, onward), Epoch(kingman(2), jnp.array([4.0]))]
    ones = [jnp.ones(3), jnp.ones(3)]
    np.testing.assert_allclose(epochs.expected_rewards(history, ones), [2.5, 0.25], rtol=1e-14)
    assert float(epochs.cdf(history, 2.4)) == 0.0


def isolation_with_migration(
    n_each: int,
) -> tuple[replay.Program, replay.Program, np.ndarray, np.ndarray, np.ndarray]:
    """Two islands with ``n_each`` samples that were one population before.

    Returns:
        The islands, the population before, the map, and lineages per vertex of either.
    """
    graphs = [
        build_model("structured-coalescent", n=2 * n_each, islands=2),
        build_model("kingman", n=2 * n_each),
    ]
    islands, before = (replay.load_program(record_alone(graph)) for graph in graphs)
    lineages, later = (graph.states.sum(axis=1) for graph in graphs)
    first = np.flatnonzero((graphs[0].states == n_each).all(axis=1))
    start = np.zeros(graphs[0].n_vertices)
    start[first] = 1.0
    vertex_of = dict(zip(later.tolist(), range(len(later)), strict=True))
    absorbing = graphs[1].n_vertices - 1
    onward = np.array([vertex_of.get(k, absorbing) if k > 1 else absorbing for k in lineages])
    return replay.with_start(islands, start), before, onward, lineages, later


def simulated(demography: msprime.Demography, samples: dict[str, int]) -> Iterator[list[float]]:
    """Height and length of trees."""
    for tree in msprime.sim_ancestry(
        samples,
        demography=demography,
        ploidy=1,
        num_replicates=N_TREES,
        random_seed=20,
    ):
        first = tree.first()
        yield [first.time(first.root), first.total_branch_length]


def assert_agrees(trees: np.ndarray, mean: np.ndarray, covariance: np.ndarray) -> None:
    """Means, variances and the covariance are within 4 standard errors of those of trees."""
    error = trees.std(axis=0) / np.sqrt(N_TREES)
    assert (np.abs(trees.mean(axis=0) - mean) < STANDARD_ERRORS * error).all()
    centred = trees - trees.mean(axis=0)
    for i, j in ((0, 0), (0, 1), (1, 1)):
        products = centred[:, i] * centred[:, j]
        error = products.std() / np.sqrt(N_TREES)
        assert abs(products.mean() - covariance[i, j]) < STANDARD_ERRORS * error


def test_trees_under_isolation_with_migration_are_those_of_msprime() -> None:
    n_each, duration, migration, ancestral_size = 3, 0.8, 0.4, 0.5
    demography = msprime.Demography()
    for name, size in (("A", 1.0), ("B", 1.0), ("C", ancestral_size)):
        demography.add_population(name=name, initial_size=size)
    demography.set_symmetric_migration_rate(["A", "B"], migration)
    demography.add_population_split(time=duration, derived=["A", "B"], ancestral="C")
    trees = np.array(list(simulated(demography, {"A": n_each, "B": n_each})))

    islands, before, onward, lineages, later = isolation_with_migration(n_each)
    history = [
        Epoch(islands, jnp.array([1.0, migration]), duration, onward),
        Epoch(before, jnp.array([1 / ancestral_size])),
    ]
    rewards = [jnp.array([k > 1, k], dtype=jnp.float64) for k in (lineages, later)]
    mean = epochs.expected_rewards(history, rewards).sum(axis=0)
    assert_agrees(trees, np.asarray(mean), np.asarray(epochs.covariance(history, rewards)))


def test_trees_of_a_population_that_passed_a_bottleneck_are_those_of_msprime() -> None:
    n, starts, sizes = 5, [0.0, 0.3, 0.5], [1.0, 0.1, 2.0]
    demography = msprime.Demography.isolated_model([sizes[0]])
    for time, size in zip(starts[1:], sizes[1:], strict=True):
        demography.add_population_parameters_change(time=time, initial_size=size)
    trees = np.array(list(simulated(demography, {"pop_0": n})))

    graph = build_model("kingman", n=n)
    program = replay.load_program(record_alone(graph))
    durations = [*np.diff(starts), None]
    history = [
        Epoch(program, jnp.array([1 / size]), duration)
        for size, duration in zip(sizes, durations, strict=True)
    ]
    reward = jnp.array([np.ones(graph.n_vertices), graph.states[:, 0]])
    mean = epochs.expected_rewards(history, [reward] * 3).sum(axis=0)
    assert_agrees(trees, np.asarray(mean), np.asarray(epochs.covariance(history, [reward] * 3)))


def test_derivatives_in_theta_and_durations_are_central_differences() -> None:
    islands, before, onward, lineages, later = isolation_with_migration(2)
    rewards = [jnp.array(k, dtype=jnp.float64) for k in (lineages, later)]
    point = jnp.array([1.0, 0.4, 0.8, 2.0])
    how = replay.choose_method(islands, point[:2], 2.0)

    def history(x: jax.Array) -> list[Epoch]:
        return [Epoch(islands, x[:2], x[2], onward, how), Epoch(before, x[3:])]

    def quantities(x: jax.Array) -> jax.Array:
        moments = epochs.moments(history(x), 2, rewards)
        tail = epochs.survival([history(x)[0], replace(history(x)[1], how=how)], 1.1)
        return jnp.concatenate([moments, tail[jnp.newaxis]])

    compiled = jax.jit(quantities)
    step = 1e-5
    expected = [(compiled(point + d) - compiled(point - d)) / (2 * step) for d in step * np.eye(4)]
    np.testing.assert_allclose(
        jax.jit(jax.jacrev(quantities))(point), np.transpose(expected), rtol=1e-7
    )


def test_many_histories_run_under_vmap() -> None:
    program = kingman(4)
    how = replay.choose_method(program, jnp.array([2.0]), 1.0)
    ones = [jnp.ones(program.n_vertices)] * 2

    def mean(theta: jax.Array, duration: jax.Array) -> jax.Array:
        history = [Epoch(program, theta, duration, how=how), Epoch(program, 2 * theta)]
        return epochs.expected_rewards(history, ones)

    thetas, durations = jnp.array([[1.0], [2.0]]), jnp.array([0.5, 1.0])
    batch = jax.jit(jax.vmap(mean))(thetas, durations)
    alone = [mean(*one) for one in zip(thetas, durations, strict=True)]
    np.testing.assert_allclose(batch, alone, rtol=1e-13)
    assert np.isnan(jax.vmap(mean)(thetas, -durations)).all()


def test_epochs_that_do_not_fit_are_refused() -> None:
    small, large = kingman(2), kingman(3)
    theta, ones = jnp.ones(1), [jnp.ones(3), jnp.ones(4)]
    last = Epoch(large, theta)
    with pytest.raises(EvaluationError, match="every epoch but the last, got durations of 0 of 2"):
        epochs.expected_visits([Epoch(small, theta), last])
    with pytest.raises(EvaluationError, match="duration of at least 0, got -1"):
        epochs.expected_visits([Epoch(small, theta, -1.0, jnp.zeros(3, dtype=int)), last])
    with pytest.raises(EvaluationError, match=r"shape \(3,\) or \(3, 4\), got none"):
        epochs.expected_visits([Epoch(small, theta, 1.0), last])
    with pytest.raises(EvaluationError, match=r"shape \(3,\) or \(3, 4\), got shape \(4, 3\)"):
        epochs.expected_visits([Epoch(small, theta, 1.0, jnp.zeros((4, 3))), last])
    with pytest.raises(EvaluationError, match=r"vertices in 0\.\.3, got 4 for vertex 1"):
        epochs.expected_visits([Epoch(small, theta, 1.0, jnp.array([0, 4, 3])), last])
    fitting = [Epoch(small, theta, 1.0, jnp.array([0, 2, 3])), last]
    with pytest.raises(EvaluationError, match=r"vertices, got shapes \[\(3,\), \(3,\)\]"):
        epochs.expected_rewards(fitting, [ones[0], ones[0]])
    inverted = replace(fitting[0], how=replay.Method("inversion", 40))
    with pytest.raises(ConfigError, match="method 'uniformisation', got 'inversion'"):
        epochs.moments([inverted, last], 2, ones)
    with pytest.raises(ConfigError, match="do not depend on traced arrays"):
        jax.grad(lambda d: epochs.moments([replace(fitting[0], duration=d), last], 1, ones)[0])(1.0)
