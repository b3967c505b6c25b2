"""Storm's explicit format, DRN, of a continuous-time Markov chain, perhaps with parameters.

What ``storm --exportbuild`` and ``stormpy.io.export_to_drn`` write, and PRISM too; the format is
that of ``DirectEncodingParser`` and ``DirectEncodingExporter`` in stormpy 2.0.0.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from phasic_mpi.graph import PhaseTypeGraph
from phasic_mpi.graph_io import graph_of
from phasic_mpi.interchange.chain import Chain, to_graph
from phasic_mpi.interchange.drn_header import Header, read_header
from phasic_mpi.interchange.drn_states import read_valuations
from phasic_mpi.interchange.linear import parse_linear
from phasic_mpi.interchange.text import TextFile, integer
from phasic_mpi.names import short

_STATE = re.compile(
    r"state (?P<state>\d+) !(?P<exit>\(.*\)/\(\d+\)|\S+)"
    r"(?:\s*\[(?P<rewards>[^]]*)\])?(?P<labels>.*)"
)
_ACTION = re.compile(r"action \S+(?:\s*\[(?P<rewards>[^]]*)\])?")
_LABEL = re.compile(r'"([^"]+)"|([^\s"]+)')

# Storm writes six digits unless it is asked for more.
_EXIT_TOLERANCE = 1e-3

# Of the number of a state.
_DIGITS = 18


def load_drn(
    path: Path | str,
    *,
    absorbing: str | None = None,
    initial_probabilities: ArrayLike | None = None,
) -> PhaseTypeGraph:
    """Reads a continuous-time Markov chain from a DRN file.

    State ``i`` becomes vertex ``i + 1``. Rates may be linear in the parameters of the file, which
    become those of the graph. Values of variables are read from the comments in which Storm
    writes them, if every state has one.

    Args:
        path: The file, not compressed.
        absorbing: Label of the states to stop at; by default the states that are not left.
        initial_probabilities: A probability for each state of the label ``init``, in ascending
            order; needed if there are several.

    Raises:
        GraphError: The file is not as Storm writes it or holds more than states, rates and rewards
            of states (names the line), or labels do not fit.
        ConfigError: The file cannot be read.
    """
    path = Path(path)
    file = TextFile.read(path, "a CTMC in DRN")
    chain = _Model(file, read_header(file)).read()
    with graph_of(path):
        return to_graph(chain, absorbing=absorbing, initial_probabilities=initial_probabilities)


class _Model:
    """States and transitions, collected line by line.

    A model has few distinct rates but many transitions: each rate is parsed once, and a transition
    holds its number.
    """

    def __init__(self, file: TextFile, header: Header) -> None:
        self._file = file
        self._header = header
        self._number_of: dict[str, int] = {}
        self._rates: list[NDArray[np.float64]] = []
        self._source: list[int] = []
        self._target: list[int] = []
        self._rate: list[int] = []
        self._lines: list[int] = []
        self._exit_rate: list[int] = []
        self._rewards: list[list[int]] = []
        self._labels: dict[str, list[int]] = {}
        self._comments: list[str] = []
        self._n_actions = 0

    def read(self) -> Chain:
        """Reads all lines behind ``@model``."""
        for index in range(self._header.end, len(self._file.lines)):
            line = self._file.lines[index].strip()
            if line[:1].isdigit():
                self._read_transition(index, line)
            elif line.startswith("state "):
                self._read_state(index, line)
            elif line.startswith("action "):
                self._read_action(index, line)
            elif line.startswith("//"):
                self._read_comment(line)
            elif line:
                self._file.refuse(
                    index, f"expected a state, an action or a transition, got {short(line)}"
                )
        return self._chain()

    def _read_transition(self, index: int, line: str) -> None:
        target, colon, rate = line.partition(":")
        target = target.rstrip()
        if not colon or not self._n_actions or not target.isdecimal() or len(target) > _DIGITS:
            self._file.refuse(
                index,
                "expected a state and a rate, such as 1 : 0.5, behind an action, got "
                f"{short(line)}",
            )
        number = self._number_of.get(rate)
        self._source.append(len(self._lines) - 1)
        self._target.append(int(target))
        self._rate.append(self._number(index, rate) if number is None else number)

    def _read_state(self, index: int, line: str) -> None:
        match = _STATE.fullmatch(line)
        if match is None:
            self._file.refuse(
                index,
                f"expected a state and its exit rate, such as state 0 !1.5, got {short(line)}",
            )
        expected, found = len(self._lines), self._file.parse(index, integer, match["state"])
        if found != expected or expected >= self._header.n_states:
            self._file.refuse(
                index,
                f"expected state {expected} of {self._header.n_states}, got {found}",
                "states follow one another without gaps, as many as @nr_states says",
            )
        self._lines.append(index)
        self._exit_rate.append(self._number(index, match["exit"]))
        self._rewards.append(self._read_rewards(index, match["rewards"]))
        for quoted, plain in _LABEL.findall(match["labels"]):
            self._labels.setdefault(quoted or plain, []).append(found)
        self._n_actions = 0

    def _read_rewards(self, index: int, text: str | None) -> list[int]:
        """Numbers of the rewards ``1, 0.5``."""
        found = [] if text is None else [self._number(index, word) for word in text.split(",")]
        expected = len(self._header.rewards or (self._rewards or [found])[0])
        if len(found) != expected:
            self._file.refuse(index, f"expected {expected} rewards, got {len(found)}")
        for number in found:
            if self._rates[number][1:].any():
                self._file.refuse(
                    index, f"expected rewards without parameters, got {short(text or '')}"
                )
        return found

    def _read_action(self, index: int, line: str) -> None:
        self._n_actions += 1
        match = _ACTION.fullmatch(line)
        if match is None or self._n_actions > 1 or not self._lines:
            self._file.refuse(index, f"expected one action for each state, got {short(line)}")
        rewards = match["rewards"]
        if rewards and any(self._rates[k].any() for k in self._read_rewards(index, rewards)):
            self._file.refuse(
                index,
                f"expected no rewards of actions, got {short(rewards)}",
                "rewards that come at a jump are not supported: build the model without them, or "
                "as rewards of states",
            )

    def _read_comment(self, line: str) -> None:
        """Storm writes the values of variables behind a state."""
        if len(self._comments) == len(self._lines) - 1:
            self._comments.append(line)

    def _number(self, index: int, text: str) -> int:
        """Number of a rate or a reward."""
        number = self._number_of.get(text)
        if number is None:
            header = self._header
            meant = text.strip()
            if meant.startswith("$"):
                if meant[1:] not in header.placeholders:
                    self._file.refuse(
                        index, f"expected a placeholder of the header, got {short(meant)}"
                    )
                meant = header.placeholders[meant[1:]]
            row = self._file.parse(index, lambda t: parse_linear(t, header.parameters), meant)
            number = self._number_of[text] = len(self._rates)
            self._rates.append(row)
        return number

    def _chain(self) -> Chain:
        """The chain, if the file has all of it."""
        header = self._header
        self._file.require_count(header.count_line, header.n_states, len(self._lines), "states")
        source, target = np.array(self._source, np.int64), np.array(self._target, np.int64)
        rates = np.array(self._rates).reshape(-1, 1 + len(header.parameters))
        coefficient = rates[np.array(self._rate, np.int64)]
        self._require_targets(target)
        self._require_rates(source, coefficient, rates[self._exit_rate])
        rewards = rates[np.array(self._rewards, np.int64), 0].T
        names = header.rewards or tuple(f"rew{k}" for k in range(len(rewards)))
        variables, states = read_valuations(self._comments, header.n_states)
        return Chain(
            n_states=header.n_states,
            source=source,
            target=target,
            coefficient=coefficient,
            labels={name: np.array(where) for name, where in self._labels.items()},
            states=states,
            state_names=variables,
            rewards=dict(zip(names, rewards, strict=True)),
            parameters=header.parameters,
        )

    def _line_of(self, transition: int) -> int:
        """Index of the line of a transition."""
        lines = range(self._header.end, len(self._file.lines))
        found = (index for index in lines if self._file.lines[index].strip()[:1].isdigit())
        return next(index for k, index in enumerate(found) if k == transition)

    def _require_targets(self, target: NDArray[np.int64]) -> None:
        for edge in np.nonzero(target >= self._header.n_states)[0][:1].tolist():
            self._file.refuse(
                self._line_of(edge),
                f"expected a state in 0..{self._header.n_states - 1}, got {target[edge]}",
            )

    def _require_rates(
        self,
        source: NDArray[np.int64],
        coefficient: NDArray[np.float64],
        stated: NDArray[np.float64],
    ) -> None:
        """Negative rates, and probabilities in the place of rates, are refused.

        A rate with parameters may have any sign: it is checked where it is evaluated.
        """
        constant = ~(coefficient[:, 1:] != 0).any(axis=1)
        for edge in np.nonzero(constant & (coefficient[:, 0] < 0))[0][:1].tolist():
            self._file.refuse(
                self._line_of(edge), f"expected a rate of at least 0, got {coefficient[edge, 0]:g}"
            )
        total = np.zeros_like(stated)
        np.add.at(total, source, coefficient)
        wrong = np.abs(total - stated) > _EXIT_TOLERANCE * np.abs(stated).max(axis=1, keepdims=True)
        left = np.bincount(source, minlength=len(stated)) > 0
        for state in np.nonzero(wrong.any(axis=1) & left)[0][:1].tolist():
            self._file.refuse(
                self._lines[state],
                f"expected rates with a sum of {stated[state].tolist()}, the exit rate, got "
                f"{total[state].tolist()}",
                "give rates, not probabilities, behind each state",
            )
