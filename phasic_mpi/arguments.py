"""Kinds of values that options of the command line take; wrong ones are wrong usage."""

from __future__ import annotations

import argparse
import math
import re


def numbers(text: str) -> list[float]:
    """Numbers separated by commas."""
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError:
        found = [math.nan]
    if not all(map(math.isfinite, found)):
        raise argparse.ArgumentTypeError(f"expected numbers separated by commas, got {text!r}")
    return found


def theta(text: str) -> list[float] | dict[str, float]:
    """One row of theta: numbers separated by commas, or ``NAME=VALUE`` for each parameter."""
    if "=" not in text:
        return numbers(text)
    row: dict[str, float] = {}
    for part in text.split(","):
        name, equals, value = part.partition("=")
        name = name.strip()
        if not name or not equals or name in row:
            raise argparse.ArgumentTypeError(
                "expected numbers, or NAME=VALUE once for each parameter, separated by commas, got "
                f"{text!r}"
            )
        (row[name],) = numbers(value)
    return row


def points(text: str) -> tuple[float, ...]:
    """Numbers separated by commas, each of which may be a range ``START:STOP:COUNT``."""
    found: list[float] = []
    for part in text.split(","):
        if ":" not in part:
            found += numbers(part)
            continue
        bounds, _, count = part.rpartition(":")
        start, colon, stop = bounds.partition(":")
        if not colon or not count.isdecimal() or int(count) < 2:
            raise argparse.ArgumentTypeError(
                f"expected numbers or ranges START:STOP:COUNT of at least 2 points, got {part!r}"
            )
        (first,), (last,) = numbers(start), numbers(stop)
        steps = int(count) - 1
        found += [first + (last - first) * step / steps for step in range(steps + 1)]
    return tuple(found)


def number_of_bytes(text: str) -> int:
    """A number of bytes, which may end in K, M, G or T (powers of 1024)."""
    match = re.fullmatch(r"(\d+)([KMGT]?)", text)
    if match is None or int(match[1]) == 0:
        raise argparse.ArgumentTypeError(
            f"expected a number of bytes such as 500000000, 500M or 4G, got {text!r}"
        )
    return int(match[1]) << 10 * " KMGT".index(match[2] or " ")


def positive(text: str) -> int:
    """A positive integer."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a positive integer, got {text!r}")
    return int(text)


def days(text: str) -> float:
    """A number of days."""
    return _number_of("days", text)


def seconds(text: str) -> float:
    """A number of seconds."""
    return _number_of("seconds", text)


def _number_of(unit: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number of {unit}, got {text!r}")
    return number


def setting(text: str) -> tuple[str, str]:
    """``NAME=VALUE``, taken apart."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE, got {text!r}")
    return name, value
