"""Kingman's coalescent by descendants against Fu (1995), a plain construction and msprime."""

from collections.abc import Iterator
from itertools import combinations_with_replacement

import msprime
import numpy as np
import pytest

from phasic_mpi.errors import ConfigError
from phasic_mpi.models import build_model, find_model
from tests.unit.models.plain import (
    State,
    assert_same_edges,
    assert_simulated,
    covariances,
    means,
    plain_edges,
)


def merged(state: State) -> Iterator[tuple[State, list[float]]]:
    for i, j in combinations_with_replacement(range(len(state)), 2):
        pairs = state[i] * (state[i] - 1) / 2 if i == j else state[i] * state[j]
        if pairs:
            target = list(state)
            target[i] -= 1
            target[j] -= 1
            target[i + j + 1] += 1
            yield tuple(target), [pairs]


def fu_covariances(n: int) -> np.ndarray:
    """Fu (1995), equations 2 and 3: of the numbers of mutations at theta 1, due to the tree."""
    a = np.concatenate([[0.0, 0.0], np.cumsum(1 / np.arange(1.0, n + 1))])  # a[k]: 1 to k - 1

    def beta(i: int) -> float:
        return 2 * n / ((n - i + 1) * (n - i)) * (a[n + 1] - a[i]) - 2 / (n - i)

    sigma = np.zeros((n - 1, n - 1))
    for i in range(1, n):
        if 2 * i < n:
            sigma[i - 1, i - 1] = beta(i + 1)
        elif 2 * i == n:
            sigma[i - 1, i - 1] = 2 * (a[n] - a[i]) / (n - i) - 1 / i**2
        else:
            sigma[i - 1, i - 1] = beta(i) - 1 / i**2
        for j in range(1, i):
            if i + j < n:
                value = (beta(i + 1) - beta(i)) / 2
            elif i + j == n:
                value = (a[n] - a[i]) / (n - i) + (a[n] - a[j]) / (n - j)
                value -= (beta(i) + beta(j + 1)) / 2 + 1 / (i * j)
            else:
                value = (beta(j) - beta(j + 1)) / 2 - 1 / (i * j)
            sigma[i - 1, j - 1] = sigma[j - 1, i - 1] = value
    return sigma


@pytest.mark.parametrize("n", [2, 3, 7])
def test_it_equals_its_plain_construction(n: int) -> None:
    graph = build_model("kingman-spectrum", n=n)
    assert_same_edges(graph, plain_edges([(n,) + (0,) * (n - 1)], merged))


@pytest.mark.parametrize("n", [2, 5, 22])
def test_branches_with_i_descendants_have_expected_length_2_over_i(n: int) -> None:
    found = means(build_model("kingman-spectrum", n=n), [0.5])
    expected = [2 * 2 / i for i in range(1, n)]
    names = [f"branch_length_{i}" for i in range(1, n)]
    np.testing.assert_allclose([found[name] for name in names], expected, rtol=1e-13)
    np.testing.assert_allclose(found["branch_length"], sum(expected), rtol=1e-13)
    np.testing.assert_allclose(found[""], 2 * 2 * (1 - 1 / n), rtol=1e-13)


@pytest.mark.parametrize("n", [2, 3, 8, 15])
def test_covariances_of_the_spectrum_are_those_of_fu(n: int) -> None:
    graph = build_model("kingman-spectrum", n=n)
    names = [f"branch_length_{i}" for i in range(1, n)]
    # Mutations fall at rate theta / 2 where a pair coalesces at rate 1.
    found = covariances(graph, [1.0], *names) / 4
    np.testing.assert_allclose(found, fu_covariances(n), rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("n", [2, 9, 30])
def test_it_has_the_states_that_the_formula_counts(n: int) -> None:
    assert build_model("kingman-spectrum", n=n).n_vertices == find_model(
        "kingman-spectrum"
    ).n_vertices(n=n)


def test_more_partitions_than_vertices_can_have_are_refused_before_they_are_counted_out() -> None:
    with pytest.raises(ConfigError, match=r"at most 2147483647 vertices, got 2\.29"):
        build_model("kingman-spectrum", n=2_000_000_000)


def test_the_spectrum_of_simulated_trees_is_within_four_standard_errors() -> None:
    n, n_trees = 6, 2000
    trees = msprime.sim_ancestry(
        n, ploidy=1, population_size=1, num_replicates=n_trees, random_seed=1
    )
    lengths = np.array(
        [tree.allele_frequency_spectrum(mode="branch", polarised=True)[1:n] for tree in trees]
    )
    graph = build_model("kingman-spectrum", n=n)
    names = [f"branch_length_{i}" for i in range(1, n)]
    expected, variance = means(graph, [1.0]), covariances(graph, [1.0], *names).diagonal()
    for name, of_class, of_trees in zip(names, variance, lengths.T, strict=True):
        assert_simulated(of_trees, expected[name], of_class)
