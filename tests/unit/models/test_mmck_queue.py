"""The M/M/c/K queue against a plain construction and the recursion of birth-death chains."""

from collections.abc import Iterator
from fractions import Fraction

import pytest

from phasic_mpi.errors import ConfigError
from phasic_mpi.models import build_model
from tests.unit.models.plain import assert_same_edges, mean, passages, plain_edges

SIZES = [(1, 1), (1, 6), (3, 3), (2, 7), (4, 30)]
# Replay promises a few n * eps.
EXACT = 1e-13


@pytest.mark.parametrize(("servers", "capacity"), SIZES)
def test_edges_are_those_of_the_plain_construction(servers: int, capacity: int) -> None:
    def rule(state: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], tuple[float, ...]]]:
        (present,) = state
        if present <= capacity:
            yield (present + 1,), (1, 0)
            yield (present - 1,), (0, min(present, servers))

    graph = build_model("mmck-queue", servers=servers, capacity=capacity)
    assert_same_edges(graph, plain_edges([(0,)], rule))
    assert graph.states[graph.start_target].tolist() == [[0]]
    assert graph.n_vertices == capacity + 3


@pytest.mark.parametrize(("servers", "capacity"), SIZES)
@pytest.mark.parametrize("theta", [[1.5, 1.0], [0.25, 2.0]])
def test_expected_rewards_are_those_of_the_recursion(
    servers: int, capacity: int, theta: list[float]
) -> None:
    graph = build_model("mmck-queue", servers=servers, capacity=capacity)
    arrival, service = map(Fraction, theta)
    busy = [min(n, servers) for n in range(capacity + 1)]
    up, down = [arrival] * len(busy), [service * n for n in busy]
    for name, reward in {
        None: [1] * len(busy),
        "customers": list(range(len(busy))),
        "busy_servers": busy,
    }.items():
        expected = sum(passages(up, down, reward))
        assert mean(graph, theta, name) == pytest.approx(float(expected), rel=EXACT)


def test_a_single_server_overflows_after_a_sum_of_geometric_series() -> None:
    """From n to n + 1 it takes ``(1 + ... + ratio^n) / arrival`` with ratio service / arrival."""
    arrival, service, capacity = 2.0, 3.0, 12
    ratio = service / arrival
    steps = (ratio * (ratio ** (capacity + 1) - 1) / (ratio - 1) - (capacity + 1)) / (ratio - 1)
    graph = build_model("mmck-queue", servers=1, capacity=capacity)
    assert mean(graph, [arrival, service]) == pytest.approx(steps / arrival, rel=EXACT)


def test_fewer_places_than_servers_are_refused() -> None:
    with pytest.raises(ConfigError, match="expected a capacity of at least the number of servers"):
        build_model("mmck-queue", servers=3, capacity=2)
