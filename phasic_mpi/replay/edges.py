"""Products of the edge weights with vectors, bilinear and differentiable to any order."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from phasic_mpi import _core, ffi
from phasic_mpi.replay.program import Program

_Carry = tuple[jax.Array, jax.Array]

# Vectors between two that are kept for a derivative; those in between are computed again.
_SEGMENT = 64


def apply_edges(
    program: Program, weight: jax.Array, x: jax.Array, *, transposed: bool = False
) -> jax.Array:
    """``W x`` of the weights between transient vertices, ``y_i = sum_j w_ij x_j``.

    Args:
        program: See :func:`phasic_mpi.replay.load_program`.
        weight: ``float64[n_weights]``, see :func:`~phasic_mpi.replay.program.edge_weights`.
        x: ``float64[n_transient]``.
        transposed: ``W^T x`` instead.

    Returns:
        ``float64[n_transient]``.
    """
    product: jax.Array = _apply_p.bind(
        weight, x, program.source, program.target, plan=program.plan, transposed=transposed
    )
    return product


@partial(jax.custom_jvp, nondiff_argnums=(5,))
def powers(
    program: Program,
    jump: jax.Array,
    stay: jax.Array,
    start: jax.Array,
    last: jax.Array,
    n_terms: int,
) -> jax.Array:
    """``start P^k last`` for ``k = 0..n_terms - 1``, where ``P = W + diag(stay)``.

    Args:
        program: See :func:`phasic_mpi.replay.load_program`.
        jump: ``float64[n_weights]``, of which ``W`` holds those between transient vertices.
        stay: ``float64[n_transient]``.
        start: ``float64[n_transient]``.
        last: ``float64[n_transient]``.
        n_terms: Number of terms.

    Returns:
        ``float64[n_terms]``.
    """
    if program.plan is None:
        return _scan(program, jump, stay, start, last, n_terms)
    return ffi.powers(program.plan, jump, stay, start, last, n_terms)


@powers.defjvp
def _powers_jvp(
    n_terms: int, primals: tuple[Any, ...], tangents: tuple[Any, ...]
) -> tuple[jax.Array, jax.Array]:
    program, *arrays = primals
    _, *directions = tangents
    return jax.jvp(partial(_scan, program, n_terms=n_terms), tuple(arrays), tuple(directions))


def _scan(
    program: Program,
    jump: jax.Array,
    stay: jax.Array,
    start: jax.Array,
    last: jax.Array,
    n_terms: int,
) -> jax.Array:
    """What :func:`powers` computes, in steps that can be differentiated."""

    def step(x: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
        return stay * x + apply_edges(program, jump, x), start @ x

    @jax.checkpoint
    def segment(x: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
        return jax.lax.scan(step, x, None, length=_SEGMENT)

    n_segments = -(-n_terms // _SEGMENT)
    terms: jax.Array
    _, terms = jax.lax.scan(segment, last, None, length=n_segments)
    return terms.reshape(-1)[:n_terms]


@jax.custom_jvp
def mixtures(
    program: Program, jump: jax.Array, stay: jax.Array, start: jax.Array, share: jax.Array
) -> jax.Array:
    """``sum_k share_mk start P^k`` for every ``m``, where ``P = W + diag(stay)``.

    Args:
        program: See :func:`phasic_mpi.replay.load_program`.
        jump: ``float64[n_weights]``, of which ``W`` holds those between transient vertices.
        stay: ``float64[n_transient]``.
        start: ``float64[n_transient]``.
        share: ``float64[n_mixtures, n_terms]``.

    Returns:
        ``float64[n_mixtures, n_transient]``.
    """
    if program.plan is None:
        return _scan_mixtures(program, jump, stay, start, share)
    return ffi.mixtures(program.plan, jump, stay, start, share)


@mixtures.defjvp
def _mixtures_jvp(
    primals: tuple[Any, ...], tangents: tuple[Any, ...]
) -> tuple[jax.Array, jax.Array]:
    program, *arrays = primals
    _, *directions = tangents
    return jax.jvp(partial(_scan_mixtures, program), tuple(arrays), tuple(directions))


def _scan_mixtures(
    program: Program, jump: jax.Array, stay: jax.Array, start: jax.Array, share: jax.Array
) -> jax.Array:
    """What :func:`mixtures` computes, in steps that can be differentiated."""

    def move(x: jax.Array) -> jax.Array:
        return stay * x + apply_edges(program, jump, x, transposed=True)

    return mixed_powers(move, start, share)


def mixed_powers(
    move: Callable[[jax.Array], jax.Array], first: jax.Array, share: jax.Array
) -> jax.Array:
    """``sum_k share_mk move^k(first)`` for every ``m``; ``float64[n_mixtures, *first.shape]``.

    Args:
        move: A linear map.
        first: What it is applied to.
        share: ``float64[n_mixtures, n_terms]``.
    """
    n_mixtures, n_terms = share.shape
    n_segments = -(-n_terms // _SEGMENT)
    padded = jnp.pad(share, ((0, 0), (0, n_segments * _SEGMENT - n_terms)))

    def step(carry: _Carry, part: jax.Array) -> tuple[_Carry, None]:
        total, x = carry
        return (total + jnp.tensordot(part, x, axes=0), move(x)), None

    @jax.checkpoint
    def segment(carry: _Carry, parts: jax.Array) -> tuple[_Carry, None]:
        return jax.lax.scan(step, carry, parts)

    total = jnp.zeros((n_mixtures, *first.shape))
    parts = padded.T.reshape(n_segments, _SEGMENT, n_mixtures)
    (total, _), _ = jax.lax.scan(segment, (total, first), parts)
    return total


_apply_p = Primitive("phasic_mpi_apply_edges")


def _apply(
    weight: jax.Array,
    x: jax.Array,
    source: jax.Array,
    target: jax.Array,
    *,
    plan: _core.Plan | None,
    transposed: bool,
) -> jax.Array:
    if plan is not None:
        return ffi.apply_edges(plan, weight, x, transposed=transposed)
    # One place more than there are positions stands for absorption, and holds 0 or is dropped.
    padded = jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, 1)])
    read, written = (source, target) if transposed else (target, source)
    flow = weight * padded[..., read]
    return jnp.zeros((*flow.shape[:-1], padded.shape[-1])).at[..., written].add(flow)[..., :-1]


def _abstract(weight: Any, x: Any, *_: Any, **__: Any) -> jax.core.ShapedArray:
    batch = jnp.broadcast_shapes(weight.shape[:-1], x.shape[:-1])
    return jax.core.ShapedArray((*batch, x.shape[-1]), x.dtype)


def _jvp(
    primals: tuple[jax.Array, ...], tangents: tuple[Any, ...], **kwargs: Any
) -> tuple[jax.Array, jax.Array]:
    weight, x, *index = primals
    tangent_weight, tangent_x, *_ = tangents
    parts = []
    if not isinstance(tangent_weight, ad.Zero):
        parts.append(_apply_p.bind(tangent_weight, x, *index, **kwargs))
    if not isinstance(tangent_x, ad.Zero):
        parts.append(_apply_p.bind(weight, tangent_x, *index, **kwargs))
    # JAX calls this only if a tangent is not zero.
    return _apply_p.bind(*primals, **kwargs), sum(parts[1:], parts[0])


def _transpose(
    cotangent: Any, weight: Any, x: Any, source: Any, target: Any, *, plan: Any, transposed: bool
) -> list[Any]:
    if isinstance(cotangent, ad.Zero):
        return [None] * 4
    if ad.is_undefined_primal(x):
        back = _apply_p.bind(
            weight, cotangent, source, target, plan=plan, transposed=not transposed
        )
        return [None, _summed(back, x.aval.shape), None, None]
    row, column = (x, cotangent) if transposed else (cotangent, x)
    inside = target < x.shape[-1]
    back = jnp.where(inside, row[..., source] * column[..., jnp.where(inside, target, 0)], 0.0)
    return [_summed(back, weight.aval.shape), None, None, None]


def _summed(array: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Undoes the broadcast of an operand of that shape."""
    axes = [axis for axis, extent in enumerate(shape) if extent < array.shape[axis]]
    return array.sum(axis=axes, keepdims=True)


def _batch(
    operands: tuple[jax.Array, ...], axes: tuple[Any, ...], **kwargs: Any
) -> tuple[jax.Array, int]:
    weight, x, *index = operands
    weight_axis, x_axis, *_ = axes
    rank = max(weight.ndim - (weight_axis is not None), x.ndim - (x_axis is not None))

    def leading(array: jax.Array, axis: int | None) -> jax.Array:
        array = array[jnp.newaxis] if axis is None else jnp.moveaxis(array, axis, 0)
        return array.reshape(array.shape[:1] + (1,) * (rank + 1 - array.ndim) + array.shape[1:])

    return _apply_p.bind(leading(weight, weight_axis), leading(x, x_axis), *index, **kwargs), 0


_apply_p.def_impl(_apply)
_apply_p.def_abstract_eval(_abstract)
ad.primitive_jvps[_apply_p] = _jvp
ad.primitive_transposes[_apply_p] = _transpose
batching.primitive_batchers[_apply_p] = _batch
mlir.register_lowering(_apply_p, mlir.lower_fun(_apply, multiple_results=False))
