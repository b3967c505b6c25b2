"""The joint site frequency spectrum of isolation with migration, beside msprime."""

import jax.numpy as jnp
import msprime
import numpy as np
import pytest

from phasic_mpi import replay
from phasic_mpi.models import build_model
from phasic_mpi.models.isolation_with_migration import joint_spectrum, vertices_before
from phasic_mpi.replay import Epoch, epochs
from tests.recording import record_alone

N_TREES = 4000
STANDARD_ERRORS = 4


def test_graphs_have_the_sizes_that_kern_and_hey_published() -> None:
    sizes = [
        build_model("isolation-with-migration", n1=7, n2=7, epoch=epoch).n_vertices
        for epoch in (1, 2)
    ]
    assert sizes == [123_135, 2_999]


@pytest.mark.usefixtures("float64")
def test_branch_lengths_of_the_joint_spectrum_are_those_of_msprime() -> None:
    n1, n2, split, sizes, migration = 3, 2, 0.7, (1.0, 0.5, 2.0), (0.6, 0.2)
    demography = msprime.Demography()
    for name, size in zip("ABC", sizes, strict=True):
        demography.add_population(name=name, initial_size=size)
    demography.set_migration_rate("A", "B", migration[0])
    demography.set_migration_rate("B", "A", migration[1])
    demography.add_population_split(time=split, derived=["A", "B"], ancestral="C")
    replicates = msprime.sim_ancestry(
        {"A": n1, "B": n2},
        demography=demography,
        ploidy=1,
        num_replicates=N_TREES,
        random_seed=3,
    )
    samples = [list(range(n1)), list(range(n1, n1 + n2))]
    simulated = np.array(
        [
            tree.allele_frequency_spectrum(samples, mode="branch", polarised=True)
            for tree in replicates
        ]
    )

    graphs = [
        build_model("isolation-with-migration", n1=n1, n2=n2, epoch=epoch) for epoch in (1, 2)
    ]
    programs = [replay.load_program(record_alone(graph)) for graph in graphs]
    theta = jnp.array([1 / sizes[0], 1 / sizes[1], *migration])
    onward = vertices_before(*(graph.states for graph in graphs))
    history = [
        Epoch(programs[0], theta, split, onward),
        Epoch(programs[1], jnp.array([1 / sizes[2]])),
    ]
    rewards = [
        joint_spectrum(graph.states, n1, n2).reshape(-1, graph.n_vertices) for graph in graphs
    ]
    exact = np.asarray(epochs.expected_rewards(history, rewards)).sum(axis=0)
    exact = exact.reshape(n1 + 1, n2 + 1)
    # Branches above all samples are not in the spectrum; absorbing vertices take no time.
    assert exact[0, 0] == exact[n1, n2] == 0
    error = simulated.std(axis=0) / np.sqrt(N_TREES)
    difference = np.abs(simulated.mean(axis=0) - exact)
    assert (difference <= STANDARD_ERRORS * error + 1e-12).all()
