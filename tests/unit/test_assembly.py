"""A trace that is put together while parts arrive, against one that is stitched at once."""

import dataclasses
import gc
import time
import weakref

import numpy as np
import pytest

from phasic_mpi.assembly import Assembly
from phasic_mpi.errors import PayloadError
from phasic_mpi.graph import PhaseTypeGraph
from phasic_mpi.models import build_model
from phasic_mpi.parts import Division, divide, join_all
from phasic_mpi.record import Recorder
from phasic_mpi.scc import Condensation, condense
from phasic_mpi.stitch import stitch
from phasic_mpi.trace import BlockTrace, EliminationTrace
from tests.graphs import chain_of_sccs

GRAPHS = {
    "whole blocks": lambda: chain_of_sccs(4, 30, 1),
    "blocks and parts": lambda: build_model("structured-coalescent", n=25, islands=4),
    "components of one vertex": lambda: build_model("kingman-spectrum", n=6),
}


class Case:
    """A graph, what is recorded for it, and the traces by key."""

    def __init__(self, name: str) -> None:
        self.graph: PhaseTypeGraph = GRAPHS[name]()
        self.condensation: Condensation = condense(self.graph)
        self.division: Division = divide(self.condensation.distinct)
        recorded = Recorder(strategy="sequential", n_threads=1).record(self.division.units)
        self.traces: dict[str, BlockTrace] = {trace.key: trace for trace in recorded}

    def assembly(self, n_threads: int = 1) -> Assembly:
        n_entries = {key: trace.n_entries for key, trace in self.traces.items()}
        return Assembly(self.condensation, self.division, n_entries, n_threads=n_threads)

    def stitched(self) -> EliminationTrace:
        traces = dict(self.traces)
        join_all(self.division, traces)
        return stitch(self.graph, self.condensation, traces)


@pytest.fixture(scope="module")
def cases() -> dict[str, Case]:
    return {name: Case(name) for name in GRAPHS}


@pytest.mark.parametrize("n_threads", [1, 4])
@pytest.mark.parametrize("name", GRAPHS)
def test_traces_in_any_order_give_the_bits_of_one_stitched_at_once(
    cases: dict[str, Case], name: str, n_threads: int
) -> None:
    case = cases[name]
    assembly = case.assembly(n_threads)
    for key in np.random.default_rng(n_threads).permutation(list(case.traces)):
        assembly.add(case.traces[key])
    found, expected = assembly.stitch(case.graph), case.stitched()
    assert assembly.nbytes > expected.col.nbytes
    for field in dataclasses.fields(EliminationTrace):
        np.testing.assert_array_equal(getattr(found, field.name), getattr(expected, field.name))


def test_blocks_are_cut_in_one_of_the_graphs(cases: dict[str, Case]) -> None:
    assert cases["blocks and parts"].division.cut


@pytest.mark.parametrize("name", ["whole blocks", "blocks and parts"])
def test_what_has_found_its_place_is_let_go_of(cases: dict[str, Case], name: str) -> None:
    case = cases[name]
    assembly = case.assembly()
    alive = []
    for trace in case.traces.values():
        own = dataclasses.replace(trace, col=trace.col.copy())
        alive.append(weakref.ref(own.col))
        assembly.add(own)
        del own
    assembly.settle()
    deadline = time.monotonic() + 10  # a thread that has joined lets go a moment later
    while any(ref() is not None for ref in alive) and time.monotonic() < deadline:
        gc.collect()
    assert not any(ref() is not None for ref in alive)


def test_traces_that_are_missing_are_named(cases: dict[str, Case]) -> None:
    for name in ("whole blocks", "blocks and parts"):
        case = cases[name]
        for missing in (case.division.units[0], case.division.units[-1]):
            assembly = case.assembly()
            for key, trace in case.traces.items():
                if key != missing.key:
                    assembly.add(trace)
            with pytest.raises(PayloadError, match=f"1 are missing: {missing.key[:12]}"):
                assembly.stitch(case.graph)


def test_a_trace_that_was_announced_otherwise_is_refused(cases: dict[str, Case]) -> None:
    case = cases["whole blocks"]
    (trace, *_) = case.traces.values()
    assembly = Assembly(case.condensation, case.division, {trace.key: trace.n_entries + 1})
    with pytest.raises(PayloadError, match=rf"expected {trace.n_entries + 1} entries, got"):
        assembly.add(trace)
    with pytest.raises(PayloadError, match="expected 0 entries, got"):
        assembly.add(dataclasses.replace(trace, key="0" * 64))


def test_a_trace_that_is_not_of_its_block_is_refused(cases: dict[str, Case]) -> None:
    case = cases["whole blocks"]
    (trace, *_) = case.traces.values()
    changed = dataclasses.replace(trace, check="0" * 32)
    with pytest.raises(PayloadError, match="check: expected"):
        case.assembly().add(changed)


def test_parts_that_cannot_be_joined_are_refused_when_the_trace_is_stitched(
    cases: dict[str, Case],
) -> None:
    case = cases["blocks and parts"]
    assembly = case.assembly(n_threads=2)
    traces = dict(case.traces)
    part = traces.pop(case.division.cut[0].parts[-1].key)
    for trace in traces.values():
        assembly.add(trace)
    assembly.add(dataclasses.replace(part, order=np.full_like(part.order, -1)))
    with pytest.raises(PayloadError, match="The parts of a block cannot be joined"):
        assembly.stitch(case.graph)
