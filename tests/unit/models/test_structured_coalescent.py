"""The structured coalescent against known formulas, labelled lineages and msprime."""

from collections.abc import Iterator

import msprime
import numpy as np
import pytest

from phasic_mpi.errors import ConfigError
from phasic_mpi.models import build_model
from tests.unit.models.plain import (
    Rule,
    State,
    assert_simulated,
    covariances,
    dense_moments,
    means,
    plain_edges,
)

# Rates from row to column that no symmetry helps with; the last island only receives.
MIGRATION = np.array([[0.0, 0.3, 1.7], [0.9, 0.0, 0.05], [0.4, 2.5, 0.0]])


def labelled(migration: np.ndarray) -> Rule:
    """Lineages keep their places in a tuple of islands; two that coalesce leave the later place.

    Rates have a coefficient for each island and then for each pair of islands with migration.
    """
    islands = len(migration)
    pairs = [(int(i), int(j)) for i, j in np.argwhere(migration)]
    unit = np.eye(islands + len(pairs)).tolist()

    def rule(state: State) -> Iterator[tuple[State, list[float]]]:
        for place, island in enumerate(state):
            for earlier in state[:place]:
                if earlier == island:
                    yield state[:place] + state[place + 1 :], unit[island]
            for number, (i, j) in enumerate(pairs):
                if i == island and len(state) > 1:
                    row = [migration[i, j] * x for x in unit[islands + number]]
                    yield (*state[:place], j, *state[place + 1 :]), row

    return rule


@pytest.mark.parametrize("islands", [2, 3, 10])
@pytest.mark.parametrize("migration", [0.01, 2.0])
def test_two_lineages_on_one_of_equal_islands_take_as_long_as_without_islands(
    islands: int, migration: float
) -> None:
    # Strobeck (1987): whatever the rate of migration, `islands` times as long as on one island;
    # Slatkin (1991): from different islands longer by the time until they meet on one.
    graph = build_model("structured-coalescent", n=2, islands=islands)
    assert means(graph, [1.0, migration])[""] == pytest.approx(islands, rel=1e-12)
    apart = [1, 1] + [0] * (islands - 2)
    graph = build_model("structured-coalescent", islands=islands, sample=[apart])
    expected = islands + 1 / (2 * migration)
    assert means(graph, [1.0, migration])[""] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("sample", "initial"), [((2, 1, 1), (0, 0, 1, 2)), ((0, 0, 3), (2, 2, 2)), ((1, 1, 0), (0, 1))]
)
def test_islands_of_any_sizes_and_migration_agree_with_labelled_lineages(
    sample: State, initial: State
) -> None:
    theta = [1.0, 0.2, 3.0, *np.linspace(0.5, 2.0, 6)]
    graph = build_model(
        "structured-coalescent", islands=3, sample=[sample], migration=MIGRATION, separate=1
    )
    rates = plain_edges([initial], labelled(MIGRATION))
    time = dense_moments(rates, theta, initial, lambda state: 1.0)  # noqa: ARG005
    length = dense_moments(rates, theta, initial, len)
    found = means(graph, theta)
    assert found[""] == pytest.approx(time[0], rel=1e-12)
    assert found["branch_length"] == pytest.approx(length[0], rel=1e-12)
    variance = covariances(graph, theta, "branch_length")[0, 0]
    assert variance == pytest.approx(length[1] - length[0] ** 2, rel=1e-10)


def test_separate_parameters_with_equal_values_are_the_common_ones() -> None:
    settings = {"islands": 3, "sample": [[2, 0, 3]], "migration": MIGRATION}
    common = build_model("structured-coalescent", **settings)
    separate = build_model("structured-coalescent", separate=1, **settings)
    assert separate.parameter_names[:4] == (
        "coalescence_1",
        "coalescence_2",
        "coalescence_3",
        "migration_1_2",
    )
    theta = [1.5] * 3 + [0.3] * 6
    assert means(separate, theta) == pytest.approx(means(common, [1.5, 0.3]), rel=1e-13)


def test_islands_that_exchange_nothing_keep_no_parameter() -> None:
    migration = "5,1,0;1,5,0;0,2,5"
    graph = build_model("structured-coalescent", n=2, islands=3, migration=migration, separate=1)
    assert graph.parameter_names[3:] == ("migration_1_2", "migration_2_1", "migration_3_2")
    assert not graph.states[:, 2].any()


@pytest.mark.parametrize("sample", ["-5,0,0", "1,0,0", "2,2", "1.5,1,0", "2;2;2"])
def test_a_sample_that_is_none_is_refused(sample: str) -> None:
    with pytest.raises(ConfigError, match="expected sample to be 3 numbers of lineages, at least"):
        build_model("structured-coalescent", sample=sample)


@pytest.mark.parametrize("migration", ["0,1;1,0", "0,1,1;1,0,-1;1,1,0"])
def test_a_migration_matrix_that_is_none_is_refused(migration: str) -> None:
    with pytest.raises(ConfigError, match="expected migration to be a matrix of 3 x 3 rates of at"):
        build_model("structured-coalescent", migration=migration)


def test_a_sample_too_large_to_count_is_refused() -> None:
    with pytest.raises(ConfigError, match="at most 2147483647 vertices"):
        build_model("structured-coalescent", islands=2, sample="3000000000,0")


def test_height_and_length_of_simulated_trees_are_within_four_standard_errors() -> None:
    n_trees, sizes = 2000, [1.0, 0.4, 2.0]
    demography = msprime.Demography.isolated_model(sizes)
    demography.migration_matrix = MIGRATION
    simulated = msprime.sim_ancestry(
        {"pop_0": 3, "pop_2": 2},
        ploidy=1,
        demography=demography,
        num_replicates=n_trees,
        random_seed=1,
    )
    trees = [tree.first() for tree in simulated]
    found = np.array([(tree.time(tree.root), tree.total_branch_length) for tree in trees])
    graph = build_model(
        "structured-coalescent", islands=3, sample=[[3, 0, 2]], migration=MIGRATION, separate=1
    )
    theta = [1 / size for size in sizes] + [1.0] * 6
    for column, name in enumerate(["", "branch_length"]):
        variance = covariances(graph, theta, name)[0, 0]
        assert_simulated(found[:, column], means(graph, theta)[name], variance)
