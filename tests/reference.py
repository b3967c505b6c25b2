"""Slow, plain answers to compare with: exact fractions, 60 digits, and sparse LU.

All work on the off-diagonal rates and the exit rates of a graph at one theta, not on a trace.
"""

from collections import defaultdict
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import gmpy2
import numpy as np
from scipy import sparse
from scipy.sparse.linalg import splu

from phasic_mpi.graph import PhaseTypeGraph

DIGITS = 60
_BITS = int(DIGITS * 3.33) + 10

Number = Any
Rows = list[dict[int, Number]]


def rates(
    graph: PhaseTypeGraph, theta: list[float], number: Callable[[float], Number]
) -> tuple[Rows, list[Number]]:
    """Rates between vertices as dictionaries, self-loops left out, and the initial masses."""
    rows: Rows = [defaultdict(lambda: number(0)) for _ in range(graph.n_vertices)]
    parameters = [number(parameter) for parameter in theta]
    for source, target, weight in zip(
        graph.edge_source.tolist(),
        graph.edge_target.tolist(),
        graph.edge_weight.tolist(),
        strict=True,
    ):
        rows[source][target] += number(weight)
    for source, target, coefficient in zip(
        graph.param_source.tolist(),
        graph.param_target.tolist(),
        graph.param_coefficient.tolist(),
        strict=True,
    ):
        rows[source][target] += sum(
            (number(c) * p for c, p in zip(coefficient, parameters, strict=True)), number(0)
        )
    alpha = [number(0)] * graph.n_vertices
    for target, weight in zip(
        graph.start_target.tolist(), graph.start_weight.tolist(), strict=True
    ):
        alpha[target] += number(weight)
    rows = [
        {target: rate for target, rate in row.items() if target != source and rate != 0}
        for source, row in enumerate(rows)
    ]
    return rows, alpha


def solve(rows: Rows, rewards: list[list[Number]], zero: Number) -> list[list[Number]]:
    """Expected rewards until absorption from every vertex, for several rewards at once.

    Vertices are eliminated from the last to the first: what remains of a vertex is its exit and its
    rates to earlier ones. Written without subtraction as well, but with numbers for which it does
    not matter.
    """
    rows = [dict(row) for row in rows]
    rewards = [list(reward) for reward in rewards]
    transient = [vertex for vertex, row in enumerate(rows) if row]
    is_transient = [bool(row) for row in rows]
    into: list[set[int]] = [set() for _ in rows]
    for source in transient:
        for target in rows[source]:
            into[target].add(source)
    total = [zero] * len(rows)
    for k in reversed(transient):
        total[k] = sum(rows[k].values(), zero)
        for i in into[k]:
            if i >= k:
                continue
            factor = rows[i].pop(k) / total[k]
            for reward in rewards:
                reward[i] += factor * reward[k]
            for j, rate in rows[k].items():
                if j != i:
                    rows[i][j] = rows[i].get(j, zero) + factor * rate
                    into[j].add(i)
    for k in transient:
        for reward in rewards:
            later = sum((rate * reward[j] for j, rate in rows[k].items() if is_transient[j]), zero)
            reward[k] = (reward[k] + later) / total[k]
    return rewards


def exact_moments(graph: PhaseTypeGraph, theta: list[float], n_moments: int) -> list[Fraction]:
    """Moments of the time to absorption, exact for the rates as the doubles they are."""
    rows, alpha = rates(graph, theta, Fraction)
    return _moments(rows, alpha, n_moments, Fraction(0), Fraction(1))


def _moments(
    rows: Rows, alpha: list[Number], n_moments: int, zero: Number, one: Number
) -> list[Number]:
    out = []
    solution = [one if row else zero for row in rows]
    for power in range(1, n_moments + 1):
        (solution,) = solve(rows, [[power * value for value in solution]], zero)
        out.append(sum((a * x for a, x in zip(alpha, solution, strict=True)), zero))
    return out


def expected_times(graph: PhaseTypeGraph, theta: list[float]) -> list[Any]:
    """Expected time to absorption from every vertex, to 60 digits."""
    with gmpy2.context(gmpy2.get_context(), precision=_BITS):
        rows, _ = rates(graph, theta, gmpy2.mpfr)
        zero, one = gmpy2.mpfr(0), gmpy2.mpfr(1)
        (times,) = solve(rows, [[one if row else zero for row in rows]], zero)
        return times


def largest_relative_error(actual: np.ndarray, expected: list[Any]) -> float:
    """Over all components that are not zero; the quotients are formed in 60 digits."""
    with gmpy2.context(gmpy2.get_context(), precision=_BITS):
        return max(
            float(abs(gmpy2.mpfr(a) / e - 1))
            for a, e in zip(actual.tolist(), expected, strict=True)
            if e != 0
        )


def sub_intensity(
    graph: PhaseTypeGraph, theta: list[float]
) -> tuple[sparse.csc_matrix, np.ndarray, np.ndarray]:
    """Assembled ``M`` of the transient vertices, the initial masses, and their vertices."""
    source = np.concatenate([graph.edge_source, graph.param_source])
    target = np.concatenate([graph.edge_target, graph.param_target])
    weight = np.concatenate([graph.edge_weight, graph.param_coefficient @ np.array(theta)])
    n = graph.n_vertices
    other = source != target
    rate = sparse.csr_matrix((weight[other], (source[other], target[other])), shape=(n, n))
    total = np.asarray(rate.sum(axis=1)).ravel()
    transient = np.flatnonzero(total)
    alpha = np.bincount(graph.start_target, weights=graph.start_weight, minlength=n)
    matrix = (sparse.diags(total) - rate).tocsr()[transient][:, transient]
    return matrix.tocsc(), alpha[transient], transient


def lu_moments(graph: PhaseTypeGraph, theta: list[float], n_moments: int) -> list[float]:
    """Moments by SuperLU; as good as that is."""
    matrix, alpha, transient = sub_intensity(graph, theta)
    factor = splu(matrix)
    solution = np.ones(transient.size)
    out = []
    for power in range(1, n_moments + 1):
        solution = power * factor.solve(solution)
        out.append(float(alpha @ solution))
    return out
