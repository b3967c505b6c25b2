"""Layers of blocks: in order, shared by ranks, and their solutions have the bits of the whole."""

import numpy as np
import pytest

from phasic_mpi.errors import EvaluationError
from phasic_mpi.factoring import Factoring
from phasic_mpi.graph import PhaseTypeGraph
from phasic_mpi.layers import Divider, Layer, deal, distinct_of, layers_of, positions_of
from phasic_mpi.models import build_model
from phasic_mpi.record import Recorder
from phasic_mpi.scc import Condensation, condense
from tests.recording import record_alone
from tests.unit.test_stitch import mixed_graph

GRAPHS = {
    "islands": (build_model("structured-coalescent", n=9, islands=3), [1.0, 0.3]),
    "one component": (build_model("sis", sizes=[6, 6]), None),
    "no component": (build_model("kingman-spectrum", n=7), None),
    "random": (mixed_graph(3), [0.7, 1.3]),
}


def theta_of(name: str) -> tuple[PhaseTypeGraph, np.ndarray]:
    graph, theta = GRAPHS[name]
    return graph, np.ones(graph.n_parameters) if theta is None else np.array(theta)


def edges_between(condensation: Condensation) -> list[tuple[int, int]]:
    block_of = np.repeat(np.arange(condensation.n_blocks), np.diff(condensation.block_ptr))
    source = np.repeat(block_of, np.diff(condensation.off_ptr))
    return list(zip(source.tolist(), block_of[condensation.off_col].tolist(), strict=True))


@pytest.mark.parametrize("name", GRAPHS)
def test_the_layer_of_a_block_is_its_longest_way_to_absorption(name: str) -> None:
    condensation = condense(theta_of(name)[0])
    layers = layers_of(condensation)
    layer_of = {block: k for k, layer in enumerate(layers) for block in layer.tolist()}
    assert sorted(layer_of) == list(range(condensation.n_blocks))
    longest = dict.fromkeys(range(condensation.n_blocks), 0)
    for source, target in sorted(edges_between(condensation), reverse=True):
        longest[source] = max(longest[source], longest[target] + 1)
    assert layer_of == longest


@pytest.mark.parametrize("n_ranks", [1, 2, 5])
@pytest.mark.parametrize("name", GRAPHS)
def test_every_block_belongs_to_one_rank(name: str, n_ranks: int) -> None:
    condensation = condense(theta_of(name)[0])
    layers = layers_of(condensation)
    for layer, ranks in zip(layers, deal(condensation, layers, n_ranks), strict=True):
        assert len(ranks) == n_ranks
        assert sorted(np.concatenate(ranks).tolist()) == layer.tolist()


def test_equal_blocks_of_a_layer_are_shared_evenly() -> None:
    condensation = condense(build_model("kingman-spectrum", n=16))
    layers = layers_of(condensation)
    for layer, ranks in zip(layers, deal(condensation, layers, 3), strict=True):
        shares = [blocks.size for blocks in ranks]
        assert max(shares) - min(shares) <= 1, layer


@pytest.mark.parametrize("n_ranks", [1, 2, 3])
@pytest.mark.parametrize("name", GRAPHS)
def test_layers_divided_between_ranks_give_the_bits_of_one_replay(name: str, n_ranks: int) -> None:
    graph, theta = theta_of(name)
    condensation = condense(graph)
    divider = Divider(condensation)
    solution = np.random.default_rng(1).uniform(size=condensation.vertex.size)
    expected = solution.copy()
    Factoring(record_alone(graph)).factored(theta, 0).solve(expected)
    for ranks in deal(condensation, layers_of(condensation), n_ranks):
        found = solution.copy()
        for blocks in ranks:
            recorded = Recorder(strategy="sequential", n_threads=1).record(
                distinct_of(condensation, [blocks])
            )
            layer = Layer(graph, divider, blocks, {trace.key: trace for trace in recorded})
            layer.factor(theta, 0)
            mine = solution.copy()
            layer.solve(mine)
            own = positions_of(condensation, blocks)
            found[own] = mine[own]
        solution = found
    assert np.array_equal(solution, expected)


def test_an_illegal_theta_is_refused_by_the_layer_that_it_concerns() -> None:
    graph, _ = GRAPHS["islands"]
    condensation = condense(graph)
    layers = layers_of(condensation)
    traces = Recorder(strategy="sequential", n_threads=1).record(condensation.distinct)
    by_key = {trace.key: trace for trace in traces}
    layer = Layer(graph, Divider(condensation), layers[-1], by_key)
    with pytest.raises(EvaluationError, match="expected a finite weight of at least 0") as caught:
        layer.factor(np.array([1.0, -1.0]), row=4)
    assert caught.value.context["row of theta"] == 4


def test_nothing_is_solved_before_it_is_factored() -> None:
    graph, _ = GRAPHS["islands"]
    condensation = condense(graph)
    traces = Recorder(strategy="sequential", n_threads=1).record(condensation.distinct)
    by_key = {trace.key: trace for trace in traces}
    layer = Layer(graph, Divider(condensation), layers_of(condensation)[0], by_key)
    with pytest.raises(RuntimeError, match="before factor"):
        layer.solve(np.ones(condensation.vertex.size))
