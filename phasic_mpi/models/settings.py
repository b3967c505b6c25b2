"""Kinds of values that a bundled model is built with, given as values or as text."""

from __future__ import annotations

import math
import operator
import re
from dataclasses import dataclass
from typing import SupportsIndex

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Vertices are numbered in 32 bits, and nothing that is counted is larger.
LARGEST = 2**31 - 1


@dataclass(frozen=True)
class Integer:
    """An integer in a range, such as a sample size."""

    name: str
    default: int
    smallest: int
    meaning: str
    largest: int = LARGEST

    @property
    def expected(self) -> str:
        """What may be given, for messages."""
        return f"an integer in {self.smallest}..{self.largest}"

    def read(self, given: object) -> int:
        """The integer; not 3.0, and not True, which Python counts as 1.

        Raises:
            ValueError: It is none, or out of range.
        """
        value: int | None = None
        if isinstance(given, str):
            value = int(given) if re.fullmatch(r"[+-]?[0-9]{1,19}", given) else None
        elif isinstance(given, SupportsIndex) and not isinstance(given, bool):
            value = operator.index(given)
        if value is None or not self.smallest <= value <= self.largest:
            raise ValueError(self.expected)
        return value


@dataclass(frozen=True)
class Number:
    """A number in an open interval, such as a shape parameter."""

    name: str
    default: float
    above: float
    below: float
    meaning: str

    @property
    def expected(self) -> str:
        """What may be given, for messages."""
        return f"a number above {self.above:g} and below {self.below:g}"

    def read(self, given: object) -> float:
        """The number.

        Raises:
            ValueError: It is none, or out of range.
        """
        try:
            value = float(given)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            value = math.nan
        if isinstance(given, bool) or not self.above < value < self.below:
            raise ValueError(self.expected)
        return value


@dataclass(frozen=True)
class Choice:
    """One of a few words, such as the kind of an event."""

    name: str
    default: str
    options: tuple[str, ...]
    meaning: str

    @property
    def expected(self) -> str:
        """What may be given, for messages."""
        return f"one of {', '.join(self.options)}"

    def read(self, given: object) -> str:
        """The word.

        Raises:
            ValueError: It is none of the options.
        """
        if given not in self.options:
            raise ValueError(self.expected)
        return str(given)


@dataclass(frozen=True)
class Matrix:
    """A matrix of finite numbers: rows separated by semicolons, numbers by commas; or an array.

    A vector is a matrix of one row. The model itself checks what its numbers mean.

    Attributes:
        default: Text; empty if the model has a default that depends on its other settings.
    """

    name: str
    default: str
    meaning: str

    @property
    def expected(self) -> str:
        """What may be given, for messages."""
        return "rows of finite numbers, such as 0,1;0.5,0"

    def read(self, given: ArrayLike) -> NDArray[np.float64]:
        """``float64[n_rows, n_columns]``; without rows if nothing is given.

        Raises:
            ValueError: It is no matrix.
        """
        if given == "" if isinstance(given, str) else np.size(given) == 0:
            return np.zeros((0, 0))
        rows = [row.split(",") for row in given.split(";")] if isinstance(given, str) else given
        try:
            matrix = np.atleast_2d(np.array(rows, dtype=np.float64))
        except (TypeError, ValueError) as exc:
            raise ValueError(self.expected) from exc
        if matrix.ndim != 2 or not np.isfinite(matrix).all():
            raise ValueError(self.expected)
        return matrix


Setting = Integer | Number | Choice | Matrix
