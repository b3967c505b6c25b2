"""Graphs on which recursion, 32-bit counts or quadratic work would show."""

import numpy as np
import pytest

from phasic_mpi.evaluate import moments
from phasic_mpi.graph import PhaseTypeGraph
from phasic_mpi.models import build_model
from phasic_mpi.scc import condense
from tests import reference
from tests.recording import record_alone


def test_a_birth_death_chain_of_a_million_states_records() -> None:
    n = 1_000_000
    up, down = np.arange(1, n + 1), np.arange(2, n + 1)
    graph = PhaseTypeGraph.from_arrays(
        n_vertices=n + 2,
        edge_source=np.concatenate([up, down]),
        edge_target=np.concatenate([up + 1, down - 1]),
        edge_weight=np.ones(2 * n - 1),
        start_target=[1],
        start_weight=[1.0],
    )
    assert condense(graph).n_blocks == 1
    ((mean,),) = moments(record_alone(graph), [], 1)
    # A symmetric walk reflected at one end takes n (n + 1) / 2 steps to leave at the other.
    assert mean == pytest.approx(n * (n + 1) / 2, rel=1e-13)


def test_a_tandem_queue_of_twenty_thousand_states_in_one_component_records() -> None:
    graph = build_model("tandem-queue", capacity=141)
    assert condense(graph).n_blocks == 1
    theta = [1.2, 1.0, 1.1]
    ((mean,),) = moments(record_alone(graph), theta, 1)
    assert mean == pytest.approx(reference.lu_moments(graph, theta, 1)[0], rel=1e-10)


def test_a_path_of_a_million_components_records() -> None:
    n = 1_000_000
    vertex = np.arange(1, n + 1)
    graph = PhaseTypeGraph.from_arrays(
        n_vertices=n + 2,
        edge_source=vertex,
        edge_target=vertex + 1,
        edge_weight=np.full(n, 2.0),
        start_target=[1],
        start_weight=[1.0],
    )
    trace = record_alone(graph)
    assert (trace.n_blocks, trace.n_entries) == (n, 0)
    # The sum of n exponentials of rate 2: mean n / 2, variance n / 4.
    ((mean, second),) = moments(trace, [], 2)
    assert mean == pytest.approx(n / 2, rel=1e-13)
    assert second == pytest.approx(n / 4 + n**2 / 4, rel=1e-13)
