"""Machines under repair against a plain construction, birth-death recursions and known formulas."""

from collections.abc import Iterator
from fractions import Fraction

import pytest

from phasic_mpi.errors import ConfigError
from phasic_mpi.models import build_model
from tests.unit.models.plain import assert_same_edges, mean, passages, plain_edges

EXACT = 1e-13


@pytest.mark.parametrize(
    ("n", "k", "repairers", "operating"),
    [(1, 1, 1, 0), (5, 3, 1, 0), (5, 3, 0, 0), (6, 2, 9, 0), (6, 2, 2, 3), (7, 1, 1, 1)],
)
def test_edges_and_rewards_are_those_of_the_plain_construction(
    n: int, k: int, repairers: int, operating: int
) -> None:
    most = operating or n
    failed = list(range(n - k + 1))
    running = [min(n - j, most) for j in failed]
    standby = [n - j - r for j, r in zip(failed, running, strict=True)]
    busy = [min(j, repairers) for j in failed]
    warm = most < n

    def rule(state: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], tuple[float, ...]]]:
        (j,) = state
        if n - j >= k:
            yield (j + 1,), (running[j], 0, standby[j])[: 2 + warm]
            yield (j - 1,), (0, busy[j], 0)[: 2 + warm]

    graph = build_model("machine-repair", n=n, k=k, repairers=repairers, operating=operating)
    assert_same_edges(graph, plain_edges([(0,)], rule))
    assert graph.n_vertices == n - k + 3

    theta = [0.25, 1.5, 0.125][: 2 + warm]
    failure, repair, standby_failure = (*map(Fraction, theta), Fraction(0))[:3]
    up = [failure * r + standby_failure * s for r, s in zip(running, standby, strict=True)]
    down = [repair * b for b in busy]
    for name, reward in {
        None: [1] * len(failed),
        "running": running,
        "failed": failed,
        "busy_repairers": busy,
    }.items():
        expected = float(sum(passages(up, down, reward)))
        assert mean(graph, theta, name) == pytest.approx(expected, rel=EXACT)


def test_two_parallel_machines_last_as_long_as_the_textbook_says() -> None:
    """``(3 failure + repair) / (2 failure^2)``, and with a cold spare ``(2 f + r) / f^2``."""
    failure, repair = 0.25, 4.0
    graph = build_model("machine-repair", n=2, k=1)
    expected = (3 * failure + repair) / (2 * failure**2)
    assert mean(graph, [failure, repair]) == pytest.approx(expected, rel=EXACT)
    graph = build_model("machine-repair", n=2, k=1, operating=1)
    expected = (2 * failure + repair) / failure**2
    assert mean(graph, [failure, repair, 0.0]) == pytest.approx(expected, rel=EXACT)


def test_without_repair_the_last_of_n_machines_fails_after_a_harmonic_sum() -> None:
    graph = build_model("machine-repair", n=20, k=1, repairers=0)
    expected = sum(1 / j for j in range(1, 21)) / 0.5
    assert mean(graph, [0.5, 1.0]) == pytest.approx(expected, rel=EXACT)


def test_a_spare_that_fails_like_the_others_makes_no_difference() -> None:
    hot = build_model("machine-repair", n=6, k=2, repairers=2)
    warm = build_model("machine-repair", n=6, k=2, repairers=2, operating=3)
    expected = mean(hot, [0.25, 1.0])
    assert mean(warm, [0.25, 1.0, 0.25]) == pytest.approx(expected, rel=EXACT)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"n": 2, "k": 3}, "expected k of at most n"),
        ({"n": 5, "k": 3, "operating": 2}, "expected operating to be 0 or in k..n"),
        ({"n": 5, "k": 3, "operating": 6}, "expected operating to be 0 or in k..n"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(
    settings: dict[str, int], expected: str
) -> None:
    with pytest.raises(ConfigError, match=expected):
        build_model("machine-repair", **settings)
