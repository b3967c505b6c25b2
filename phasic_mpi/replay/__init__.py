"""Replay in JAX: pure functions of a program and theta. Importing this package imports JAX.

All functions work under ``jit``, ``grad``, ``jacfwd``, ``jacrev``, ``hessian`` and ``vmap``.
"""

from phasic_mpi.replay.moments import (
    covariance,
    expected_rewards,
    expected_visits,
    laplace_transform,
    moments,
)
from phasic_mpi.replay.program import Program, initial_distribution, load_program

__all__ = [
    "Program",
    "covariance",
    "expected_rewards",
    "expected_visits",
    "initial_distribution",
    "laplace_transform",
    "load_program",
    "moments",
]
