"""The expanded operations, run by a plain interpreter, against the compiled replay."""

from collections.abc import Iterable
from itertools import islice

import numpy as np
import pytest

from phasic_mpi.evaluate import moments
from phasic_mpi.models import build_model
from phasic_mpi.operations import Kind, Operation
from phasic_mpi.trace import EliminationTrace
from tests.graphs import chain_of_sccs, random_scc
from tests.recording import record_alone


def interpret(operations: Iterable[Operation], theta: list[float]) -> list[float]:
    """Results of all operations, computed one after another."""
    done: list[float] = []
    for kind, operands, value in operations:
        inputs = [] if kind is Kind.PARAM else [done[operand] for operand in operands]
        match kind:
            case Kind.CONST:
                result = value[0]
            case Kind.PARAM:
                result = theta[operands[0]]
            case Kind.DOT:
                result = sum(c * x for c, x in zip(value, inputs, strict=True))
            case Kind.ADD:
                result = inputs[0] + inputs[1]
            case Kind.MUL:
                result = inputs[0] * inputs[1]
            case Kind.DIV:
                result = inputs[0] / inputs[1]
            case Kind.INV:
                result = 1.0 / inputs[0]
            case Kind.SUM:
                result = sum(inputs, start=0.0)
        done.append(result)
    return done


CASES = {
    "kingman": (build_model("kingman", n=8), [1.3]),
    "islands": (build_model("structured-coalescent", n=4, islands=2), [1.0, 0.4]),
    "tandem": (build_model("tandem-queue", capacity=3), [0.5, 1.0, 1.1]),
    "chain": (chain_of_sccs(4, 6, seed=3), None),
    "one SCC": (random_scc(12, seed=1), None),
}


@pytest.fixture(params=CASES, name="case")
def _case(request: pytest.FixtureRequest) -> tuple[EliminationTrace, list[float]]:
    graph, theta = CASES[request.param]
    return record_alone(graph), theta or [1.0] * graph.n_parameters


def test_interpreting_the_operations_gives_the_moments_of_the_replay(
    case: tuple[EliminationTrace, list[float]],
) -> None:
    trace, theta = case
    results = interpret(trace.operations(4), theta)
    np.testing.assert_allclose(results[-4:], moments(trace, theta, 4)[0], rtol=1e-13)


def test_rewards_enter_the_operations(case: tuple[EliminationTrace, list[float]]) -> None:
    trace, theta = case
    rewards = np.arange(trace.n_vertices, dtype=np.float64) % 3
    results = interpret(trace.operations(2, rewards), theta)
    np.testing.assert_allclose(results[-2:], moments(trace, theta, 2, rewards)[0], rtol=1e-13)


@pytest.mark.parametrize("n_moments", [1, 2, 3])
def test_operations_are_counted_without_expanding_them(
    case: tuple[EliminationTrace, list[float]], n_moments: int
) -> None:
    trace, _ = case
    assert trace.n_operations(n_moments) == sum(1 for _ in trace.operations(n_moments))


def test_operations_are_expanded_lazily() -> None:
    trace = record_alone(build_model("tandem-queue", capacity=30))
    first = list(islice(trace.operations(), 4))
    assert [operation.kind for operation in first] == [Kind.PARAM] * 3 + [Kind.CONST]


def test_every_kind_of_operation_occurs() -> None:
    trace = record_alone(build_model("structured-coalescent", n=4, islands=2))
    assert {operation.kind for operation in trace.operations()} == set(Kind)
