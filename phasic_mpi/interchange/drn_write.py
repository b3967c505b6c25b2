"""Writes Storm's explicit format; see :mod:`phasic_mpi.interchange.drn`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from phasic_mpi.graph import PhaseTypeGraph
from phasic_mpi.interchange.chain import Chain, from_graph
from phasic_mpi.interchange.linear import format_linear
from phasic_mpi.interchange.text import write_lines
from phasic_mpi.theta import ThetaLike


def save_drn(graph: PhaseTypeGraph, path: Path | str, *, theta: ThetaLike | None = None) -> Path:
    """Writes a graph as a continuous-time Markov chain for Storm, whole or not at all.

    Vertex ``i`` becomes state ``i - 1``; labels are ``init`` and ``absorbing``. Absorbing states
    get a transition to themselves at rate 1.

    Args:
        graph: A graph that starts in one vertex with probability 1.
        path: The file.
        theta: Where rates are evaluated. Left out, a graph with parameters is written as a
            parametric model, whose rates are sums of multiples of the parameters.

    Raises:
        GraphError: Several initial vertices, or an atom at time zero.
        EvaluationError: theta does not fit.
        ConfigError: The file cannot be written.
    """
    path = Path(path)
    write_lines(path, _lines(from_graph(graph, theta)))
    return path


def _lines(chain: Chain) -> Iterator[str]:
    rewards = chain.rewards or {}
    yield "// Exported by phasic_mpi"
    yield "@type: CTMC"
    yield f"@value_type: {'parametric' if chain.parameters else 'double'}"
    yield from ("@parameters", " ".join(chain.parameters))
    yield from ("@reward_models", " ".join(rewards))
    yield from ("@nr_states", str(chain.n_states))
    yield from ("@nr_choices", str(chain.n_states))
    yield "@model"
    yield from _model(chain)


def _model(chain: Chain) -> Iterator[str]:
    """A state, its values as a comment, an action and the transitions, one state after another."""
    last = np.searchsorted(chain.source, np.arange(chain.n_states), side="right").tolist()
    rate, target = _texts(chain, chain.coefficient), chain.target.tolist()
    total = np.zeros((chain.n_states, chain.coefficient.shape[1]))
    np.add.at(total, chain.source, chain.coefficient)
    labels: dict[int, str] = {}
    for name, states in chain.labels.items():
        for state in states.tolist():
            labels[state] = f"{labels.get(state, '')} {name}"
    rewards = _rewards(chain)
    valuations = _valuations(chain)
    first = 0
    for state, exit_rate in enumerate(_texts(chain, total)):
        yield f"state {state} !{exit_rate}{rewards[state]}{labels.get(state, '')}"
        if valuations:
            yield valuations[state]
        yield "\taction 0"
        for edge in range(first, last[state]):
            yield f"\t\t{target[edge]} : {rate[edge]}"
        first = last[state]


def _texts(chain: Chain, rates: NDArray[np.float64]) -> list[str]:
    if chain.parameters:
        text_of = {
            row: format_linear(row, chain.parameters) for row in set(map(tuple, rates.tolist()))
        }
        return [text_of[tuple(row)] for row in rates.tolist()]
    return [repr(rate) for rate in rates[:, 0].tolist()]


def _rewards(chain: Chain) -> list[str]:
    if not chain.rewards:
        return [""] * chain.n_states
    rows = np.column_stack(list(chain.rewards.values())).tolist()
    return [f" [{', '.join(map(repr, row))}]" for row in rows]


def _valuations(chain: Chain) -> list[str]:
    names = chain.state_names or [f"x_{k + 1}" for k in range(chain.states.shape[1])]
    if not names:
        return []
    rows = chain.states.tolist()
    return [
        "//[" + "\t& ".join(f"{n}={v}" for n, v in zip(names, row, strict=True)) + "]"
        for row in rows
    ]
