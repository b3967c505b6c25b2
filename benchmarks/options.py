"""Options that several benchmarks take."""

from __future__ import annotations

import argparse
from collections.abc import Iterable


def names_and_repeats(
    description: str, cases: Iterable[str], *, repeats: int
) -> tuple[list[str], int]:
    """Which cases to measure, all if the command line names none, and how often each.

    Ends the program with status 2 if a name is unknown or there is less than one repeat.
    """
    known = list(cases)
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("names", nargs="*", metavar="name", help=", ".join(known))
    parser.add_argument("--repeats", type=int, default=repeats)
    options = parser.parse_args()
    unknown = set(options.names) - set(known)
    if unknown or options.repeats < 1:
        parser.error(f"unknown names {sorted(unknown)} or fewer than one repeat")
    return options.names or known, options.repeats
