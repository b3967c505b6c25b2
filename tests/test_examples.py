"""The examples of inference find the parameters again, and so do their intervals."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from phasic_mpi import replay
from phasic_mpi.models import build_model
from tests.launch import ROOT, finish, start
from tests.recording import record_alone

EXAMPLES = ROOT / "docs" / "examples"
SCRIPTS = sorted(
    path.name for path in EXAMPLES.glob("*.py") if "__main__" in path.read_text("utf-8")
)
ROW = re.compile(r"^ +(\w.*?) {2,}(\w.*?)" + r" +(\d+\.\d+)" * 4 + r" *$", re.MULTILINE)
PARAMETERS = [
    ("structured coalescent", "coalescence"),
    ("structured coalescent", "migration"),
    ("tandem queue", "arrival"),
    ("tandem queue", "service 1"),
    ("tandem queue", "service 2"),
]
TRUTH = [1.0, 0.5, 1.0, 1.5, 0.8]
# Of the intervals of log theta, by the curvature at the maximum of the likelihood.
WIDTH = np.array([0.23, 0.91, 0.30, 0.42, 0.55])
SAMPLERS = {"numpyro_model.py", "nuts.py", "svgd.py"}
FROM_CURVATURE = 0.05
# Four standard errors of a deviation that a hundred draws tell; few particles lie too close.
FROM_SAMPLES = 0.4
# Seconds; a script takes a tenth of them on a quiet core.
TIMEOUT = 200


def test_the_scripts_are_found() -> None:
    assert SCRIPTS == [
        "maximum_likelihood.py",
        "numpyro_model.py",
        "nuts.py",
        "stochastic_gradients.py",
        "svgd.py",
    ]


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_finds_all_parameters_again_and_warns_of_nothing(
    script: str, tmp_path: Path
) -> None:
    done = finish(start([EXAMPLES / script], env={"XDG_CACHE_HOME": str(tmp_path)}), TIMEOUT)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    rows = ROW.findall(done.stdout)
    assert [row[:2] for row in rows] == PARAMETERS
    truth, estimate, low, high = np.array([row[2:] for row in rows], dtype=float).T
    np.testing.assert_array_equal(truth, TRUTH)
    assert ((low < truth) & (truth < high)).all()
    assert ((low < estimate) & (estimate < high)).all()
    off = np.abs(np.log(high / low) / WIDTH - 1)
    assert (off < (FROM_SAMPLES if script in SAMPLERS else FROM_CURVATURE)).all()


def test_an_interval_beside_the_truth_ends_a_script_with_an_error() -> None:
    code = (
        "from intervals import Intervals, report; from processes import structured_coalescent;"
        "process = structured_coalescent();"
        "report('beside', [Intervals(process, [1.1, 0.5], [1.05, 0.4], [1.2, 0.6])])"
    )
    done = finish(start(["-c", code], env={"PYTHONPATH": f"{ROOT}:{EXAMPLES}"}), TIMEOUT)
    assert done.returncode == 1
    assert "outside of its interval: coalescence of the structured coalescent" in done.stderr


@pytest.fixture
def _examples(float64: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:  # noqa: ARG001
    """Lets the modules of the examples be imported, in double precision."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    yield
    for path in EXAMPLES.glob("*.py"):
        sys.modules.pop(path.stem, None)


@pytest.mark.usefixtures("_examples")
def test_intervals_of_many_data_sets_hold_the_truth_as_often_as_they_say() -> None:
    from maximum_likelihood import derivatives
    from processes import Data

    n_sets, n_times, truth = 100, 200, jnp.array([1.0, 0.5])
    graph = build_model("structured-coalescent", n=4, islands=2)
    program = replay.load_program(record_alone(graph))
    keys = jax.random.split(jax.random.key(1), n_sets)
    sampled = jax.vmap(lambda key: replay.sample_times(program, truth, key, n_times))
    times = jax.jit(sampled)(keys)
    how = replay.choose_method(program, 4 * truth, times.max())

    @jax.jit
    @jax.vmap
    def newton(log_theta: jax.Array, times: jax.Array) -> tuple[jax.Array, jax.Array]:
        _, gradient, hessian = derivatives(log_theta, program, Data(times), how)
        return log_theta - jnp.linalg.solve(hessian, gradient), jnp.linalg.inv(hessian)

    log_theta = jnp.tile(jnp.log(truth), (n_sets, 1))
    for _ in range(8):
        before = log_theta
        log_theta, covariance = newton(log_theta, times)
    np.testing.assert_allclose(log_theta, before, atol=1e-6)
    deviation = jnp.sqrt(jnp.diagonal(covariance, axis1=1, axis2=2))
    z = np.abs(log_theta - jnp.log(truth)) / deviation
    for level in (0.5, 0.95):
        covered = (z <= stats.norm.ppf((1 + level) / 2)).sum(axis=0)
        fewest, most = stats.binom.interval(0.999, n_sets, level)
        assert ((fewest <= covered) & (covered <= most)).all(), (level, covered)
