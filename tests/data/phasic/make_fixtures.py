"""Writes the graphs of this directory and phasic's own moments of them.

Run with phasic 0.32.1 installed: ``python make_fixtures.py`` in this directory.
"""

import json
from pathlib import Path

import numpy as np
from phasic import Graph

N_MOMENTS = 3
HERE = Path(__file__).parent


def kingman(n):
    def transitions(state):
        k = int(state[0])
        return [([k - 1], [k * (k - 1) / 2])] if k > 1 else []

    return Graph(transitions, ipv=[([n], 1.0)])


def islands(n):
    """Two islands; coalescence and migration; the last two lineages end in [1, 0] or [0, 1]."""

    def transitions(state):
        a, b = (int(count) for count in state)
        if a + b == 1:
            return []
        out = []
        for i, k in enumerate((a, b)):
            if k > 1:
                out.append(([a - (i == 0), b - (i == 1)], [k * (k - 1) / 2, 0.0]))
            if k > 0:
                step = -1 if i == 0 else 1
                out.append(([a + step, b - step], [0.0, float(k)]))
        return out

    return Graph(transitions, ipv=[([n, 0], 1.0)])


def tandem(capacity):
    """Two queues in a row until one overflows; three parameters."""

    def transitions(state):
        a, b = (int(count) for count in state)
        if a > capacity or b > capacity:
            return []
        out = [([a + 1, b], [1.0, 0.0, 0.0])]
        if a > 0:
            out.append(([a - 1, b + 1], [0.0, 1.0, 0.0]))
        if b > 0:
            out.append(([a, b - 1], [0.0, 0.0, 1.0]))
        return out

    return Graph(transitions, ipv=[([0, 0], 1.0)])


def equal_states():
    """Two vertices with the state [2], and an absorbing one with the state of the start."""
    graph = Graph(1)
    start = graph.starting_vertex()
    first, second, last = (graph.create_vertex([state]) for state in (2, 2, 0))
    start.add_edge(first, 0.75)
    start.add_edge(second, 0.25)
    first.add_edge(second, [3.0])
    second.add_edge(first, [1.0])
    second.add_edge(last, [0.5])
    return graph


def constant():
    """A ring of three with constant rates, left from one vertex."""
    graph = Graph(1)
    start = graph.starting_vertex()
    a, b, c, end = (graph.find_or_create_vertex([state]) for state in (1, 2, 3, 4))
    start.add_edge(a, 1.0)
    a.add_edge(b, 2.0)
    b.add_edge(c, 1.0)
    c.add_edge(a, 4.0)
    c.add_edge(end, 0.5)
    return graph


CASES = {
    "kingman_15": (kingman(15), [0.7]),
    "islands_8": (islands(8), [1.0, 0.3]),
    "tandem_8": (tandem(8), [0.9, 1.0, 1.2]),
    "equal_states": (equal_states(), [1.3]),
    "constant": (constant(), [1.0]),
}


def main():
    expected = {}
    for name, (graph, theta) in CASES.items():
        fields = graph.serialize()
        if name != "constant":
            graph.update_weights(theta)
        with (HERE / f"{name}.json").open("w") as file:
            json.dump(fields, file, default=np.ndarray.tolist)
        moments = [float(moment) for moment in graph.moments(N_MOMENTS)]
        expected[name] = {"theta": theta[: int(fields["param_length"])], "moments": moments}
    (HERE / "expected.json").write_text(json.dumps(expected, indent=2) + "\n")


if __name__ == "__main__":
    main()
