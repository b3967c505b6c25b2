"""Text files of other programs: lines, tables of numbers, and errors that name file and line."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from phasic_mpi import files
from phasic_mpi.errors import ConfigError, GraphError
from phasic_mpi.names import short

_INTEGER = re.compile(r"[+-]?\d{1,18}")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")


def integer(text: str) -> int:
    """An integer in digits.

    Raises:
        ValueError: Anything else; says what was expected and what was found.
    """
    if not _INTEGER.fullmatch(text):
        raise ValueError(f"expected an integer, got {short(text)}")
    return int(text)


def number(text: str) -> float:
    """A finite number in decimal digits, or a fraction of two, such as ``1/4000``.

    Raises:
        ValueError: Anything else: a NaN, an infinity, a number too large for a float64.
    """
    parts = text.split("/")
    if len(parts) <= 2 and all(map(_NUMBER.fullmatch, parts)):
        values = [float(part) for part in parts]
        value = values[0] if len(values) == 1 else values[0] / (values[1] or np.nan)
        if np.isfinite([*values, value]).all():
            return value
    raise ValueError(f"expected a finite number, got {short(text)}")


@dataclass(frozen=True)
class TextFile:
    """A file of lines; those that are blank, and what follows a ``#``, are not data.

    Attributes:
        path: The file.
        what: What it holds, for errors, such as "transitions of PRISM".
        lines: Its lines without their ends.
    """

    path: Path
    what: str
    lines: list[str]

    @classmethod
    def read(cls, path: Path, what: str) -> TextFile:
        """Reads a file of UTF-8.

        Raises:
            ConfigError: The file cannot be read.
            GraphError: Its bytes are no UTF-8; names the line.
        """
        try:
            image = path.read_bytes()
        except OSError as exc:
            raise ConfigError(
                f"{path} cannot be read",
                problem=f"expected a file of {what}, got: {exc.strerror or exc}",
                context={"path": path},
                resolution="correct the path or its permissions",
            ) from exc
        try:
            return cls(path, what, image.decode("utf-8-sig").splitlines())
        except UnicodeDecodeError as exc:
            empty = cls(path, what, [])
            empty.refuse(image.count(b"\n", 0, exc.start), f"expected UTF-8: {exc.reason}")

    def refuse(self, index: int, problem: str, resolution: str | None = None) -> NoReturn:
        """Raises a :class:`GraphError` for the line of this index (from 0; its number is one more).

        An index behind the last line says that the file ends too early.
        """
        raise GraphError(
            f"{self.path} cannot be read as {self.what}",
            problem=f"line {index + 1}: {problem}",
            context={"path": self.path, "lines": len(self.lines)},
            resolution=resolution
            or "correct the line, or export the model again; docs/interchange.md describes the "
            "format",
        )

    def data(self, first: int = 0) -> Iterator[tuple[int, str]]:
        """Index and text of each line of data from line ``first`` on."""
        for index in range(first, len(self.lines)):
            line = self.lines[index].partition("#")[0].strip()
            if line:
                yield index, line

    def parse(self, index: int, convert: Callable[[str], Any], text: str) -> Any:
        """``convert(text)``, whose ``ValueError`` becomes a refusal of the line."""
        try:
            return convert(text)
        except ValueError as exc:
            self.refuse(index, str(exc))

    def table(
        self, first: int, kinds: str, *, names: str, extra: int = 0
    ) -> list[NDArray[np.int64] | NDArray[np.float64]]:
        """Columns of numbers from line ``first`` on.

        NumPy's reader is tried first, for speed. What it does not take is read line by line,
        which takes fractions and further words too, and says which line is wrong.

        Args:
            first: Index of the first line.
            kinds: A letter per column: ``i`` for an integer, ``f`` for a finite number.
            names: What a line should hold, for errors.
            extra: Further words that a line may have; they are skipped.

        Returns:
            ``int64[n]`` or ``float64[n]`` for each column.

        Raises:
            GraphError: A line that does not hold that.
        """
        dtype = np.dtype([(f"c{k}", {"i": "i8", "f": "f8"}[kind]) for k, kind in enumerate(kinds)])
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                rows = np.loadtxt(self.lines[first:], dtype=dtype, ndmin=1)
            floats = (rows[f"c{k}"] for k, kind in enumerate(kinds) if kind == "f")
            if all(np.isfinite(column).all() for column in floats):
                return [rows[f"c{k}"] for k in range(len(kinds))]
        except (ValueError, UserWarning, DeprecationWarning):
            pass  # a line that NumPy does not read, or no line at all
        return self._table_by_line(first, dtype, kinds, names, extra)

    def _table_by_line(
        self, first: int, dtype: np.dtype[Any], kinds: str, names: str, extra: int
    ) -> list[NDArray[Any]]:
        converters = [{"i": integer, "f": number}[kind] for kind in kinds]
        rows = []
        for index, line in self.data(first):
            words = line.split()
            if not len(kinds) <= len(words) <= len(kinds) + extra:
                self.refuse(index, f"expected {names}, got {short(line)}")
            cells = zip(converters, words, strict=False)
            rows.append(tuple(self.parse(index, convert, word) for convert, word in cells))
        table = np.array(rows, dtype=dtype)
        return [table[f"c{k}"] for k in range(len(kinds))]

    def require(self, first: int, legal: NDArray[np.bool_], problem: Callable[[int], str]) -> None:
        """Refuses the line of the first row of a table from line ``first`` that is not legal."""
        if not legal.all():
            row = int(np.argmin(legal))
            index = next(index for k, (index, _) in enumerate(self.data(first)) if k == row)
            self.refuse(index, problem(row))

    def require_count(self, index: int, expected: int, found: int, what: str) -> None:
        """Refuses the line that states a number, if another one is found."""
        if expected != found:
            self.refuse(
                index,
                f"expected {expected} {what}, got {found}",
                "the file is truncated, was edited or is of another model: export it again",
            )


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Writes a file of lines, whole or not at all.

    Raises:
        ConfigError: The file cannot be written.
    """
    try:
        files.write_atomically(path, ("\n".join(lines) + "\n").encode(), mode=0o666)
    except OSError as exc:
        raise ConfigError(
            f"{path} cannot be written",
            problem=f"expected a file that can be written, got: {exc.strerror or exc}",
            context={"path": path},
            resolution="correct the path or its permissions",
        ) from exc
