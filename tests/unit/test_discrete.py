"""Discrete phase-type distributions beside closed forms and exact rational arithmetic."""

import math
from collections.abc import Callable
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
from tests.graphs import chain_of_sccs
from tests.recording import record_alone
from tests.reference import eliminate, rates

pytestmark = pytest.mark.usefixtures("float64")

STEP = Fraction(1, 2**40)

# Theta at which the rows sum to less than 1, and to exactly 1 in the busiest state of the queues.
MODELS: dict[str, tuple[Callable[[], PhaseTypeGraph], list[float]]] = {
    "kingman": (lambda: build_model("kingman", n=6), [1 / 16]),
    "structured-coalescent": (
        lambda: build_model("structured-coalescent", n=4, islands=2),
        [1 / 16, 1 / 32],
    ),
    "tandem-queue": (lambda: build_model("tandem-queue", capacity=3), [0.25, 0.25, 0.5]),
}


@pytest.fixture(params=MODELS)
def case(request: pytest.FixtureRequest) -> tuple[PhaseTypeGraph, replay.Program, list[float]]:
    build, theta = MODELS[request.param]
    graph = build()
    return graph, replay.load_program(record_alone(graph)), theta


def chain(n: int, mass: float = 1.0) -> replay.Program:
    """``n`` vertices in a row, each left with probability ``theta[0]``."""
    vertex = np.arange(1, n + 1)
    graph = PhaseTypeGraph.from_arrays(
        n_vertices=n + 2,
        param_source=vertex,
        param_target=vertex + 1,
        param_coefficient=np.ones((n, 1)),
        start_target=[1],
        start_weight=[mass],
    )
    return replay.load_program(record_alone(graph))


def fork(*weights: float) -> replay.Program:
    """One vertex that is left by edges of these weights to vertices left for sure."""
    n = len(weights)
    leaf = np.arange(2, n + 2)
    graph = PhaseTypeGraph.from_arrays(
        n_vertices=n + 3,
        param_source=np.concatenate([np.ones(n, dtype=int), leaf]),
        param_target=np.concatenate([leaf, np.full(n, n + 2)]),
        param_coefficient=np.array([[w, 0.0] for w in weights] + [[0.0, 1.0]] * n),
        start_target=[1],
        start_weight=[1.0],
    )
    return replay.load_program(record_alone(graph))


def exact_pmf(graph: PhaseTypeGraph, theta: list, n_steps: int) -> list[Fraction]:
    """Probabilities of 0 to ``n_steps`` steps by moving exact masses along the edges."""
    rows, alpha = rates(graph, theta, Fraction)
    mass = {vertex: a for vertex, a in enumerate(alpha) if a and rows[vertex]}
    out = [1 - sum(mass.values(), Fraction(0))]
    for _ in range(n_steps):
        moved: dict[int, Fraction] = {}
        absorbed = Fraction(0)
        for vertex, held in mass.items():
            stay = 1 - sum(rows[vertex].values())
            for target, probability in [*rows[vertex].items(), (vertex, stay)]:
                if rows[target]:
                    moved[target] = moved.get(target, Fraction(0)) + held * probability
                else:
                    absorbed += held * probability
        mass = moved
        out.append(absorbed)
    return out


def exact_moments(graph: PhaseTypeGraph, theta: list, n_moments: int) -> list[Fraction]:
    """Moments of ``N = 1 + N'``, one step and the rest: a binomial recursion, no factorials."""
    rows, alpha = rates(graph, theta, Fraction)
    elimination = eliminate(rows, Fraction(0))
    after: list[list[Fraction]] = []  # E[N'^j] from every vertex, for j = 1, 2, ...
    out = []
    for power in range(1, n_moments + 1):
        right = [
            1 + sum((math.comb(power, j + 1) * h[v] for j, h in enumerate(after)), Fraction(0))
            if row
            else Fraction(0)
            for v, row in enumerate(rows)
        ]
        solution = elimination.rewards(right)
        out.append(sum((a * x for a, x in zip(alpha, solution, strict=True)), Fraction(0)))
        after.append(
            [
                (1 - sum(row.values())) * solution[v]
                + sum((p * solution[target] for target, p in row.items()), Fraction(0))
                for v, row in enumerate(rows)
            ]
        )
    return out


def moved(theta: list[float], index: int, sign: int) -> list[Fraction]:
    out = [Fraction(number) for number in theta]
    out[index] += sign * STEP
    return out


def floats(numbers: list[Fraction]) -> list[float]:
    return [float(number) for number in numbers]


