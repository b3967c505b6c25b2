"""Slow, plain answers to compare with: exact fractions, 60 digits, and sparse LU.

All work on the off-diagonal rates and the exit rates of a graph at one theta, not on a trace.
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
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

    def linear(coefficient: list[float]) -> Number:
        return sum((number(c) * p for c, p in zip(coefficient, parameters, strict=True)), number(0))

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
        rows[source][target] += linear(coefficient)
    alpha = [number(0)] * graph.n_vertices
    for target, weight in zip(
        graph.start_target.tolist(), graph.start_weight.tolist(), strict=True
    ):
        alpha[target] += number(weight)
    for target, coefficient in zip(
        graph.start_param_target.tolist(), graph.start_param_coefficient.tolist(), strict=True
    ):
        alpha[target] += linear(coefficient)
    rows = [
        {target: rate for target, rate in row.items() if target != source and rate != 0}
        for source, row in enumerate(rows)
    ]
    return rows, alpha


@dataclass(frozen=True)
class Elimination:
    """What elimination from the last vertex to the first leaves behind; without subtraction.

    Attributes:
        transient: Vertices that were eliminated, ascending.
        total: Exit rate of each vertex when its turn came.
        left: Its rates then, to earlier transient vertices.
        entering: Rates into it then, from earlier vertices.
    """

    transient: list[int]
    total: list[Number]
    left: Rows
    entering: Rows

    def rewards(self, reward: list[Number]) -> list[Number]:
        """Expected reward until absorption from every vertex."""
        out = list(reward)
        for k in reversed(self.transient):
            for i, rate in self.entering[k].items():
                out[i] += rate / self.total[k] * out[k]
        for k in self.transient:
            for j, rate in self.left[k].items():
                out[k] += rate * out[j]
            out[k] /= self.total[k]
        return out

    def visits(self, alpha: list[Number]) -> list[Number]:
        """Expected time spent in every vertex until absorption."""
        out = list(alpha)
        for k in reversed(self.transient):
            for j, rate in self.left[k].items():
                out[j] += rate / self.total[k] * out[k]
        for k in self.transient:
            for i, rate in self.entering[k].items():
                out[k] += rate * out[i]
            out[k] /= self.total[k]
        return out


def eliminate(rows: Rows, zero: Number) -> Elimination:
    """Eliminates every vertex that can be left, the last first."""
    rows = [dict(row) for row in rows]
    transient = [vertex for vertex, row in enumerate(rows) if row]
    is_transient = [bool(row) for row in rows]
    into: list[set[int]] = [set() for _ in rows]
    for source in transient:
        for target in rows[source]:
            into[target].add(source)
    total = [zero] * len(rows)
    entering: Rows = [{} for _ in rows]
    for k in reversed(transient):
        total[k] = sum(rows[k].values(), zero)
        # Later vertices are gone already: they no longer lead here.
        entering[k] = {i: rows[i].pop(k) for i in into[k] if i < k}
        for i, entry in entering[k].items():
            factor = entry / total[k]
            for j, rate in rows[k].items():
                if j != i:
                    rows[i][j] = rows[i].get(j, zero) + factor * rate
                    into[j].add(i)
    left = [{j: rate for j, rate in row.items() if is_transient[j]} for row in rows]
    return Elimination(transient, total, left, entering)


def exact_moments(graph: PhaseTypeGraph, theta: list[float], n_moments: int) -> list[Fraction]:
    """Moments of the time to absorption, exact for the rates as the doubles they are."""
    rows, alpha = rates(graph, theta, gmpy2.mpq)
    elimination = eliminate(rows, gmpy2.mpq(0))
    solution = [gmpy2.mpq(bool(row)) for row in rows]
    out = []
    for power in range(1, n_moments + 1):
        solution = elimination.rewards([power * value for value in solution])
        moment = sum((a * x for a, x in zip(alpha, solution, strict=True)), gmpy2.mpq(0))
        out.append(Fraction(int(moment.numerator), int(moment.denominator)))
    return out


def expected_times(
    graph: PhaseTypeGraph, theta: list[float]
) -> tuple[list[Number], list[Number], Number]:
    """To 60 digits: time to absorption from every vertex, time spent in each, and the mean."""
    with gmpy2.context(gmpy2.get_context(), precision=_BITS):
        rows, alpha = rates(graph, theta, gmpy2.mpfr)
        elimination = eliminate(rows, gmpy2.mpfr(0))
        times = elimination.rewards([gmpy2.mpfr(bool(row)) for row in rows])
        mean = sum((a * x for a, x in zip(alpha, times, strict=True)), gmpy2.mpfr(0))
        # Absorbing vertices keep initial mass; no time is counted there.
        alpha = [mass if row else gmpy2.mpfr(0) for mass, row in zip(alpha, rows, strict=True)]
        return times, elimination.visits(alpha), mean


def largest_relative_error(actual: np.ndarray, expected: list[Any]) -> float:
    """Over all components; a zero must be a zero. The quotients are formed in 60 digits."""
    with gmpy2.context(gmpy2.get_context(), precision=_BITS):
        return max(
            float(abs(gmpy2.mpfr(a) / e - 1)) if e != 0 else float(a != 0)
            for a, e in zip(actual.tolist(), expected, strict=True)
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
    start = np.concatenate([graph.start_target, graph.start_param_target])
    mass = np.concatenate([graph.start_weight, graph.start_param_coefficient @ np.array(theta)])
    alpha = np.bincount(start, weights=mass, minlength=n)
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
