"""Plain answers about bundled models: constructions one state at a time, dense matrices."""

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import expm

from phasic_mpi.evaluate import Replay, moments
from phasic_mpi.graph import PhaseTypeGraph
from tests.recording import record_alone

State = tuple[int, ...]
Edges = dict[tuple[State, State], tuple[float, ...]]
Rule = Callable[[State], Iterable[tuple[State, Sequence[float]]]]


def plain_edges(initial: Iterable[State], rule: Rule) -> Edges:
    """Coefficients of all edges between the states that the rule reaches."""
    edges: Edges = {}
    seen = set(initial)
    waiting = list(seen)
    while waiting:
        source = waiting.pop()
        for target, coefficient in rule(source):
            if not any(coefficient):
                continue
            before = edges.get((source, target), (0.0,) * len(coefficient))
            edges[source, target] = tuple(a + b for a, b in zip(before, coefficient, strict=True))
            if target not in seen:
                seen.add(target)
                waiting.append(target)
    return edges


def edges_of(graph: PhaseTypeGraph) -> Edges:
    """Coefficients of the edges of a graph, by the states they join; constants have one."""
    states = [tuple(state) for state in graph.states.tolist()]
    edges: Edges = {}
    for sources, targets, coefficients in (
        (graph.edge_source, graph.edge_target, graph.edge_weight[:, np.newaxis]),
        (graph.param_source, graph.param_target, graph.param_coefficient),
    ):
        for source, target, row in zip(sources, targets, coefficients.tolist(), strict=True):
            assert (states[source], states[target]) not in edges
            edges[states[source], states[target]] = tuple(row)
    return edges


def assert_same_edges(graph: PhaseTypeGraph, expected: Edges, rtol: float = 1e-15) -> None:
    """The same states are joined, by the same coefficients up to rounding."""
    actual = edges_of(graph)
    assert actual.keys() == expected.keys()
    for edge, coefficient in expected.items():
        np.testing.assert_allclose(actual[edge], coefficient, rtol=rtol)


def mean(graph: PhaseTypeGraph, theta: list[float], reward: str | None = None) -> float:
    """Expected time to absorption, or expected reward of this name until then, replayed."""
    rewards = None if reward is None else graph.reward(reward)
    ((value,),) = moments(record_alone(graph), theta, 1, rewards)
    return float(value)


def passages(up: list[Fraction], down: list[Fraction], reward: list[int]) -> list[Fraction]:
    """Expected reward of a birth-death chain on the way from each state to the next.

    ``h_n = (r_n + down_n h_(n-1)) / up_n``: Karlin and McGregor (1957), The classification of birth
    and death processes, Transactions of the American Mathematical Society 86.

    Args:
        up: Rate from each state to the next, from state 0 on.
        down: Rate from each to the one before; the first is 0.
        reward: Reward per unit of time in each.
    """
    out: list[Fraction] = []
    for birth, death, rate in zip(up, down, reward, strict=True):
        out.append((rate + death * (out[-1] if out else 0)) / birth)
    return out


def density(graph: PhaseTypeGraph, theta: list[float], times: ArrayLike) -> NDArray[np.float64]:
    """Density of the time to absorption: ``alpha exp(S t) s`` with matrices of SciPy."""
    rates = np.zeros((graph.n_vertices, graph.n_vertices))
    rates[graph.edge_source, graph.edge_target] = graph.edge_weight
    rates[graph.param_source, graph.param_target] += graph.param_coefficient @ np.array(theta)
    transient = rates.any(axis=1)
    alpha = np.zeros(graph.n_vertices)
    alpha[graph.start_target] = graph.start_weight
    matrix = (rates - np.diag(rates.sum(axis=1)))[np.ix_(transient, transient)]
    exits = rates[np.ix_(transient, ~transient)].sum(axis=1)
    return np.array([alpha[transient] @ expm(matrix * t) @ exits for t in np.asarray(times)])


def dense_moments(
    edges: Edges, theta: Sequence[float], initial: State, reward: Callable[[State], float]
) -> tuple[float, float]:
    """First two moments of the reward until absorption, by ``numpy.linalg``."""
    transient = list(dict.fromkeys(source for source, _ in edges))
    place = {state: i for i, state in enumerate(transient)}
    matrix = np.zeros((len(transient), len(transient)))
    for (source, target), coefficient in edges.items():
        rate = float(np.dot(coefficient, theta))
        matrix[place[source], place[source]] += rate
        if target in place:
            matrix[place[source], place[target]] -= rate
    rewards = np.array([reward(state) for state in transient], dtype=float)
    first = np.linalg.solve(matrix, rewards)
    second = 2 * np.linalg.solve(matrix, rewards * first)
    return float(first[place[initial]]), float(second[place[initial]])


def means(graph: PhaseTypeGraph, theta: Sequence[float]) -> dict[str, float]:
    """Expected rewards by name, and the expected time to absorption under '', replayed."""
    visits = Replay(record_alone(graph)).expected_visits(theta)
    rewards = zip(graph.reward_names, graph.rewards, strict=True)
    return {"": float(visits.sum()), **{name: float(visits @ row) for name, row in rewards}}


def covariances(graph: PhaseTypeGraph, theta: Sequence[float], *names: str) -> np.ndarray:
    """Covariance matrix of these rewards, '' being the time to absorption, replayed.

    E[Y Z] is the sum over states of the time there times r_Y E[Z] + r_Z E[Y], from there on.
    """
    replay = Replay(record_alone(graph))
    visits = replay.expected_visits(theta)
    rewards = np.array([graph.reward(name) if name else np.ones(len(visits)) for name in names])
    later = np.array([replay.expected_rewards(theta, reward) for reward in rewards])
    half = (rewards * visits) @ later.T
    return half + half.T - np.outer(later[:, 0], later[:, 0])


def assert_simulated(sample: np.ndarray, mean: float, variance: float) -> None:
    """Mean and variance of the sample are within four standard errors of these."""
    squares = (sample - sample.mean()) ** 2
    assert abs(sample.mean() - mean) < 4 * np.sqrt(variance / sample.size)
    assert abs(squares.mean() - variance) < 4 * squares.std() / np.sqrt(sample.size)
