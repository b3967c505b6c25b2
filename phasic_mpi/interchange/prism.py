"""PRISM's explicit files: ``.tra``, ``.sta``, ``.lab`` and ``.srew`` of a continuous-time chain.

What PRISM writes with ``-exportmodel`` and reads with ``-importmodel``; the format is that of its
classes ``PrismExplicitExporter`` and ``PrismExplicitImporter`` (PRISM 4.9 and before).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from phasic_mpi.graph import PhaseTypeGraph
from phasic_mpi.graph_io import graph_of
from phasic_mpi.interchange.chain import INITIAL, Chain, to_graph
from phasic_mpi.interchange.text import TextFile, integer
from phasic_mpi.log import get_logger
from phasic_mpi.names import short

_TYPE = re.compile(r"# Transitions \((\w+)\)\s*")
_VARIABLES = re.compile(r"\(([^()]*)\)")
_STATE = re.compile(r"(\d+)\s*:\s*\(([^()]*)\)")
_LABEL = re.compile(r'(\d+)="([^"]+)"')
_LABELS = re.compile(r"(\d+)\s*:\s*(\d+(?:\s+\d+)*)")
_REWARD = re.compile(r'# Reward structure "(\w+)"\s*')

_LARGEST = int(np.iinfo(np.int32).max)


def load_prism(
    transitions: Path | str,
    *,
    states: Path | str | None = None,
    labels: Path | str | None = None,
    rewards: Sequence[Path | str] | None = None,
    absorbing: str | None = None,
    initial_probabilities: ArrayLike | None = None,
) -> PhaseTypeGraph:
    """Reads a continuous-time Markov chain from PRISM's explicit files.

    State ``i`` becomes vertex ``i + 1``; variables and reward structures keep their names.

    Args:
        transitions: The ``.tra`` file.
        states: The ``.sta`` file; by default the one of the same name beside it, if there is one.
        labels: The ``.lab`` file, likewise; without one, state 0 is initial, as in PRISM.
        rewards: The ``.srew`` files; by default ``NAME.srew``, or ``NAME1.srew``, ``NAME2.srew``
            and so on, but for those with rewards of transitions in a ``.trew`` file beside them,
            which are left out with a warning.
        absorbing: Label of the states to stop at; by default the states that are not left.
        initial_probabilities: A probability for each state of the label ``init``, in ascending
            order; needed if there are several.

    Raises:
        GraphError: A file is not as PRISM writes it (names the line), or labels do not fit.
        ConfigError: A file cannot be read.
    """
    path = Path(transitions)
    beside = {suffix: path.with_suffix(suffix) for suffix in (".sta", ".lab")}
    found = {suffix: file for suffix, file in beside.items() if file.exists()}
    states, labels = states or found.get(".sta"), labels or found.get(".lab")
    rewards = list(_state_rewards(path)) if rewards is None else rewards
    n_states, source, target, rate = _read_transitions(path)
    names: tuple[str, ...] = ()
    table = np.zeros((n_states, 0), np.int32)
    if states is not None:
        names, table = _read_states(Path(states), n_states)
    chain = Chain(
        n_states=n_states,
        source=source,
        target=target,
        coefficient=rate[:, np.newaxis],
        labels={INITIAL: np.zeros(1, np.int64)}
        if labels is None
        else _read_labels(Path(labels), n_states),
        states=table,
        state_names=names,
        rewards=dict(
            _read_reward(Path(file), n_states, f"reward_{k}") for k, file in enumerate(rewards, 1)
        ),
    )
    with graph_of(path):
        return to_graph(chain, absorbing=absorbing, initial_probabilities=initial_probabilities)


def numbered(path: Path, suffix: str) -> Iterator[Path]:
    """Files of one kind: ``NAME.srew`` for one, ``NAME1.srew``, ``NAME2.srew`` for several."""
    if path.with_suffix(suffix).exists():
        yield path.with_suffix(suffix)
        return
    number = 1
    while (file := path.with_name(f"{path.stem}{number}{suffix}")).exists():
        yield file
        number += 1


def _state_rewards(path: Path) -> Iterator[Path]:
    """Files of the reward structures that have rewards of states only."""
    for file in numbered(path, ".srew"):
        jumps = file.with_suffix(".trew")
        if jumps.exists() and _sizes(TextFile.read(jumps, "transition rewards of PRISM"))[2]:
            get_logger().warning(
                "%s is not read, because rewards of transitions (%s) are not supported",
                file.name,
                jumps.name,
            )
        else:
            yield file


def _read_transitions(
    path: Path,
) -> tuple[int, NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Number of states; sources, targets and rates ``float64[m]``."""
    file = TextFile.read(path, "transitions of PRISM")
    for index, line in enumerate(file.lines):
        kind = _TYPE.fullmatch(line)
        if kind and kind[1] != "CTMC":
            file.refuse(
                index,
                f"expected a model of type CTMC, got {kind[1]}",
                "export a continuous-time Markov chain; other models are not supported",
            )
        if line.strip() and not line.startswith("#"):
            break
    first, n_states, n_transitions = _sizes(file)
    # Every state takes some bytes somewhere: a number that is a mistake must not take memory.
    limit = min(_LARGEST - 1, file.path.stat().st_size)
    if not 1 <= n_states <= limit:
        file.refuse(first, f"expected 1 to {limit} states in a file of this size, got {n_states}")
    source, target, rate = file.table(
        first + 1, "iif", names="a state, a state and a rate", extra=1
    )
    file.require_count(first, n_transitions, rate.size, "transitions")
    for column in (source, target):
        _require_states(file, first + 1, column, n_states)
    file.require(
        first + 1, rate >= 0, lambda row: f"expected a rate of at least 0, got {rate[row]:g}"
    )
    return n_states, source.astype(np.int64), target.astype(np.int64), rate.astype(np.float64)


