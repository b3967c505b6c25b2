"""A trace as a JAX program: arrays that functions of theta take as an operand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from numpy.typing import NDArray

from phasic_mpi import _core, config
from phasic_mpi.errors import ConfigError, EnvironmentMismatchError, EvaluationError
from phasic_mpi.evaluate import is_distribution, require_reward_per_vertex
from phasic_mpi.replay.schedule import Schedule, build_schedule
from phasic_mpi.theta import by_parameter
from phasic_mpi.trace import EliminationTrace

BACKENDS = ("ffi", "xla")

# One theta: a vector, or a mapping of all names of the parameters to numbers.
Theta = ArrayLike | Mapping[str, ArrayLike]

# Products of one theta that a step of XLA costs as much as: measured on CPUs. On GPUs it is the
# launch of some kernels, ten microseconds, beside five nanoseconds for a product of 1,000 theta.
_STEP_COST_CPU, _STEP_COST = 200, 2000


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Program:
    """A trace made ready for JAX; a pytree of arrays, to be passed as an operand.

    Weights of parallel edges are added up, so there is one weight per distinct edge, in the order
    of the trace's slots: ``weight = constant + coefficient @ theta``.

    Attributes:
        constant: ``float64[n_weights]``.
        coefficient: ``float64[n_weights, n_parameters]``.
        source: ``int32[n_weights]``, position of the vertex that each edge leaves.
        target: ``int32[n_weights]``, position of the vertex it leads to; ``n_transient`` stands for
            absorption.
        vertex: ``int32[n_transient]``, graph vertex at each position.
        start_constant: ``float64[n_transient]``, constant part of the initial distribution.
        start_coefficient: ``float64[n_transient, n_parameters]``.
        schedule: Index arrays of the backend "xla", None for "ffi".
        n_vertices: Vertices of the graph.
        parameter_names: A name for each entry of theta, or ``()``.
        fewest_jumps: Fewest edges from where the process may start to absorption.
        backend: "ffi" or "xla", what factors and solves.
        plan: Pattern in the compiled core for the backend "ffi", kept alive by whoever holds the
            program; None for "xla".
    """

    constant: jax.Array
    coefficient: jax.Array
    source: jax.Array
    target: jax.Array
    vertex: jax.Array
    start_constant: jax.Array
    start_coefficient: jax.Array
    schedule: Schedule | None
    n_vertices: int = field(metadata={"static": True})
    parameter_names: tuple[str, ...] = field(metadata={"static": True})
    fewest_jumps: int = field(metadata={"static": True})
    backend: str = field(metadata={"static": True})
    plan: _core.Plan | None = field(metadata={"static": True})

    @property
    def n_transient(self) -> int:
        """Number of transient vertices."""
        return self.vertex.shape[0]

    @property
    def n_parameters(self) -> int:
        """Length of theta."""
        return self.coefficient.shape[1]


def load_program(
    trace: EliminationTrace, backend: str = "ffi", *, n_threads: int | None = None
) -> Program:
    """Makes a trace ready for the functions of :mod:`phasic_mpi.replay`.

    Args:
        trace: The trace to replay.
        backend: "ffi", compiled kernels that hold one block of at most eight theta at a time,
            on CPUs; or "xla", operations of XLA alone, on JAX's default device: see
            :mod:`phasic_mpi.replay.xla` for the memory that it takes.
        n_threads: Threads that analyse it, at least 1; as many as JAX has on CPUs if not given.

    Raises:
        ConfigError: Another backend, a variable that is no number of threads, or JAX computes in
            single precision.
        EnvironmentMismatchError: JAX's default device is no CPU, and the backend is "ffi".
        GraphError: The trace is not consistent.
    """
    require_float64()
    _require_backend(backend)
    slots, weight_of_edge = trace.distinct_slots(trace.edge_slot)
    position = trace.position()
    target_position = position[trace.edge_target]
    source = np.empty(slots.size, dtype=np.int32)
    target = np.empty(slots.size, dtype=np.int32)
    source[weight_of_edge] = position[trace.edge_source]
    target[weight_of_edge] = np.where(target_position < 0, trace.n_transient, target_position)
    n_constant = trace.constant.size
    start = position[trace.start_vertex]
    n_start_constant = trace.start_constant.size
    plan = trace.plan(slots, n_threads=config.threads_of_jax() if n_threads is None else n_threads)
    return Program(
        constant=jnp.asarray(
            _add_at(weight_of_edge[:n_constant], trace.constant[:, np.newaxis], slots.size)[:, 0]
        ),
        coefficient=jnp.asarray(
            _add_at(weight_of_edge[n_constant:], trace.coefficient, slots.size)
        ),
        source=jnp.asarray(source),
        target=jnp.asarray(target),
        vertex=jnp.asarray(trace.vertex),
        start_constant=jnp.asarray(
            _add_at(
                start[:n_start_constant], trace.start_constant[:, np.newaxis], trace.n_transient
            )[:, 0]
        ),
        start_coefficient=jnp.asarray(
            _add_at(start[n_start_constant:], trace.start_coefficient, trace.n_transient)
        ),
        schedule=_schedule(trace, slots) if backend == "xla" else None,
        n_vertices=trace.n_vertices,
        parameter_names=trace.parameter_names,
        fewest_jumps=plan.fewest_jumps(start[start >= 0]),
        backend=backend,
        plan=plan if backend == "ffi" else None,
    )


def _schedule(trace: EliminationTrace, slots: NDArray[np.int64]) -> Schedule:
    step_cost = _STEP_COST_CPU if jax.default_backend() == "cpu" else _STEP_COST
    schedule: Schedule = jax.tree.map(
        jnp.asarray, build_schedule(trace, slots, step_cost=step_cost)
    )
    return schedule


def _require_backend(backend: str) -> None:
    if backend not in BACKENDS:
        raise ConfigError(
            "There is no such backend of replay",
            problem=f"expected one of {', '.join(map(repr, BACKENDS))}, got {backend!r}",
            resolution="leave the default on CPUs, ask for 'xla' on other devices",
        )
    if backend == "ffi" and jax.default_backend() != "cpu":
        raise EnvironmentMismatchError(
            "The compiled kernels cannot replay a trace on this device",
            problem=f"expected JAX's default backend to be 'cpu', got '{jax.default_backend()}'",
            resolution='ask for load_program(trace, backend="xla"), or set JAX_PLATFORMS=cpu '
            "before JAX is imported",
        )


def _add_at(
    index: NDArray[np.int32] | NDArray[np.int64], rows: NDArray[np.float64], size: int
) -> NDArray[np.float64]:
    """Sums of rows by index; rows of negative index (started in absorption) are left out."""
    kept = index >= 0
    index, rows = (index, rows) if kept.all() else (index[kept], rows[kept])
    out = np.empty((size, rows.shape[1]))
    for column in range(rows.shape[1]):
        out[:, column] = np.bincount(index, weights=rows[:, column], minlength=size)
    return out


def require_float64() -> None:
    """Refuses to compute in single precision.

    Raises:
        ConfigError: ``jax_enable_x64`` is off.
    """
    if jax.dtypes.canonicalize_dtype(np.float64) != np.float64:
        raise ConfigError(
            "A trace cannot be replayed in single precision",
            problem="expected jax_enable_x64 to be on, it is off: JAX would round to float32",
            resolution='run jax.config.update("jax_enable_x64", True) first, or set '
            "JAX_ENABLE_X64=1",
        )


def edge_weights(program: Program, theta: Theta) -> jax.Array:
    """Weights of the edges at one theta; ``float64[n_weights]``.

    Raises:
        ConfigError: JAX computes in single precision.
        EvaluationError: Theta of another shape or with other names.
    """
    return _linear(program.constant, program.coefficient, theta_vector(program, theta))


def initial_distribution(program: Program, theta: Theta) -> jax.Array:
    """Probability of starting at each position; ``float64[n_transient]``.

    What is missing to 1 is an atom at zero. Raises as :func:`edge_weights`.
    """
    return _linear(program.start_constant, program.start_coefficient, theta_vector(program, theta))


def with_start(program: Program, start: jax.Array) -> Program:
    """The same process from another initial distribution, which does not depend on theta.

    Every function of a program then starts there, and is differentiable in ``start``.

    Args:
        program: See :func:`load_program`.
        start: ``float64[n_vertices]``, probability of each vertex; what absorbing vertices hold,
            and what is missing to 1, is an atom at zero.

    Raises:
        ConfigError: JAX computes in single precision.
        EvaluationError: A start of another shape; or, unless it is traced, one that is no
            distribution.
    """
    require_float64()
    start = jnp.asarray(start, dtype=jnp.float64)
    if start.shape != (program.n_vertices,):
        raise EvaluationError(
            "The process cannot start there",
            problem=f"expected one probability for each vertex, shape ({program.n_vertices},), "
            f"got {start.shape}",
            context={"n_vertices": program.n_vertices},
            resolution="give the initial probability of every vertex of the graph",
        )
    if not isinstance(start, jax.core.Tracer) and not is_distribution(np.asarray(start)):
        raise EvaluationError(
            "The process cannot start there",
            problem="expected probabilities of at least 0 with a sum of at most 1, got "
            f"numbers from {float(start.min()):g} with a sum of {float(start.sum()):g}",
            context={"n_vertices": program.n_vertices},
            resolution="give initial probabilities; nothing is normalised silently",
        )
    return replace(
        program,
        start_constant=start[program.vertex],
        start_coefficient=jnp.zeros_like(program.start_coefficient),
    )


def by_vertex(program: Program, by_position: jax.Array) -> jax.Array:
    """Numbers by position as ``float64[..., n_vertices]``, 0 where a vertex is not transient."""
    scattered: jax.Array = _by_vertex(program, by_position)
    return scattered


@jax.jit
def _by_vertex(program: Program, by_position: jax.Array) -> jax.Array:
    out = jnp.zeros((*by_position.shape[:-1], program.n_vertices))
    return out.at[..., program.vertex].set(by_position)


def rates_out(program: Program, weight: jax.Array) -> jax.Array:
    """Sum of the weights that leave each position; ``float64[n_transient]``."""
    return jnp.zeros(program.n_transient).at[program.source].add(weight)


def exit_rates(program: Program, weight: jax.Array) -> jax.Array:
    """Sum of the weights that lead from each position to absorption; ``float64[n_transient]``."""
    return rates_out(program, jnp.where(program.target == program.n_transient, weight, 0.0))


def reward_by_position(program: Program, rewards: jax.Array | None) -> jax.Array:
    """Rewards per vertex, or 1 everywhere, by position; ``float64[n_transient]``.

    Raises:
        EvaluationError: Rewards of another shape than ``(n_vertices,)``, or the name of one.
    """
    if rewards is None:
        return jnp.ones(program.n_transient)
    if isinstance(rewards, str):
        raise EvaluationError(
            "A program holds no rewards by name",
            problem=f"expected float64[{program.n_vertices}], got the name {rewards!r:.60}",
            context={"n_vertices": program.n_vertices},
            resolution="give the array: trace.reward(name)",
        )
    rewards = jnp.asarray(rewards, dtype=jnp.float64)
    require_reward_per_vertex(rewards.shape, program.n_vertices)
    return rewards[program.vertex]


def _linear(constant: jax.Array, coefficient: jax.Array, theta: jax.Array) -> jax.Array:
    """``constant + coefficient @ theta``, added up in the order of the parameters.

    A matrix product adds in another order for another number of theta, and results would depend
    on what else is in a batch.
    """
    total = constant
    for parameter in range(coefficient.shape[1]):
        total = total + coefficient[:, parameter] * theta[parameter]
    return total


def theta_array(program: Program, theta: Theta) -> jax.Array:
    """Theta with the parameters along the last axis, in their order; ``float64[...]``.

    The numbers of a mapping may have batch axes, which are broadcast.

    Raises:
        ConfigError: JAX computes in single precision.
        EvaluationError: A mapping with other names than the parameters have.
    """
    require_float64()
    if not isinstance(theta, Mapping):
        return jnp.asarray(theta, dtype=jnp.float64)
    values = by_parameter(theta, program.parameter_names)
    arrays = [jnp.asarray(value, dtype=jnp.float64) for value in values]
    return jnp.stack(jnp.broadcast_arrays(*arrays), axis=-1) if arrays else jnp.zeros(0)


def theta_vector(program: Program, theta: Theta) -> jax.Array:
    """One theta as ``float64[n_parameters]``, in the order of the parameters.

    Raises as :func:`edge_weights`.
    """
    vector = theta_array(program, theta)
    if vector.shape != (program.n_parameters,):
        raise EvaluationError(
            "Trace cannot be evaluated",
            problem=f"expected one theta of shape ({program.n_parameters},), got {vector.shape}",
            context={"n_parameters": program.n_parameters},
            resolution="give one number per parameter; jax.vmap evaluates many theta",
        )
    return vector