@pytest.mark.parametrize("p", [0.3, 1.0, 1e-12])
def test_one_vertex_is_a_geometric_distribution(p: float) -> None:
    program = chain(1)
    steps = np.arange(1, 41)
    expected = np.concatenate([[0], p * (1 - p) ** (steps - 1.0)])
    pmf = replay.discrete_pmf(program, jnp.array([p]), 40)
    np.testing.assert_allclose(pmf, expected, rtol=1e-13)
    cdf = replay.discrete_cdf(program, jnp.array([p]), 40)
    np.testing.assert_allclose(cdf, [math.fsum(expected[: k + 1]) for k in range(41)], rtol=1e-13)
    moments = replay.discrete_moments(program, jnp.array([p]), 3)
    expected = [1 / p, (2 - p) / p**2, (6 - 6 * p + p * p) / p**3]
    np.testing.assert_allclose(moments, expected, rtol=1e-14)


def test_a_chain_is_a_negative_binomial_distribution() -> None:
    program = chain(5)
    pmf = jax.jit(replay.discrete_pmf, static_argnums=2)(program, jnp.array([0.35]), 60)
    expected = stats.nbinom.pmf(np.arange(61) - 5, 5, 0.35)
    np.testing.assert_allclose(pmf, expected, rtol=1e-12)
    moments = replay.discrete_moments(program, jnp.array([0.35]), 2)
    mean = 5 / 0.35
    np.testing.assert_allclose(moments, [mean, mean**2 + 5 * 0.65 / 0.35**2], rtol=1e-13)


def test_a_chain_that_never_stays_has_its_length_for_sure() -> None:
    program = chain(4)
    pmf = replay.discrete_pmf(program, jnp.array([1.0]), 6)
    assert pmf.tolist() == [0, 0, 0, 0, 1, 0, 0]
    moments = replay.discrete_moments(program, jnp.array([1.0]), 5)
    assert moments.tolist() == [4, 16, 64, 256, 1024]


def test_probabilities_are_those_of_exact_arithmetic(case) -> None:
    graph, program, theta = case
    pmf = replay.discrete_pmf(program, jnp.array(theta), 40)
    np.testing.assert_allclose(pmf, floats(exact_pmf(graph, theta, 40)), rtol=1e-13)


def test_moments_are_those_of_exact_arithmetic(case) -> None:
    graph, program, theta = case
    moments = jax.jit(replay.discrete_moments, static_argnums=2)(program, jnp.array(theta), 5)
    np.testing.assert_allclose(moments, floats(exact_moments(graph, theta, 5)), rtol=1e-13)


def test_moments_of_chains_of_very_different_probabilities_are_exact_to_rounding() -> None:
    graph = chain_of_sccs(3, 8, 1, rates=(-13, -1))
    program = replay.load_program(record_alone(graph))
    moments = replay.discrete_moments(program, jnp.zeros(0), 3)
    np.testing.assert_allclose(moments, floats(exact_moments(graph, [], 3)), rtol=1e-13)


def test_probabilities_and_mean_of_a_long_tail_agree() -> None:
    program = chain(3)
    pmf = replay.discrete_pmf(program, jnp.array([0.25]), 600)
    moments = replay.discrete_moments(program, jnp.array([0.25]), 4)
    steps = np.arange(601.0)
    np.testing.assert_allclose([pmf @ steps**k for k in range(1, 5)], moments, rtol=1e-12)


@pytest.mark.parametrize("mode", [jax.jacfwd, jax.jacrev])
def test_derivatives_are_exact_central_differences(case, mode) -> None:
    graph, program, theta = case

    def both(t: jax.Array) -> jax.Array:
        return jnp.concatenate(
            [replay.discrete_pmf(program, t, 12), replay.discrete_moments(program, t, 3)]
        )

    def exact(t: list[Fraction]) -> list[Fraction]:
        return exact_pmf(graph, t, 12) + exact_moments(graph, t, 3)

    jacobian = jax.jit(mode(both))(jnp.array(theta))
    for index in range(len(theta)):
        differences = [
            float((above - below) / (2 * STEP))
            for above, below in zip(
                exact(moved(theta, index, 1)), exact(moved(theta, index, -1)), strict=True
            )
        ]
        np.testing.assert_allclose(jacobian[:, index], differences, rtol=1e-10, atol=1e-13)


def test_second_derivatives_of_a_geometric_distribution_are_closed_forms() -> None:
    program = chain(1)
    p = 0.3
    hessian = jax.jit(jax.hessian(lambda t: all_quantities(program, t)))(jnp.array([p]))
    np.testing.assert_allclose(hessian[3, 0, 0], 6 * p - 4, rtol=1e-13)  # p (1 - p)^2
    np.testing.assert_allclose(hessian[8, 0, 0], 2 / p**3, rtol=1e-13)  # 1 / p


