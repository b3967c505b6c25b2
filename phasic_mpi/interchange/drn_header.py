"""The header of a DRN file: everything before ``@model``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from phasic_mpi.interchange.text import TextFile, integer
from phasic_mpi.names import short

_PLACEHOLDER = re.compile(r"\$(\S+)\s*:\s*(.+)")


@dataclass
class Header:
    """What the header says.

    Attributes:
        end: Index of the line behind ``@model``.
        kind: Type of the model, such as ``CTMC``.
        n_states: Number of states.
        count_line: Index of the line that states it.
        parameters: Names of the parameters.
        placeholders: Rates that the model refers to by name.
        rewards: Names of the reward models.
    """

    end: int = 0
    kind: str = ""
    n_states: int = 0
    count_line: int = 0
    parameters: tuple[str, ...] = ()
    placeholders: dict[str, str] = field(default_factory=dict)
    rewards: tuple[str, ...] = ()


def read_header(file: TextFile) -> Header:
    """Reads the header.

    Raises:
        GraphError: It is not as Storm writes it, or of another model than a CTMC.
    """
    header = Header()
    lines = iter(enumerate(file.lines))
    while True:
        index, line = next(lines, (len(file.lines), None))
        if line is None:
            file.refuse(index, "expected @model, got the end of the file")
        word = line.strip()
        if word.startswith("@type:"):
            header.kind = word.removeprefix("@type:").strip()
        elif word == "@parameters":
            header.parameters = tuple(_next(file, lines).split())
        elif word == "@reward_models":
            header.rewards = tuple(_next(file, lines).split())
        elif word == "@nr_states":
            header.count_line = index + 1
            header.n_states = file.parse(index + 1, integer, _next(file, lines).strip())
        elif word == "@nr_choices":
            _next(file, lines)
        elif match := _PLACEHOLDER.fullmatch(word):
            header.placeholders[match[1]] = match[2]
        elif word == "@model":
            header.end = index + 1
            _check_header(file, header)
            return header
        elif word and not word.startswith(("//", "@value_type:", "@placeholders")):
            file.refuse(index, f"expected an entry of the header, got {short(line)}")


def _next(file: TextFile, lines: Iterator[tuple[int, str]]) -> str:
    index, line = next(lines, (len(file.lines), None))
    if line is None:
        file.refuse(index, "expected the value of the entry before, got the end of the file")
    return line


def _check_header(file: TextFile, header: Header) -> None:
    if header.kind != "CTMC":
        file.refuse(
            header.end - 1,
            f"expected a model of type CTMC, got {short(header.kind)}",
            "export a continuous-time Markov chain; other models are not supported",
        )
    limit = min(int(np.iinfo(np.int32).max) - 1, len(file.lines))
    if not 1 <= header.n_states <= limit:
        file.refuse(
            header.count_line,
            f"expected 1 to {limit} states in a file of this length, got {header.n_states}",
        )