def _sizes(file: TextFile) -> tuple[int, int, int]:
    """Index of the first line of data, and the two numbers in it."""
    index, line = next(file.data(), (len(file.lines), ""))
    words = line.split()
    if len(words) != 2:
        file.refuse(
            index,
            "expected two numbers, of states and of entries, got "
            f"{short(line) if line else 'the end of the file'}",
            "export a continuous-time Markov chain with PRISM; files of decision processes, of "
            "Matlab and of rows are not supported",
        )
    n_states, n_entries = (file.parse(index, integer, word) for word in words)
    return index, n_states, n_entries


def _require_states(
    file: TextFile, first: int, column: NDArray[np.int64] | NDArray[np.float64], n_states: int
) -> None:
    file.require(
        first,
        (column >= 0) & (column < n_states),
        lambda row: f"expected a state in 0..{n_states - 1}, got {column[row]}",
    )


def _read_states(path: Path, n_states: int) -> tuple[tuple[str, ...], NDArray[np.int32]]:
    """Names and values, ``int32[n_states, n_variables]``, of the variables."""
    file = TextFile.read(path, "states of PRISM")
    rows = file.data()
    head, line = next(rows, (len(file.lines), ""))
    variables = _VARIABLES.fullmatch(line)
    if variables is None:
        file.refuse(head, f"expected names of variables, such as (a,b), got {short(line)}")
    names = tuple(name.strip() for name in variables[1].split(","))
    table = np.zeros((n_states, len(names)), np.int32)
    seen = np.zeros(n_states, np.bool_)
    for index, line in rows:
        match = _STATE.fullmatch(line)
        if match is None:
            file.refuse(index, f"expected a state such as 0:(1,false), got {short(line)}")
        state = _new_state(file, index, match[1], seen)
        values = [file.parse(index, _value, word) for word in match[2].split(",")]
        if len(values) != len(names):
            file.refuse(index, f"expected {len(names)} values, got {len(values)}")
        table[state] = values
    file.require_count(head, n_states, int(seen.sum()), "states, as there are transitions of")
    return names, table


def _value(word: str) -> int:
    """Value of a variable; false is 0, true is 1."""
    word = word.strip()
    value = {"false": 0, "true": 1}.get(word)
    value = integer(word) if value is None else value
    if abs(value) > _LARGEST:
        raise ValueError(f"expected an integer of 32 bits, got {value}")
    return value


def _new_state(file: TextFile, index: int, word: str, seen: NDArray[np.bool_]) -> int:
    """The state that a line is about, which no line before was."""
    state = file.parse(index, integer, word)
    if state >= seen.size:
        file.refuse(index, f"expected a state in 0..{seen.size - 1}, got {state}")
    if seen[state]:
        file.refuse(index, f"expected each state once, got {state} again")
    seen[state] = True
    return int(state)


def _read_labels(path: Path, n_states: int) -> dict[str, NDArray[np.int64]]:
    """States of each label, ascending."""
    file = TextFile.read(path, "labels of PRISM")
    rows = file.data()
    head, line = next(rows, (len(file.lines), ""))
    names = [name for number, name in _LABEL.findall(line)]
    stated = [f'{number}="{name}"' for number, name in enumerate(names)]
    if not names or stated != line.split():
        file.refuse(head, f'expected labels such as 0="init" 1="deadlock", got {short(line)}')
    if len(set(names)) < len(names):
        file.refuse(head, f"expected each label once, got {short(line)}")
    states: dict[str, list[int]] = {name: [] for name in names}
    seen = np.zeros(n_states, np.bool_)
    for index, line in rows:
        match = _LABELS.fullmatch(line)
        if match is None:
            file.refuse(
                index, f"expected a state and its labels, such as 0: 1 2, got {short(line)}"
            )
        state = _new_state(file, index, match[1], seen)
        for word in match[2].split():
            if int(word) >= len(names):
                file.refuse(index, f"expected labels in 0..{len(names) - 1}, got {word}")
            states[names[int(word)]].append(state)
    return {name: np.unique(np.array(listed, np.int64)) for name, listed in states.items()}


def _read_reward(path: Path, n_states: int, default: str) -> tuple[str, NDArray[np.float64]]:
    """Name and ``float64[n_states]`` of a reward structure."""
    file = TextFile.read(path, "state rewards of PRISM")
    first, stated_states, stated_rewards = _sizes(file)
    file.require_count(first, n_states, stated_states, "states")
    state, value = file.table(first + 1, "if", names="a state and its reward")
    file.require_count(first, stated_rewards, value.size, "rewards")
    _require_states(file, first + 1, state, n_states)
    new = np.zeros(state.size, np.bool_)
    new[np.unique(state, return_index=True)[1]] = True
    file.require(first + 1, new, lambda row: f"expected each state once, got {state[row]} again")
    reward = np.zeros(n_states)
    reward[state.astype(np.int64)] = value
    named = [match[1] for match in map(_REWARD.fullmatch, file.lines[:first]) if match]
    return (named or [default])[0], reward
