"""Rates that are linear in parameters, as text: ``(24*mu+4*lam+27)/(12)``."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from phasic_mpi.interchange.text import number
from phasic_mpi.names import short

_DIGITS = r"(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_NUMBER = re.compile(rf"[-+]?{_DIGITS}(?:/[\d.]+)?", re.ASCII)
_NUMBER_OR_NAME = re.compile(rf"{_DIGITS}|([A-Za-z_]\w*)", re.ASCII)
_EXPRESSION = re.compile(r"[\w\s.+\-*/()]+", re.ASCII)


def parse_linear(text: str, parameters: Sequence[str]) -> NDArray[np.float64]:
    """Reads an expression in numbers and parameters that is linear in the parameters.

    Args:
        text: Such as ``0.5``, ``3/10`` or ``(2*x+3*(y+1))/(12)``, which is what Storm writes.
        parameters: Names of the parameters.

    Returns:
        ``float64[1 + n_parameters]``: the constant, then a coefficient for each parameter.

    Raises:
        ValueError: Anything else, such as a product of parameters.
    """
    row = np.zeros(1 + len(parameters))
    if _NUMBER.fullmatch(text):
        row[0] = number(text)
        return row
    try:
        if not _EXPRESSION.fullmatch(text):
            raise ValueError(text)
        with np.errstate(all="ignore"):
            numbered = _with_numbers(text.strip(), parameters)
            row = _linear(ast.parse(numbered, mode="eval").body, len(parameters))
    except (ValueError, ArithmeticError, SyntaxError, RecursionError, MemoryError) as exc:
        raise _refusal(text, parameters) from exc
    if not np.isfinite(row).all():
        raise _refusal(text, parameters)
    return row


def _with_numbers(text: str, parameters: Sequence[str]) -> str:
    """The text with ``v0``, ``v1``, ... for the parameters, whose names may be words of Python."""
    number_of = {name: number for number, name in enumerate(parameters)}

    def numbered(match: re.Match[str]) -> str:
        name = match[1]
        if name is None:
            return match[0]
        if name not in number_of:
            raise ValueError(name)
        return f"v{number_of[name]}"

    return _NUMBER_OR_NAME.sub(numbered, text)


def _linear(node: ast.expr, n_parameters: int) -> NDArray[np.float64]:
    """A constant and coefficients, ``float64[1 + n_parameters]``, of a part of an expression."""
    row = np.zeros(1 + n_parameters)
    match node:
        case ast.Constant(value=int() | float() as value):
            row[0] = value
            return row
        case ast.Name(id=name):
            row[1 + int(name.removeprefix("v"))] = 1.0
            return row
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() as sign, operand=operand):
            inner = _linear(operand, n_parameters)
            return -inner if isinstance(sign, ast.USub) else inner
        case ast.BinOp(left=left, op=operator, right=right):
            return _combined(operator, _linear(left, n_parameters), _linear(right, n_parameters))
    raise ValueError("no part of a linear expression")


def _combined(
    operator: ast.operator, left: NDArray[np.float64], right: NDArray[np.float64]
) -> NDArray[np.float64]:
    match operator:
        case ast.Add():
            return left + right
        case ast.Sub():
            return left - right
        case ast.Mult() if not left[1:].any():
            return float(left[0]) * right
        case ast.Mult() if not right[1:].any():
            return left * float(right[0])
        case ast.Div() if not right[1:].any() and right[0] != 0:
            return left / float(right[0])
    raise ValueError("not linear")


def _refusal(text: str, parameters: Sequence[str]) -> ValueError:
    return ValueError(
        "expected a finite number or a sum of multiples of the parameters "
        f"{', '.join(parameters) or '(there are none)'}, got {short(text)}: other functions of "
        "parameters are not supported"
    )


def format_linear(row: Sequence[float], parameters: Sequence[str]) -> str:
    """Text of ``row[0] + row[1:] @ parameters``, in digits that give the same numbers back.

    Args:
        row: A constant, then a coefficient for each parameter.
        parameters: Names of the parameters.
    """
    factors = zip(["", *parameters], row, strict=True)
    terms = [_decimal(value) + (f"*{name}" if name else "") for name, value in factors if value]
    return "+".join(terms).replace("+-", "-") or "0"


def _decimal(value: float) -> str:
    """Digits without an exponent: in Storm's expressions, ``e`` would be a name."""
    return f"{Decimal(repr(value)):f}"
