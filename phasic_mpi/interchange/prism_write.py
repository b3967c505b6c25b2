"""Writes PRISM's explicit files; see :mod:`phasic_mpi.interchange.prism`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from phasic_mpi.errors import ConfigError, EvaluationError
from phasic_mpi.graph import PhaseTypeGraph
from phasic_mpi.interchange.chain import Chain, from_graph
from phasic_mpi.interchange.prism import numbered
from phasic_mpi.interchange.text import write_lines
from phasic_mpi.theta import ThetaLike


def save_prism(
    graph: PhaseTypeGraph, transitions: Path | str, *, theta: ThetaLike | None = None
) -> list[Path]:
    """Writes a graph as a continuous-time Markov chain for PRISM.

    ``NAME.tra`` and ``NAME.lab`` with the labels ``init`` and ``absorbing``; ``NAME.sta`` if
    vertices have states; ``NAME.srew``, or ``NAME1.srew`` and so on, if there are rewards. Vertex
    ``i`` becomes state ``i - 1``. Absorbing states get a transition to themselves at rate 1. Each
    file is whole or absent.

    Args:
        graph: A graph that starts in one vertex with probability 1.
        transitions: The ``.tra`` file; the others are written beside it.
        theta: Where rates are evaluated; needed if the graph has parameters, which these files
            cannot hold.

    Returns:
        The files, in the order above.

    Raises:
        GraphError: Several initial vertices, or an atom at time zero.
        EvaluationError: theta is missing or does not fit.
        ConfigError: A file cannot be written, or one of another model would be taken for a part.
    """
    path = Path(transitions)
    if theta is None and graph.n_parameters:
        raise EvaluationError(
            "The graph cannot be written for PRISM",
            problem=f"expected theta, because the graph has {graph.n_parameters} parameters and "
            "explicit files hold numbers",
            context={"path": path},
            resolution="give theta, or write a .drn file, which can hold parameters",
        )
    texts = _texts(path, from_graph(graph, theta))
    _require_no_others(path, texts)
    for file, lines in texts.items():
        write_lines(file, lines)
    return list(texts)


def _texts(path: Path, chain: Chain) -> dict[Path, Iterable[str]]:
    texts: dict[Path, Iterable[str]] = {
        path: _transitions(chain),
        path.with_suffix(".lab"): _labels(chain),
    }
    if chain.states.shape[1]:
        texts[path.with_suffix(".sta")] = _states(chain)
    rewards = chain.rewards or {}
    for number, (name, reward) in enumerate(rewards.items(), 1):
        suffix = f"{number if len(rewards) > 1 else ''}.srew"
        texts[path.with_name(path.stem + suffix)] = _reward(name, reward)
    return texts


def _transitions(chain: Chain) -> list[str]:
    rows = zip(
        chain.source.tolist(), chain.target.tolist(), chain.coefficient[:, 0].tolist(), strict=True
    )
    head = ["# Transitions (CTMC)", f"{chain.n_states} {chain.source.size}"]
    return head + [f"{source} {target} {rate!r}" for source, target, rate in rows]


def _labels(chain: Chain) -> list[str]:
    labels: Mapping[str, NDArray[np.int64]] = chain.labels
    of_state: dict[int, list[int]] = {}
    for number, states in enumerate(labels.values()):
        for state in states.tolist():
            of_state.setdefault(state, []).append(number)
    head = ["# Labels", " ".join(f'{k}="{name}"' for k, name in enumerate(labels))]
    rows = sorted(of_state.items())
    return head + [f"{state}: {' '.join(map(str, numbers))}" for state, numbers in rows]


def _states(chain: Chain) -> list[str]:
    names = chain.state_names or [f"x_{k + 1}" for k in range(chain.states.shape[1])]
    rows = enumerate(chain.states.tolist())
    head = ["# States", f"({','.join(names)})"]
    return head + [f"{state}:({','.join(map(str, values))})" for state, values in rows]


def _reward(name: str, reward: NDArray[np.float64]) -> list[str]:
    (given,) = np.nonzero(reward)
    rows = zip(given.tolist(), reward[given].tolist(), strict=True)
    head = [f'# Reward structure "{name}"', "# State rewards", f"{reward.size} {given.size}"]
    return head + [f"{state} {value!r}" for state, value in rows]


def _require_no_others(path: Path, texts: Mapping[Path, object]) -> None:
    """Files of a former model beside the new ones would be read as a part of it."""
    beside = [path.with_suffix(".sta"), *numbered(path, ".srew"), *numbered(path, ".trew")]
    others = [file for file in beside if file.exists() and file not in texts]
    if others:
        raise ConfigError(
            f"{path} cannot be written",
            problem="expected no files of another model beside it, got "
            f"{', '.join(file.name for file in others)}",
            context={"path": path},
            resolution="remove these files, or choose another name",
        )
