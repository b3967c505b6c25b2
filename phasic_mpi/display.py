"""What people see: progress on stderr, tables and JSON on stdout."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from types import TracebackType
from typing import Any

from rich import box
from rich.console import Console, Group
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    SpinnerColumn,
    TextColumn,
)
from rich.progress import Progress as LiveBar
from rich.table import Table as RichTable
from rich.text import Text

from phasic_mpi import log

# Work that ends sooner needs no display.
_PATIENCE_SECONDS = 1.0

# Under a launcher and in log files a line appears this often.
_LINE_SECONDS = 5.0
_LIVE_SECONDS = 0.1

# Width of tables where there is no terminal.
_PLAIN_WIDTH = 110

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


class Table:
    """A titled table; columns after the first are aligned to the right if they hold numbers.

    Attributes:
        note: Text below it.
    """

    def __init__(self, title: str, *columns: str) -> None:
        self.title = title
        self.columns = columns
        self.note: str | None = None
        self.rows: list[tuple[str, ...]] = []

    def add(self, *cells: str) -> None:
        """Adds a row."""
        self.rows.append(cells)

    def render(self) -> Group:
        """The table as ``rich`` prints it; title and note may be wider than its columns."""
        table = RichTable(box=box.SIMPLE_HEAD, show_header=any(self.columns))
        for index, name in enumerate(self.columns):
            numeric = all(row[index][:1].isdigit() or row[index][:1] in "-+" for row in self.rows)
            right = index > 0 and numeric and any(self.columns)
            table.add_column(name, justify="right" if right else "left", overflow="fold")
        for row in self.rows:
            table.add_row(*row)
        note = [] if self.note is None else [Text(f"{self.note}\n", style="italic")]
        return Group(Text(self.title, style="bold"), table, *note)


def print_tables(*tables: Table) -> None:
    """Prints tables on stdout."""
    terminal = sys.stdout.isatty()
    console = Console(width=None if terminal else _PLAIN_WIDTH, markup=False, highlight=False)
    with console.capture() as capture:
        for table in tables:
            console.print(table.render())
    print_text(capture.get())


def print_json(value: Any) -> None:
    """Prints one JSON object on stdout."""
    print_text(json.dumps(value, indent=2, allow_nan=False) + "\n")


def print_text(text: str) -> None:
    """Writes to stdout; a reader that has gone away has read what it wanted."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes once more at its end, which must not fail either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def size(n_bytes: float) -> str:
    """A number of bytes for people."""
    for unit in _UNITS[:-1]:
        if n_bytes < 1024:
            return f"{n_bytes:.0f} {unit}" if unit == "B" else f"{n_bytes:.1f} {unit}"
        n_bytes /= 1024
    return f"{n_bytes:.1f} {_UNITS[-1]}"


def seconds(value: float) -> str:
    """A duration for people, in seconds."""
    return f"{value:.3f}"


class Progress:
    """Shows the stage of a run that takes longer than a second: a live bar, or lines in a log.

    A thread draws, so that a stage that never calls back is shown too.

    Args:
        enabled: Whether to show anything: one rank does.
        counted: What is counted while work goes on.
    """

    def __init__(self, *, enabled: bool, counted: str = "blocks") -> None:
        self._counted = counted
        self._state = ("start", 0, 0)
        self._closing = threading.Event()
        draw = self._draw_live if sys.stderr.isatty() else self._draw_lines
        self._thread = threading.Thread(target=draw, name="phasic_mpi progress", daemon=True)
        self._enabled = enabled

    def update(self, stage: str, n_done: int, n_total: int) -> None:
        """Notes where the run is; ``n_total`` 0 if the stage has no count."""
        self._state = (stage, n_done, n_total)

    def __enter__(self) -> Progress:
        if self._enabled:
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        failure: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closing.set()
        if self._enabled:
            self._thread.join()

    def _draw_lines(self) -> None:
        begin = time.perf_counter()
        pause = _PATIENCE_SECONDS
        while not self._closing.wait(pause):
            stage, n_done, n_total = self._state
            count = f": {n_done} of {n_total} {self._counted} of this rank" if n_total else ""
            log.write_line(f"{time.perf_counter() - begin:7.1f} s  {stage}{count}")
            pause = _LINE_SECONDS

    def _draw_live(self) -> None:
        begin = time.perf_counter()
        if self._closing.wait(_PATIENCE_SECONDS):
            return
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[spent]:.0f} s"),
        )
        with LiveBar(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("", total=None, spent=0.0)
            while not self._closing.wait(_LIVE_SECONDS):
                stage, n_done, n_total = self._state
                bar.update(
                    task,
                    description=stage,
                    completed=n_done,
                    total=n_total or None,
                    spent=time.perf_counter() - begin,
                )
