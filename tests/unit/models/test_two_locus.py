"""The two-locus ancestral process against formulas, a plain construction and itself by counts."""

from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest

from phasic_mpi.models import build_model, find_model
from tests.unit.models.plain import State, assert_same_edges, covariances, means, plain_edges

Transitions = Iterator[tuple[State, list[float]]]


def by_loci(state: State) -> Transitions:
    both, left, right = state
    if sum(state) == 1:
        return
    if both > 1:
        yield (both - 1, left, right), [both * (both - 1) / 2, 0]
    if both and left:
        yield (both, left - 1, right), [both * left, 0]
    if both and right:
        yield (both, left, right - 1), [both * right, 0]
    if left > 1:
        yield (both, left - 1, right), [left * (left - 1) / 2, 0]
    if right > 1:
        yield (both, left, right - 1), [right * (right - 1) / 2, 0]
    if left and right:
        yield (both + 1, left - 1, right - 1), [left * right, 0]
    if both:
        yield (both - 1, left + 1, right + 1), [0, both]


def by_descendants(n: int, state: State) -> Transitions:
    """Lineage by lineage: each pair of them merges, each with both loci splits."""
    kinds = [(a, b) for a in range(n + 1) for b in range(n + 1)][1:]
    lineages = list(Counter(dict(zip(kinds, state, strict=True))).elements())
    if len(lineages) == 1:
        return

    def counts(left_over: list[tuple[int, int]], *made: tuple[int, int]) -> State:
        number = Counter([*left_over, *made])
        return tuple(number[kind] for kind in kinds)

    for i, (a, b) in enumerate(lineages):
        others = lineages[:i] + lineages[i + 1 :]
        for j, (c, d) in enumerate(lineages[:i]):
            yield counts(others[:j] + others[j + 1 :], (a + c, b + d)), [1, 0]
        if a and b:
            yield counts(others, (a, 0), (0, b)), [0, 1]


@pytest.mark.parametrize("n", [2, 3, 6])
def test_by_loci_it_equals_its_plain_construction(n: int) -> None:
    graph = build_model("two-locus", n=n)
    assert graph.state_names == ("both", "left", "right")
    assert_same_edges(graph, plain_edges([(n, 0, 0)], by_loci))


@pytest.mark.parametrize("n", [2, 3, 4])
def test_by_descendants_it_equals_its_plain_construction(n: int) -> None:
    graph = build_model("two-locus", n=n, descendants=1)
    initial = tuple(n if name == "lineages_1_1" else 0 for name in graph.state_names)
    assert_same_edges(graph, plain_edges([initial], lambda state: by_descendants(n, state)))


@pytest.mark.parametrize("descendants", [0, 1])
@pytest.mark.parametrize("scaled_rate", [0.0, 0.3, 1.0, 20.0, 1e4])
def test_times_of_two_samples_correlate_as_griffiths_found(
    scaled_rate: float, descendants: int
) -> None:
    # Griffiths (1981), Hudson (1983): R = 4 N r, and a lineage recombines at rate R / 2 in units
    # of the time in which a pair coalesces. Their variance is 1.
    graph = build_model("two-locus", n=2, descendants=descendants)
    theta = [1.0, scaled_rate / 2]
    found = covariances(graph, theta, "left_time", "right_time")
    expected = (scaled_rate + 18) / (scaled_rate**2 + 13 * scaled_rate + 18)
    np.testing.assert_allclose(found, [[1, expected], [expected, 1]], rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("rate", [0.0, 0.4, 30.0])
def test_the_later_of_two_times_follows_from_the_earlier(rate: float) -> None:
    # Until the first of the two: from (2, 0, 0), (1, 1, 1) and (0, 2, 2), lineages with both loci,
    # the left one and the right one.
    generator = [[1 + 2 * rate, -2 * rate, 0], [-1, 3 + rate, -rate], [0, -4, 6]]
    earlier = np.linalg.solve(generator, np.ones(3))[0]
    found = means(build_model("two-locus", n=2), [1.0, rate])
    assert found["both_time"] == pytest.approx(2 - earlier, rel=1e-12)


@pytest.mark.parametrize("n", [2, 5, 12])
def test_each_locus_alone_is_kingmans(n: int) -> None:
    graph = build_model("two-locus", n=n)
    theta, i = [2.0, 0.7], np.arange(1, n)
    found = means(graph, theta)
    for locus in ("left", "right"):
        assert found[f"{locus}_time"] == pytest.approx((1 - 1 / n), rel=1e-12)
        assert found[f"{locus}_branch_length"] == pytest.approx((1 / i).sum(), rel=1e-12)
        variance = covariances(graph, theta, f"{locus}_branch_length")[0, 0]
        assert variance == pytest.approx((1 / i**2).sum(), rel=1e-11)


def test_each_locus_has_the_spectrum_of_kingman() -> None:
    n = 5
    found = means(build_model("two-locus", n=n, descendants=1), [1.0, 0.7])
    for locus in ("left", "right"):
        lengths = [found[f"{locus}_branch_length_{i}"] for i in range(1, n)]
        np.testing.assert_allclose(lengths, 2 / np.arange(1, n), rtol=1e-12)


def test_descendants_change_none_of_the_other_rewards() -> None:
    theta, names = [1.0, 1.3], ("left_branch_length", "right_branch_length", "both_time", "")
    graphs = [build_model("two-locus", n=4, descendants=descendants) for descendants in (0, 1)]
    plain, detailed = (means(graph, theta) for graph in graphs)
    assert {name: detailed[name] for name in plain} == pytest.approx(plain, rel=1e-12)
    plain, detailed = (covariances(graph, theta, *names) for graph in graphs)
    np.testing.assert_allclose(detailed, plain, rtol=1e-11)


def test_loci_that_never_part_have_one_tree() -> None:
    graph = build_model("two-locus", n=4)
    found = means(graph, [1.0, 0.0])
    assert found["both_time"] == pytest.approx(found["left_time"], rel=1e-14)
    assert found[""] == pytest.approx(1.5, rel=1e-14)
    covariance = covariances(graph, [1.0, 0.0], "left_branch_length", "right_branch_length")
    np.testing.assert_allclose(covariance, covariance[0, 0], rtol=1e-13)


@pytest.mark.parametrize("n", [2, 3, 7, 15])
def test_by_loci_it_has_the_states_that_the_formula_counts(n: int) -> None:
    counted = find_model("two-locus").n_vertices(n=n, descendants=0)
    assert build_model("two-locus", n=n).n_vertices == counted


def test_by_descendants_it_has_the_states_that_oeis_counts() -> None:
    sizes = [find_model("two-locus").n_vertices(n=n, descendants=1) - 1 for n in range(2, 11)]
    assert sizes == [9, 31, 109, 339, 1043, 2998, 8406, 22652, 59521]
    graph = build_model("two-locus", n=8, descendants=1)
    assert (graph.n_vertices, graph.n_edges) == (8407, 92_197)
