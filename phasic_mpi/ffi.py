"""The compiled handlers as JAX functions. Importing this module imports JAX.

Recording: XLA moves only fixed shapes, and blocks and their patterns are ragged: they wait in a
``_core.BlockStore``, and JAX carries one row ``[store id, handle]`` per block. Handles are 32 bits
wide, so the user's ``jax_enable_x64`` is of no concern.

Replay: weights, right-hand sides and solutions are operands; the pattern is a ``_core.Plan`` whose
number is an attribute of the call.

Everything runs on CPU devices; recording does so also where JAX's default device is a GPU. Handlers
work on the thread that runs the device and on XLA's own pool, which all devices of the process
share. The pool has as many threads as the environment variable ``NPROC`` says when JAX starts its
backend, and without it as many as there are cores in the affinity mask of the process.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from numpy.typing import NDArray

from phasic_mpi import _core
from phasic_mpi.errors import EnvironmentMismatchError

_PREFIX = "phasic_mpi."

for _name, _capsule in _core.ffi_handlers().items():
    jax.ffi.register_ffi_target(_PREFIX + _name, _capsule, platform="cpu")


def configure_devices(n_devices: int) -> None:
    """Makes JAX show ``n_devices`` CPU devices in this process, and starts its CPU backend.

    Raises:
        EnvironmentMismatchError: JAX has started its backends with another number.
    """
    problem = ""
    try:
        jax.config.update("jax_num_cpu_devices", n_devices)
    except RuntimeError as exc:
        problem = str(exc)
    devices = cpu_devices()
    if problem or len(devices) != n_devices:
        raise EnvironmentMismatchError(
            "The number of JAX devices cannot be set",
            problem=f"expected {n_devices} CPU devices, JAX has {len(devices)}"
            + (f" ({problem})" if problem else ""),
            context={"devices": devices},
            resolution="set the number before anything else in the process computes with JAX, "
            "or leave it as JAX has it",
        )


def cpu_devices() -> list[jax.Device]:
    """CPU devices of this process; starts JAX's backend.

    Raises:
        EnvironmentMismatchError: JAX was told not to offer its CPU backend.
    """
    try:
        devices: list[jax.Device] = jax.local_devices(backend="cpu")
    except (RuntimeError, AssertionError) as exc:
        # JAX 0.10 asserts, without a text, if JAX_PLATFORMS names GPUs for which it has no plugin.
        raise EnvironmentMismatchError(
            "JAX has no CPU device",
            problem=f"expected a CPU backend, JAX raised {exc!r}",
            resolution="have 'cpu' in JAX_PLATFORMS, or leave it unset",
        ) from exc
    return devices


def record_vmap(
    rows: NDArray[np.uint32], *, device: jax.Device, n_threads: int
) -> NDArray[np.int32]:
    """Records a batch of blocks on one device, which spreads the rows over threads.

    Args:
        rows: ``uint32[n, 2]``, store id and handle; handle 0 is padding. They are begun in order.
        device: CPU device to run on.
        n_threads: Threads to use at most.

    Returns:
        Status of each row, ``int32[n]``, 0 for padding; ``_core.STATUS_NAMES`` names them.

    Raises:
        jax.errors.JaxRuntimeError: A row names no live store or no block that can be recorded.
    """
    return np.asarray(_compiled_vmap(n_threads)(jax.device_put(rows, device)))


def record_pmap(
    rows: NDArray[np.uint32], *, devices: Sequence[jax.Device], n_threads: int
) -> NDArray[np.int32]:
    """Records a batch of blocks on several devices at once.

    Args:
        rows: ``uint32[n_devices, n, 2]``, the rows of each device as for :func:`record_vmap`.
        devices: CPU devices to run on.
        n_threads: Threads that each device may use at most.

    Returns:
        Status of each row, ``int32[n_devices, n]``.

    Raises:
        jax.errors.JaxRuntimeError: See :func:`record_vmap`.
    """
    run, sharding = _compiled_pmap(tuple(devices), n_threads)
    return np.asarray(run(jax.device_put(rows, sharding)))


def _record_row(row: jax.Array, *, n_threads: int) -> jax.Array:
    """Status ``int32[]`` of the block behind ``row``, ``uint32[2]``."""
    # The work is in the store, not in the result: XLA must neither drop nor merge calls.
    call = jax.ffi.ffi_call(
        _PREFIX + "record_blocks",
        jax.ShapeDtypeStruct((), jnp.int32),
        has_side_effect=True,
        vmap_method="broadcast_all",
    )
    status: jax.Array = call(row, n_threads=np.int64(n_threads))
    return status


@cache
def _compiled_vmap(n_threads: int) -> Callable[[jax.Array], jax.Array]:
    return jax.jit(jax.vmap(partial(_record_row, n_threads=n_threads)))


@cache
def _compiled_pmap(
    devices: tuple[jax.Device, ...], n_threads: int
) -> tuple[Callable[[jax.Array], jax.Array], NamedSharding]:
    # jax.pmap is itself built on shard_map; written out, the batch of one device stays one call.
    mesh = Mesh(np.array(devices), ("device",))
    spec = PartitionSpec("device")
    batch = jax.vmap(jax.vmap(partial(_record_row, n_threads=n_threads)))
    run = jax.jit(jax.shard_map(batch, mesh=mesh, in_specs=spec, out_specs=spec))
    return run, NamedSharding(mesh, spec)


def solve(
    plan: _core.Plan,
    weight: jax.Array,
    shift: jax.Array,
    multiplier: jax.Array,
    rhs: jax.Array,
    *,
    transposed: bool,
) -> jax.Array:
    """Solves ``(M + diag(shift)) x_j = rhs_j + multiplier_(j-1) x_(j-1)`` for ``j = 1..n_steps``.

    Transposed: ``(M + diag(shift))^T x_j = rhs_j + multiplier_j x_(j+1)``. Under ``vmap`` systems
    that share weights and shift share a factorisation; the others are factored side by side in
    SIMD lanes, or one by one if that is faster, and spread over threads. Rows do not depend on what
    else is in the batch.

    Args:
        plan: Pattern of the systems; must live until the call has ended.
        weight: ``float64[n_weights]``.
        shift: ``float64[n_transient]`` or ``complex128[n_transient]``; the others have its type.
        multiplier: ``[n_steps - 1, n_transient]``.
        rhs: ``[n_steps, n_transient]``.
        transposed: Which of the two.

    Returns:
        ``[n_steps, n_transient]``; NaN if a weight is negative or not finite, or a vertex cannot
        be left at these weights.

    Raises:
        jax.errors.JaxRuntimeError: Shapes that do not fit the plan, or a plan that is gone.
    """
    kind = "complex" if jnp.iscomplexobj(rhs) else "real"
    call = jax.ffi.ffi_call(
        f"{_PREFIX}solve_{kind}",
        jax.ShapeDtypeStruct(rhs.shape, rhs.dtype),
        vmap_method="expand_dims",
    )
    solution: jax.Array = call(
        weight, shift, multiplier, rhs, plan=np.int64(plan.id), transposed=transposed
    )
    return solution


def apply_edges(
    plan: _core.Plan, weight: jax.Array, x: jax.Array, *, transposed: bool
) -> jax.Array:
    """``W x``, or ``W^T x``, of the weights between transient vertices.

    Args:
        plan: Pattern of ``W``; must live until the call has ended.
        weight: ``float64[..., n_weights]``; those of exit rates are not read.
        x: ``float64[..., n_transient]``. Leading dimensions equal those of ``weight`` or are 1 in
            one of the two.
        transposed: Which of the two.

    Returns:
        ``float64[..., n_transient]``.

    Raises:
        jax.errors.JaxRuntimeError: Shapes that do not fit the plan, or a plan that is gone.
    """
    batch = jnp.broadcast_shapes(weight.shape[:-1], x.shape[:-1])
    call = jax.ffi.ffi_call(
        _PREFIX + "apply_edges",
        jax.ShapeDtypeStruct((*batch, x.shape[-1]), x.dtype),
    )
    product: jax.Array = call(weight, x, plan=np.int64(plan.id), transposed=transposed)
    return product


def powers(
    plan: _core.Plan,
    weight: jax.Array,
    stay: jax.Array,
    start: jax.Array,
    last: jax.Array,
    n_terms: int,
) -> jax.Array:
    """``start P^k last`` for ``k = 0..n_terms - 1``, where ``P = W + diag(stay)``.

    Args:
        plan: Pattern of ``W``; must live until the call has ended.
        weight: ``float64[n_weights]``; those of exit rates are not read.
        stay: ``float64[n_transient]``.
        start: ``float64[n_transient]``.
        last: ``float64[n_transient]``.
        n_terms: At least 1.

    Returns:
        ``float64[n_terms]``.

    Raises:
        jax.errors.JaxRuntimeError: Shapes that do not fit the plan, or a plan that is gone.
    """
    call = jax.ffi.ffi_call(
        _PREFIX + "powers",
        jax.ShapeDtypeStruct((n_terms,), jnp.float64),
        vmap_method="expand_dims",
    )
    terms: jax.Array = call(weight, stay, start, last, plan=np.int64(plan.id))
    return terms


def mixtures(
    plan: _core.Plan, weight: jax.Array, stay: jax.Array, start: jax.Array, share: jax.Array
) -> jax.Array:
    """``sum_k share_mk start P^k`` for every ``m``, where ``P = W + diag(stay)``.

    Args:
        plan: Pattern of ``W``; must live until the call has ended.
        weight: ``float64[n_weights]``; those of exit rates are not read.
        stay: ``float64[n_transient]``.
        start: ``float64[n_transient]``.
        share: ``float64[n_mixtures, n_terms]``.

    Returns:
        ``float64[n_mixtures, n_transient]``.

    Raises:
        jax.errors.JaxRuntimeError: Shapes that do not fit the plan, or a plan that is gone.
    """
    call = jax.ffi.ffi_call(
        _PREFIX + "mixtures",
        jax.ShapeDtypeStruct((share.shape[0], start.shape[0]), jnp.float64),
        vmap_method="expand_dims",
    )
    mixed: jax.Array = call(weight, stay, start, share, plan=np.int64(plan.id))
    return mixed
