"""Linear systems of a program, differentiable to any order."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import cast

import jax
import jax.numpy as jnp

from phasic_mpi import ffi
from phasic_mpi.replay import xla
from phasic_mpi.replay.program import Program
from phasic_mpi.replay.schedule import Schedule


def solve(
    program: Program,
    weight: jax.Array,
    rhs: jax.Array,
    *,
    multiplier: jax.Array | None = None,
    shift: jax.Array | None = None,
) -> jax.Array:
    """Solves ``(M + diag(shift)) x_j = rhs_j + multiplier_(j-1) x_(j-1)`` one after another.

    A derivative is one more solve of the same kind, transposed in reverse mode: no operation of
    the elimination is taped.

    Args:
        program: See :func:`phasic_mpi.replay.load_program`.
        weight: ``float64[n_weights]``, see :func:`~phasic_mpi.replay.program.edge_weights`.
        rhs: ``float64[n_steps, n_transient]`` or complex128.
        multiplier: ``[n_steps - 1, n_transient]``; 0 if not given.
        shift: ``[n_transient]``; 0 if not given.

    Returns:
        ``[n_steps, n_transient]``; NaN if a weight is negative or not finite, or a vertex cannot
        be left at these weights.
    """
    n_steps, n = rhs.shape
    multiplier = _of_type(rhs, multiplier, (n_steps - 1, n))
    shift = _of_type(rhs, shift, (n,))
    # The rule of the solve is that of `_apply`; nothing is differentiated that solves.
    solver = _solver(program, *map(jax.lax.stop_gradient, (weight, shift, multiplier)))
    solution: jax.Array = jax.lax.custom_linear_solve(
        partial(_apply, program, weight, shift, multiplier),
        rhs,
        solve=lambda _, b: solver(b, transposed=False),
        transpose_solve=lambda _, b: solver(b, transposed=True),
    )
    return solution


def solve_transposed(
    program: Program, weight: jax.Array, rhs: jax.Array, *, shift: jax.Array | None = None
) -> jax.Array:
    """Solves ``(M + diag(shift))^T x = rhs``.

    All vectors are ``[n_transient]``; otherwise as :func:`solve`.
    """

    def plain(x: jax.Array) -> jax.Array:
        return solve(program, weight, x, shift=shift)

    solution: jax.Array
    ((solution,),) = jax.linear_transpose(plain, rhs[jnp.newaxis])(rhs[jnp.newaxis])
    return solution


def _solver(
    program: Program, weight: jax.Array, shift: jax.Array, multiplier: jax.Array
) -> Callable[..., jax.Array]:
    """Solves for right-hand sides by the program's backend."""
    if program.plan is not None:
        return partial(ffi.solve, program.plan, weight, shift, multiplier)
    schedule = cast(Schedule, program.schedule)
    values = xla.factor(schedule, weight, shift)
    return partial(xla.solve, schedule, values, multiplier)


def _of_type(rhs: jax.Array, array: jax.Array | None, shape: tuple[int, ...]) -> jax.Array:
    if array is None:
        return jnp.zeros(shape, dtype=rhs.dtype)
    return jnp.broadcast_to(array, shape).astype(rhs.dtype)


def _apply(
    program: Program, weight: jax.Array, shift: jax.Array, multiplier: jax.Array, x: jax.Array
) -> jax.Array:
    """Left-hand sides of all steps, from the edges: ``M x = sum_e w_e (x_source - x_target)``."""
    padded = jnp.pad(x, ((0, 0), (0, 1)))
    flow = weight * (x[:, program.source] - padded[:, program.target])
    left = jnp.zeros_like(x).at[:, program.source].add(flow) + shift * x
    return left.at[1:].add(-multiplier * x[:-1])
