import time

import pytest

from phasic_mpi import display
from phasic_mpi.display import Progress, Table, print_json, print_tables, size


@pytest.mark.parametrize(
    ("n_bytes", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1536, "1.5 KiB"),
        (5 << 20, "5.0 MiB"),
        (3 << 50, "3072.0 TiB"),
    ],
)
def test_sizes_are_for_people(n_bytes: int, text: str) -> None:
    assert size(n_bytes) == text


def test_tables_align_numbers_and_keep_long_texts(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table("Title", "name", "count")
    table.add("a", "1")
    table.add("b" * 150, "1,000")
    print_tables(table)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Title")
    assert sum(line.count("b") for line in lines) == 150
    assert any(line.rstrip().endswith("    1") for line in lines)


def test_titles_and_notes_are_not_folded_to_the_width_of_the_columns(
    capsys: pytest.CaptureFixture[str],
) -> None:
    table = Table("A title that is wider than the table", "n")
    table.add("1")
    table.note = "A note that is wider than the table"
    print_tables(table, table)
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == table.title
    assert lines[lines.index(table.note) + 1 :][:2] == ["", table.title]


def test_numbers_that_json_does_not_have_are_refused() -> None:
    with pytest.raises(ValueError, match="JSON"):
        print_json({"x": float("nan")})


def test_progress_appears_after_a_while_as_lines(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(display, "_PATIENCE_SECONDS", 0.05)
    monkeypatch.setattr(display, "_LINE_SECONDS", 0.05)
    with Progress(enabled=True) as progress:
        progress.update("record", 3, 7)
        time.sleep(0.3)
        progress.update("stitch", 0, 0)
        time.sleep(0.3)
    lines = capfd.readouterr().err.splitlines()
    assert any(line.endswith("s  record: 3 of 7 blocks of this rank") for line in lines)
    assert lines[-1].endswith("s  stitch")


@pytest.mark.parametrize("enabled", [True, False])
def test_quick_work_and_other_ranks_show_nothing(
    capfd: pytest.CaptureFixture[str], *, enabled: bool
) -> None:
    with Progress(enabled=enabled) as progress:
        progress.update("record", 1, 2)
    assert capfd.readouterr().err == ""
