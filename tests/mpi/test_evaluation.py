"""Evaluation on ranks: the bits of one rank, and one error for all."""

import hashlib
import time
from collections.abc import Iterator
from dataclasses import replace

import jax
import numpy as np
import pytest

from phasic_mpi import comm as mpi
from phasic_mpi import evaluation, results
from phasic_mpi.comm import Comm
from phasic_mpi.errors import EnvironmentMismatchError, StageError
from phasic_mpi.evaluate import moments
from phasic_mpi.evaluation import evaluate
from phasic_mpi.evaluator import Evaluator, Inputs
from phasic_mpi.models import build_model
from phasic_mpi.quantities import Request
from tests.recording import record_alone

pytestmark = pytest.mark.mpi

LIMIT_SECONDS = 5.0

GRAPH = build_model("structured-coalescent", n=6, islands=3)
TRACE = record_alone(replace(GRAPH, parameter_names=("coalescence", "migration")))
SMALL = record_alone(build_model("structured-coalescent", n=4, islands=2))
THETA = np.random.default_rng(1).uniform(0.2, 2, (301, 2))
REWARDS = np.random.default_rng(2).uniform(size=(2, TRACE.n_vertices))
REQUEST = Request(n_moments=2, covariance=True, gradient=True)


@pytest.fixture(autouse=True)
def _float64() -> Iterator[None]:
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", before)


def digest(found: results.Results) -> str:
    return hashlib.sha256(results.to_hdf5(found)).hexdigest()


@pytest.mark.parametrize("n_theta", [2, 301])
def test_ranks_compute_the_bits_of_one(comm: Comm, n_theta: int) -> None:
    inputs = Inputs(TRACE, THETA[:n_theta], REWARDS, ("first", "second"))
    report, evaluator, found = evaluate(comm, lambda: inputs, REQUEST)
    assert evaluator.inputs.reward_names == ("first", "second")
    assert evaluator.program.parameter_names == ("coalescence", "migration")
    assert report.n_theta == n_theta
    assert len(report.compute_seconds) == comm.size
    if comm.rank == 0:
        assert found is not None
        alone = Evaluator(inputs, memory=1 << 30, n_threads=1).results(REQUEST, inputs.theta)
        assert digest(found) == digest(alone)
        expected = moments(TRACE, inputs.theta, 2, REWARDS[1])
        np.testing.assert_allclose(found.values["moments"][:, 1], expected, rtol=1e-13)
    else:
        assert found is None


@pytest.mark.parametrize("method", ["auto", "inversion"])
def test_functions_have_the_bits_of_one_rank_too(comm: Comm, method: str) -> None:
    inputs = Inputs(SMALL, THETA[:50])
    request = Request(points={"pdf": (0.5, 1.0), "quantile": (0.5,)}, method=method)
    report, _, found = evaluate(comm, lambda: inputs, request)
    assert report.method == ("uniformisation" if method == "auto" else method)
    if comm.rank == 0:
        assert found is not None
        alone = Evaluator(inputs, memory=1 << 30, n_threads=1).results(request, inputs.theta)
        assert digest(found) == digest(alone)


@pytest.mark.parametrize("row", [0, 150, 300])
def test_an_illegal_theta_is_named_on_every_rank(comm: Comm, row: int) -> None:
    theta = THETA.copy()
    theta[row, 0] *= -1
    begin = time.monotonic()
    with pytest.raises(StageError, match=f"row of theta={row},") as caught:
        evaluate(comm, lambda: Inputs(TRACE, theta), Request(n_moments=1))
    assert time.monotonic() - begin < LIMIT_SECONDS
    assert "expected a finite weight of at least 0 on edge" in str(caught.value)
    assert caught.value.stage == "compute"
    assert len(caught.value.reports) == 1
    assert len(set(mpi.collect(comm, str(caught.value)))) == 1


def test_a_rank_that_fails_ends_those_that_still_compute(
    comm: Comm, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish = Evaluator._finish

    def finish_slowly(self: Evaluator, *arguments: object) -> None:
        if comm.rank == comm.size - 1:
            raise ZeroDivisionError("injected")
        time.sleep(0.5)
        finish(self, *arguments)

    monkeypatch.setattr(Evaluator, "_finish", finish_slowly)
    begin = time.monotonic()
    with pytest.raises(StageError, match="ZeroDivisionError: injected") as caught:
        evaluate(comm, lambda: Inputs(TRACE, THETA), Request(n_moments=1))
    assert time.monotonic() - begin < LIMIT_SECONDS
    assert list(caught.value.reports) == [comm.size - 1]


def test_what_rank_0_cannot_load_is_the_error_of_all(comm: Comm) -> None:
    def load() -> Inputs:
        raise FileNotFoundError(2, "No such file", "trace.h5")

    with pytest.raises(StageError, match=r"No such file: 'trace\.h5'") as caught:
        evaluate(comm, load, Request(n_moments=1))
    assert "Traceback" not in str(caught.value)


def test_ranks_that_ask_for_different_things_are_refused(comm: Comm) -> None:
    request = Request(n_moments=1 + comm.rank)
    if comm.size == 1:
        evaluate(comm, lambda: Inputs(TRACE, THETA), request)
        return
    with pytest.raises(EnvironmentMismatchError, match="request: rank 0 has Request"):
        evaluate(comm, lambda: Inputs(TRACE, THETA), request)


def test_calls_have_the_shape_of_the_rank_with_least_room(
    comm: Comm, monkeypatch: pytest.MonkeyPatch
) -> None:
    compile_calls = Evaluator.compile

    def compile_less(self: Evaluator, request: Request, n_theta: int, *agreed: int) -> object:
        room = agreed or ((5,) if comm.rank == comm.size - 1 else ())
        return compile_calls(self, request, n_theta, *room)

    monkeypatch.setattr(Evaluator, "compile", compile_less)
    report, _, found = evaluate(comm, lambda: Inputs(TRACE, THETA), Request(n_moments=1))
    assert report.n_rows == 5
    if comm.rank == 0:
        assert found is not None
        expected = moments(TRACE, THETA, 1)
        np.testing.assert_allclose(found.values["moments"], expected, rtol=1e-13)


def test_the_default_memory_is_a_gibibyte() -> None:
    assert evaluation.DEFAULT_MEMORY == 2**30
