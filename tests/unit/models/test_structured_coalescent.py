"""The structured coalescent against known formulas, labelled lineages and msprime."""

import tracemalloc
from collections.abc import Iterator

import msprime
import numpy as np
import pytest

from phasic_mpi.errors import ConfigError, GraphError
from phasic_mpi.models import build_model, find_model
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


@pytest.mark.parametrize("spectrum", [0, 1])
def test_lineages_that_never_meet_are_refused(spectrum: int) -> None:
    # From island 1 to either of two islands that nobody leaves.
    migration = [[0, 1, 1], [0, 0, 0], [0, 0, 0]]
    with pytest.raises(GraphError) as caught:
        build_model("structured-coalescent", n=2, migration=migration, spectrum=spectrum)
    assert caught.value.what == "The process can come to rest where it is not absorbed"
    suffix = "_lineages_1" if spectrum else ""
    assert f"island_2{suffix}=1" in caught.value.problem
    assert f"island_3{suffix}=1" in caught.value.problem
    assert (
        "leave a way out of each state, by the rule or by the settings" in caught.value.resolution
    )


def test_many_islands_take_memory_for_the_moves_that_can_be_made() -> None:
    # There are 3,540 ways to move, of which two lineages can take 118: all would take 0.9 GB.
    tracemalloc.start()
    graph = build_model("structured-coalescent", n=2, islands=60)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert graph.n_vertices == 1 + 60 + 60 * 61 // 2
    assert peak < 2e8


def test_a_sample_too_large_to_count_is_refused() -> None:
    with pytest.raises(ConfigError, match="at most 2147483647 vertices"):
        build_model("structured-coalescent", islands=2, sample="3000000000,0")


def test_descendants_change_neither_times_nor_lengths() -> None:
    settings = {"islands": 3, "sample": [[2, 1, 2]], "migration": MIGRATION, "separate": 1}
    theta = [1.0, 0.2, 3.0, *np.linspace(0.5, 2.0, 6)]
    plain = build_model("structured-coalescent", **settings)
    detailed = build_model("structured-coalescent", spectrum=1, **settings)
    assert detailed.state_names[:6] == (
        *(f"island_1_lineages_{i}" for i in range(1, 6)),
        "island_2_lineages_1",
    )
    found, lengths = means(plain, theta), means(detailed, theta)
    assert {name: lengths[name] for name in found} == pytest.approx(found, rel=1e-12)
    assert sum(lengths[f"branch_length_{i}"] for i in range(1, 5)) == pytest.approx(
        found["branch_length"], rel=1e-12
    )
    names = ("", "branch_length")
    np.testing.assert_allclose(
        covariances(detailed, theta, *names), covariances(plain, theta, *names), rtol=1e-11
    )


def test_one_island_has_the_spectrum_of_kingman() -> None:
    graph = build_model("structured-coalescent", n=7, islands=1, spectrum=1)
    kingman = build_model("kingman-spectrum", n=7)
    assert means(graph, [1.0, 0.5]) == pytest.approx(means(kingman, [1.0]), rel=1e-13)


def test_islands_apart_from_each_other_for_long_have_two_long_branches() -> None:
    # 2 and 3 lineages find their ancestors long before these meet at last.
    graph = build_model("structured-coalescent", islands=2, sample=[[2, 3]], spectrum=1)
    found = means(graph, [1.0, 1e-9])
    wait = 1 / (2 * 1e-9)
    assert found["branch_length_2"] == pytest.approx(wait, rel=1e-6)
    assert found["branch_length_3"] == pytest.approx(wait, rel=1e-6)
    assert found["branch_length_1"] < 10


@pytest.mark.parametrize(
    ("n", "islands", "spectrum"), [(13, 2, 1), (5, 3, 1), (6, 1, 1), (9, 4, 0)]
)
def test_it_has_the_states_that_the_formula_counts(n: int, islands: int, spectrum: int) -> None:
    settings = {"n": n, "islands": islands, "spectrum": spectrum}
    counted = find_model("structured-coalescent").n_vertices(sample=np.zeros((0, 0)), **settings)
    assert build_model("structured-coalescent", **settings).n_vertices == counted


@pytest.mark.parametrize("islands", [2, 2_000_000_000])
def test_more_states_than_vertices_can_be_are_refused(islands: int) -> None:
    with pytest.raises(ConfigError, match="at most 2147483647 vertices, got"):
        build_model("structured-coalescent", n=2_000_000_000, islands=islands, spectrum=1)


def test_height_lengths_and_singletons_of_simulated_trees_are_within_four_standard_errors() -> None:
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
    found = []
    for trees in simulated:
        tree = trees.first()
        singletons = trees.allele_frequency_spectrum(mode="branch", polarised=True)[1]
        found.append((tree.time(tree.root), tree.total_branch_length, singletons))
    graph = build_model(
        "structured-coalescent",
        islands=3,
        sample=[[3, 0, 2]],
        migration=MIGRATION,
        separate=1,
        spectrum=1,
    )
    theta = [1 / size for size in sizes] + [1.0] * 6
    names = ("", "branch_length", "branch_length_1")
    expected, variance = means(graph, theta), covariances(graph, theta, *names).diagonal()
    for name, of_reward, sample in zip(names, variance, np.transpose(found), strict=True):
        assert_simulated(sample, expected[name], of_reward)
