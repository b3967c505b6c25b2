"""Solves window by window: the bits of whole factors, and which theta is refused."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from phasic_mpi import sweep
from phasic_mpi.errors import EvaluationError, GraphError
from phasic_mpi.evaluate import Replay
from phasic_mpi.factoring import Factoring
from phasic_mpi.graph import PhaseTypeGraph
from phasic_mpi.models import build_model
from phasic_mpi.sweep import Sweep, windows_of
from phasic_mpi.trace import EliminationTrace
from tests.graphs import chain_of_sccs
from tests.recording import record_alone
from tests.unit.test_factoring import without_slot

GRAPHS: dict[str, Callable[[], PhaseTypeGraph]] = {
    "little fill": lambda: chain_of_sccs(4, 40, 1),
    "more fill": lambda: chain_of_sccs(3, 160, 2),
    "islands": lambda: build_model("structured-coalescent", n=10, islands=4),
    "components of one vertex": lambda: build_model("kingman-spectrum", n=9),
}


@pytest.fixture(params=[1, 700, 10_000], ids=["blocks", "some blocks", "many blocks"])
def small_windows(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sweep, "WINDOW_ENTRIES", request.param)
    return request.param


def theta_of(trace: EliminationTrace) -> np.ndarray:
    return np.linspace(0.5, 1.5, 3 * trace.n_parameters).reshape(3, -1)


@pytest.mark.parametrize("name", GRAPHS)
def test_windows_cover_the_blocks_and_are_as_large_as_fits(name: str, small_windows: int) -> None:
    trace = record_alone(GRAPHS[name]())
    windows = windows_of(trace)
    assert [begin for begin, _ in windows] == [0, *(end for _, end in windows[:-1])]
    assert windows[-1][1] == trace.n_blocks
    for begin, end in windows:
        assert end == begin + 1 or trace.value_ptr[end] - trace.value_ptr[begin] <= small_windows
    for (begin, _), (_, end) in pairwise(windows):
        with_one_more = trace.value_ptr[end] - trace.value_ptr[begin]
        assert with_one_more > small_windows, "two windows would have fitted into one"


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("name", GRAPHS)
def test_windows_leave_no_bit_different(
    name: str, n_threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = record_alone(GRAPHS[name]())
    theta = theta_of(trace)
    reward = np.random.default_rng(2).uniform(-1.0, 1.0, trace.n_vertices)
    whole = Replay(trace)
    expected = (
        whole.moments(theta, 3, reward),
        whole.expected_rewards(theta[0], reward),
        whole.expected_visits(theta[0]),
    )
    for entries, pass_bytes in ((1, 1), (700, 1 << 28), (10_000, 50_000)):
        monkeypatch.setattr(sweep, "WINDOW_ENTRIES", entries)
        monkeypatch.setattr(sweep, "PASS_BYTES", pass_bytes)
        replay = Replay(trace, n_threads=n_threads)
        for _ in range(2):
            np.testing.assert_array_equal(replay.moments(theta, 3, reward), expected[0])
        np.testing.assert_array_equal(replay.expected_rewards(theta[0], reward), expected[1])
        np.testing.assert_array_equal(replay.expected_visits(theta[0]), expected[2])


@pytest.mark.usefixtures("small_windows")
@pytest.mark.parametrize("name", GRAPHS)
def test_a_solution_has_the_bits_of_a_kept_factor(name: str) -> None:
    trace = record_alone(GRAPHS[name]())
    (theta, *_) = theta_of(trace)
    expected = np.random.default_rng(3).uniform(size=trace.n_transient)
    found = expected.copy()
    Factoring(trace).factored(theta, 0).solve(expected)
    one = Sweep(trace)
    assert one.each([one.point(theta, 0)], lambda _, __, factor: factor.solve(found)) == [-1]
    np.testing.assert_array_equal(found, expected)


def without_exits(graph: PhaseTypeGraph) -> PhaseTypeGraph:
    """Parameter 0 scales all edges, 1 those to absorption and between components."""
    trace = record_alone(graph)
    leaves = trace.edge_slot >= trace.first_off_slot
    coefficient = np.where(leaves[:, np.newaxis], [0.0, 1.0], [1.0, 0.0])
    return PhaseTypeGraph.from_arrays(
        n_vertices=graph.n_vertices,
        param_source=trace.edge_source,
        param_target=trace.edge_target,
        param_coefficient=coefficient,
        start_target=graph.start_target,
        start_weight=graph.start_weight,
    )


@pytest.mark.usefixtures("small_windows")
def test_the_first_row_that_is_illegal_is_refused_with_its_first_vertex() -> None:
    trace = record_alone(without_exits(chain_of_sccs(4, 40, 1)))
    legal, trapped, negative = [1.0, 1.0], [1.0, 0.0], [-1.0, 1.0]
    # All components are left by nothing: the first in the order of the trace is named.
    last = int(trace.pattern_ptr[trace.block_pattern[0] + 1]) - 1
    vertex = int(trace.vertex[trace.order[last]])
    for rows, problem, row in (
        ([legal, trapped, negative], rf"rate out of vertex {vertex}\b", 1),
        ([legal, negative, trapped], "weight of at least 0", 1),
        ([trapped, legal, trapped], rf"rate out of vertex {vertex}\b", 0),
        ([legal, legal, negative], "weight of at least 0", 2),
    ):
        with pytest.raises(EvaluationError, match=problem) as info:
            Replay(trace).moments(rows, 2)
        assert info.value.context["row of theta"] == row
    for transposed in (Replay(trace).expected_visits, Replay(trace).expected_rewards):
        with pytest.raises(EvaluationError, match=rf"rate out of vertex {vertex}\b"):
            transposed(trapped)


def test_a_trace_of_many_windows_that_lacks_entries_is_refused_when_it_is_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trace = record_alone(chain_of_sccs(3, 12, 1))
    inner = trace.edge_slot[trace.edge_slot < trace.first_off_slot]
    filled_in = np.setdiff1d(np.arange(trace.n_entries), inner)
    broken = without_slot(trace, int(filled_in[0]))
    monkeypatch.setattr(sweep, "WINDOW_ENTRIES", 1)
    replay = Replay(broken)
    with pytest.raises(GraphError, match="lacks entries that its elimination fills in"):
        replay.moments([], 1)
