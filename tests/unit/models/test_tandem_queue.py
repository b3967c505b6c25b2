"""Queues in a row against a plain construction, and against formulas where there is one."""

from collections.abc import Iterator
from fractions import Fraction

import pytest

from phasic_mpi.errors import ConfigError
from phasic_mpi.models import build_model
from phasic_mpi.models.tandem_queue import n_vertices
from tests.unit.models.plain import assert_same_edges, mean, passages, plain_edges

SIZES = [(1, 1), (9, 1), (1, 2), (2, 2), (5, 2), (1, 3), (3, 3), (1, 6)]
EXACT = 1e-13


@pytest.mark.parametrize(("capacity", "stations"), SIZES)
def test_edges_are_those_of_the_plain_construction(capacity: int, stations: int) -> None:
    def only(parameter: int) -> tuple[float, ...]:
        return tuple(float(i == parameter) for i in range(stations + 1))

    def rule(state: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], tuple[float, ...]]]:
        if max(state) > capacity:
            return
        for mover in range(stations + 1):
            after = list(state)
            if mover > 0:
                after[mover - 1] -= 1
            if mover < stations:
                after[mover] += 1
            if min(after) >= 0:
                yield tuple(after), only(mover)

    graph = build_model("tandem-queue", capacity=capacity, stations=stations)
    edges = plain_edges([(0,) * stations], rule)
    assert_same_edges(graph, edges)
    assert graph.states[graph.start_target].tolist() == [[0] * stations]
    assert graph.n_vertices == n_vertices(capacity=capacity, stations=stations)
    assert graph.parameter_names == (
        "arrival",
        *(f"service_{i}" for i in range(1, stations + 1)),
    )


def test_the_mean_of_two_single_places_is_the_fraction_worked_out_by_hand() -> None:
    """With arrivals a and services b and c, all from the states (0,0), (1,0), (0,1) and (1,1)::

    m00 = 1/a + m10        m10 = (1 + b m01) / (a + b)
    m01 = (1 + a m11 + c m00) / (a + c)        m11 = (1 + c m10) / (a + b + c)
    """
    a, b, c = Fraction(3, 4), Fraction(5, 4), Fraction(3, 2)
    # m10 = (1 + b m01) / (a + b); the rest put into the equation of m01 leaves m01 alone.
    m11_constant = (1 + c / (a + b)) / (a + b + c)
    m11_slope = c * b / (a + b) / (a + b + c)
    m00_constant, m00_slope = 1 / a + 1 / (a + b), b / (a + b)
    m01 = (1 + a * m11_constant + c * m00_constant) / (a + c - a * m11_slope - c * m00_slope)
    expected = m00_constant + m00_slope * m01
    graph = build_model("tandem-queue", capacity=1)
    assert mean(graph, [float(a), float(b), float(c)]) == pytest.approx(float(expected), rel=EXACT)


def test_one_station_is_a_queue_with_one_server() -> None:
    arrival, service, capacity = Fraction(3, 4), Fraction(1), 7
    up, down = [arrival] * (capacity + 1), [Fraction(0), *[service] * capacity]
    graph = build_model("tandem-queue", capacity=capacity, stations=1)
    for name, reward in (None, [1] * (capacity + 1)), ("customers", list(range(capacity + 1))):
        expected = float(sum(passages(up, down, reward)))
        assert mean(graph, [0.75, 1.0], name) == pytest.approx(expected, rel=EXACT)


def test_more_stations_than_vertices_can_be_numbered_are_refused() -> None:
    with pytest.raises(ConfigError, match="at most 2147483647 vertices"):
        build_model("tandem-queue", capacity=2**31 - 1, stations=2**31 - 1)
