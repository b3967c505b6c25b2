"""Names of parameters, of the integers of a state, and of rewards; states as texts."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phasic_mpi.errors import EvaluationError, GraphError

LONGEST_NAME = 64

_LEGAL = re.compile(rf"[A-Za-z_][A-Za-z0-9_]{{0,{LONGEST_NAME - 1}}}")

_ADVICE = (
    "choose names that can be typed as NAME=VALUE and head a column of a CSV file, such as "
    "migration_1_2"
)

# What a file says may be of any size; a message is not.
_SHOWN = 10


def checked_names(field: str, names: Iterable[str], expected: int | None = None) -> tuple[str, ...]:
    """The names, if they are legal: so that they can be typed as NAME=VALUE and head a CSV column.

    Args:
        field: What they are names in, for errors.
        names: Names, or none at all.
        expected: How many there must be, if there are any; not checked if not given.

    Raises:
        GraphError: A name that is not a letter or ``_`` followed by at most 63 letters, digits or
            ``_`` (of ASCII), one given twice, or another number of them.
    """
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise _refuse(field, f"expected a list of names, got {short(names)}")
    found = tuple(names)
    for index, name in enumerate(found):
        if not isinstance(name, str) or not _LEGAL.fullmatch(name):
            raise _refuse(
                field,
                f"entry {index}: expected a letter or _, then letters, digits and _, at most "
                f"{LONGEST_NAME} in all, got {short(name)}",
            )
    twice = [name for name, count in Counter(found).items() if count > 1]
    if twice:
        raise _refuse(field, f"expected each name once, got {listed(twice)} more than once")
    if found and expected is not None and len(found) != expected:
        raise _refuse(
            field, f"expected {expected} names or none, got {len(found)}: {listed(found)}"
        )
    return found


def check_rewards(names: tuple[str, ...], rewards: NDArray[np.float64], n_vertices: int) -> None:
    """Checks rewards that are kept by name.

    Raises:
        GraphError: Illegal names, another shape than ``float64[n_names, n_vertices]``, or a number
            that is not finite.
    """
    checked_names("reward_names", names)
    if rewards.dtype != np.float64 or rewards.shape != (len(names), n_vertices):
        raise _refuse(
            "rewards",
            f"expected float64 of shape ({len(names)}, {n_vertices}), a row for each of "
            f"reward_names, got {rewards.dtype} of shape {rewards.shape}",
            "give one number per vertex for each name, the starting vertex first",
        )
    finite = np.isfinite(rewards)
    if not finite.all():
        row, vertex = (int(index) for index in np.argwhere(~finite)[0])
        raise _refuse(
            f"rewards.{names[row]}",
            f"expected finite numbers, got {rewards[row, vertex]} at vertex {vertex}",
            "correct the rewards",
        )


def listed(names: Sequence[str]) -> str:
    """The first names, separated by commas, and how many more there are; for messages."""
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def theta_labels(parameter_names: Sequence[str], n_parameters: int) -> tuple[str, ...]:
    """What the parameters are called in results: their names, or theta_1, theta_2, ..."""
    return tuple(parameter_names) or tuple(f"theta_{k + 1}" for k in range(n_parameters))


def reward_by_name(
    name: str, reward_names: tuple[str, ...], rewards: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The row of ``rewards`` (``float64[n_rewards, n_vertices]``) that has this name.

    Raises:
        EvaluationError: None has; the message lists those there are.
    """
    if name not in reward_names:
        there = f"one of {listed(reward_names)}" if reward_names else "no name, there are none"
        raise EvaluationError(
            "There is no such reward",
            problem=f"expected {there}, got {short(name)}",
            context={"n_rewards": len(reward_names)},
            resolution="name a reward that is stored with the graph, or give an array with one "
            "number per vertex",
        )
    row: NDArray[np.float64] = rewards[reward_names.index(name)]
    return row


def describe_state(state: Iterable[int], state_names: Sequence[str] = ()) -> str:
    """A state as people read it: ``(island_1=2, island_2=0)``, or ``(2, 0)`` without names."""
    values = [str(int(value)) for value in state]
    if state_names:
        values = [f"{name}={value}" for name, value in zip(state_names, values, strict=True)]
    return f"({', '.join(values)})"


def describe_vertex(vertex: int, states: NDArray[np.int32], state_names: Sequence[str] = ()) -> str:
    """A vertex with its state, ``vertex 17 (island_1=2, island_2=0)``; states may be empty.

    Args:
        vertex: Index of the vertex.
        states: ``int32[n_vertices, state_length]``.
        state_names: A name for each integer of a state, or none.
    """
    if states.shape[1] == 0:
        return f"vertex {vertex}"
    return f"vertex {vertex} {describe_state(states[vertex].tolist(), state_names)}"


def encode_names(names: tuple[str, ...]) -> NDArray[np.bytes_]:
    """Names as a dataset, ``S64[n]``."""
    return np.array(names, dtype=f"S{LONGEST_NAME}")


def decode_names(dataset: NDArray[Any] | None) -> tuple[str, ...]:
    """Names from a dataset of byte strings, none without one; the names are not checked.

    Raises:
        GraphError: A dataset of something else.
    """
    if dataset is None:
        return ()
    if dataset.dtype.kind != "S" or dataset.ndim != 1:
        raise _refuse(
            "names",
            f"expected byte strings in one dimension, got {dataset.dtype} of shape {dataset.shape}",
        )
    return tuple(name.decode("ascii", "replace") for name in dataset.ravel().tolist())


def short(value: object) -> str:
    """A value for messages, cut short."""
    text = repr(value)
    return text if len(text) <= LONGEST_NAME else f"{text[:LONGEST_NAME]}..."


def _refuse(field: str, problem: str, resolution: str = _ADVICE) -> GraphError:
    return GraphError(
        "Graph is malformed", problem=f"field '{field}': {problem}", resolution=resolution
    )
