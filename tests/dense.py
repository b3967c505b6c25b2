"""Processes as matrices of 60 digits, to compare with."""

import mpmath as mp
import numpy as np

from phasic_mpi.graph import PhaseTypeGraph
from tests.reference import rates

mp.mp.dps = 60


class Dense:
    """A process as a matrix of 60 digits; rewards scale the time spent at each vertex."""

    def __init__(
        self, graph: PhaseTypeGraph, theta: list, rewards: np.ndarray | None = None
    ) -> None:
        rows, alpha = rates(graph, theta, mp.mpf)
        self.vertex = [v for v, row in enumerate(rows) if row]
        position = {v: i for i, v in enumerate(self.vertex)}
        n = len(self.vertex)
        self.matrix, self.exits = mp.zeros(n), mp.zeros(n, 1)
        for i, v in enumerate(self.vertex):
            reward = mp.mpf(1 if rewards is None else float(rewards[v]))
            for target, rate in rows[v].items():
                self.matrix[i, i] -= rate / reward
                if target in position:
                    self.matrix[i, position[target]] += rate / reward
                else:
                    self.exits[i] += rate / reward
        self.inverse = mp.inverse(self.matrix)
        self.alpha = mp.matrix([[alpha[v] for v in self.vertex]])
        self.mean = float((self.alpha * -self.inverse * mp.ones(n, 1))[0])
        self.known: dict[float, dict[str, mp.mpf]] = {}

    def at(self, time: float) -> dict[str, mp.mpf]:
        if time not in self.known:
            moved, integral = self._exponential(mp.mpf(time))
            left = self.alpha * moved
            survival = mp.fsum(left)
            self.known[time] = {
                "pdf": (left * self.exits)[0],
                "survival": survival,
                "cdf": 1 - survival,
                "states": left,
                "spent": self.alpha * integral,
            }
        return self.known[time]

    def _exponential(self, time: mp.mpf) -> tuple[mp.matrix, mp.matrix]:
        """``exp(S t)``, and its integral from 0 to ``t``, which may lose a third of the digits."""
        moved = mp.expm(self.matrix * time, method="pade")
        return moved, self.inverse * (moved - mp.eye(len(self.vertex)))