@pytest.mark.parametrize("p", [1.0, np.nextafter(1, 2), np.nextafter(1, 0)])
def test_a_row_that_sums_to_one_is_no_corner_for_derivatives(p: float) -> None:
    program = chain(2)
    jacobian = jax.jit(jax.jacrev(lambda t: replay.discrete_pmf(program, t, 3)))(jnp.array([p]))
    # Of p^2 and 2 p^2 (1 - p), the probabilities of two and three steps.
    np.testing.assert_allclose(jacobian[:, 0], [0, 0, 2, -2], rtol=1e-14)


def test_what_the_start_lacks_to_one_is_absorbed_after_no_step() -> None:
    program = chain(1, mass=0.75)
    pmf = replay.discrete_pmf(program, jnp.array([0.5]), 3)
    assert pmf.tolist() == [0.25, 0.375, 0.1875, 0.09375]
    assert replay.discrete_cdf(program, jnp.array([0.5]), 1).tolist() == [0.25, 0.625]
    np.testing.assert_allclose(replay.discrete_moments(program, jnp.array([0.5]), 1), [1.5])
    assert replay.discrete_pmf(program, jnp.array([0.5]), 0).tolist() == [0.25]


def all_quantities(program: replay.Program, theta: jax.Array) -> jax.Array:
    return jnp.concatenate(
        [
            replay.discrete_pmf(program, theta, 3),
            replay.discrete_cdf(program, theta, 3),
            replay.discrete_moments(program, theta, 3),
        ]
    )


def test_many_theta_are_evaluated_at_once(case) -> None:
    _, program, theta = case
    rows = jnp.array(np.random.default_rng(1).uniform(0.3, 1, (9, 1))) * jnp.array(theta)
    batch = jax.jit(jax.vmap(all_quantities, (None, 0)))(program, rows)
    single = jax.jit(all_quantities)
    alone = jnp.stack([single(program, row) for row in rows])
    np.testing.assert_allclose(batch, alone, rtol=1e-14)


def test_illegal_probabilities_give_nan_and_so_do_their_derivatives() -> None:
    program = chain(3)
    rows = jnp.array([[0.5], [-0.1], [1.0 + 1e-8], [jnp.nan], [jnp.inf]])
    values = jax.vmap(all_quantities, (None, 0))(program, rows)
    for mode in (jax.jacfwd, jax.jacrev):
        slopes = jax.jit(jax.vmap(mode(all_quantities, argnums=1), (None, 0)))(program, rows)
        for result in (values, slopes[..., 0]):
            assert jnp.isfinite(result[0]).all()
            assert jnp.isnan(result[1:]).all()


def test_a_sum_above_one_by_rounding_is_legal() -> None:
    theta = jnp.array([1.0 + 1e-12])
    pmf = replay.discrete_pmf(chain(2), theta, 3)
    np.testing.assert_allclose(pmf, [0, 0, 1, 0], atol=1e-11)


def test_initial_probabilities_above_one_give_nan() -> None:
    graph = PhaseTypeGraph.from_arrays(
        n_vertices=3,
        edge_source=[1],
        edge_target=[2],
        edge_weight=[0.5],
        start_param_target=[1],
        start_param_coefficient=[[1.0]],
    )
    program = replay.load_program(record_alone(graph))
    assert replay.discrete_pmf(program, jnp.array([0.5]), 1).tolist() == [0.5, 0.25]
    for mass in (1.5, -0.5):
        assert jnp.isnan(replay.discrete_pmf(program, jnp.array([mass]), 2)).all()
        assert jnp.isnan(replay.discrete_moments(program, jnp.array([mass]), 2)).all()


def test_a_vertex_that_cannot_be_left_has_no_moments_but_has_probabilities() -> None:
    program = fork(0.5, 0.5)
    theta = jnp.array([1.0, 0.0])
    assert replay.discrete_pmf(program, theta, 3).tolist() == [0, 0, 0, 0]
    assert jnp.isnan(replay.discrete_moments(program, theta, 1)).all()


def test_wrong_numbers_of_steps_and_moments_and_single_precision_are_refused(use_float32) -> None:
    program = chain(2)
    with pytest.raises(EvaluationError, match="n_steps of at least 0, got -1"):
        replay.discrete_pmf(program, jnp.array([0.5]), -1)
    with pytest.raises(EvaluationError, match="n_moments of at least 1, got 0"):
        replay.discrete_moments(program, jnp.array([0.5]), 0)
    with pytest.raises(EvaluationError, match=r"one theta of shape \(1,\), got \(2,\)"):
        replay.discrete_pmf(program, jnp.array([0.5, 0.5]), 1)
    use_float32()
    with pytest.raises(ConfigError, match="single precision"):
        replay.discrete_pmf(program, np.array([0.5]), 1)
