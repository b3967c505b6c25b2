"""Replay in JAX: pure functions of a program and theta. Importing this package imports JAX.

All functions work under ``jit`` and ``vmap``; all but those that draw samples under ``grad``,
``jacfwd``, ``jacrev`` and ``hessian``.
"""

from phasic_mpi.replay import epochs
from phasic_mpi.replay.discrete import discrete_cdf, discrete_moments, discrete_pmf
from phasic_mpi.replay.distributions import (
    cdf,
    hazard,
    pdf,
    quantile,
    quantile_bound,
    survival,
)
from phasic_mpi.replay.history import Epoch
from phasic_mpi.replay.likelihood import (
    class_means,
    class_probabilities,
    log_likelihood_counts,
    log_likelihood_poisson_counts,
    log_likelihood_times,
)
from phasic_mpi.replay.method import Method, choose_method
from phasic_mpi.replay.moments import (
    correlation,
    covariance,
    expected_rewards,
    expected_visits,
    joint_moment,
    laplace_transform,
    moments,
)
from phasic_mpi.replay.occupancy import (
    Occupation,
    expected_occupancy,
    occupation,
    state_probabilities,
)
from phasic_mpi.replay.program import Program, initial_distribution, load_program, with_start
from phasic_mpi.replay.sampling import Paths, sample_paths, sample_times

__all__ = [
    "Epoch",
    "Method",
    "Occupation",
    "Paths",
    "Program",
    "cdf",
    "choose_method",
    "class_means",
    "class_probabilities",
    "correlation",
    "covariance",
    "discrete_cdf",
    "discrete_moments",
    "discrete_pmf",
    "epochs",
    "expected_occupancy",
    "expected_rewards",
    "expected_visits",
    "hazard",
    "initial_distribution",
    "joint_moment",
    "laplace_transform",
    "load_program",
    "log_likelihood_counts",
    "log_likelihood_poisson_counts",
    "log_likelihood_times",
    "moments",
    "occupation",
    "pdf",
    "quantile",
    "quantile_bound",
    "sample_paths",
    "sample_times",
    "state_probabilities",
    "survival",
    "with_start",
]
