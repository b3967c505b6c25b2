"""What a bundled model states about itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from phasic_mpi.builder import MOST_VERTICES, build_graph
from phasic_mpi.errors import ConfigError
from phasic_mpi.exploration import OnProgress, StateFunction
from phasic_mpi.graph import PhaseTypeGraph
from phasic_mpi.models.settings import Setting
from phasic_mpi.rule import Batch, Rule


@dataclass(frozen=True)
class Parameter:
    """An entry of theta: its name, a value to show the model with, and what it means."""

    name: str
    example: float
    meaning: str


@dataclass(frozen=True)
class Reward:
    """A reward per unit of time: its name, a function of states, and what it means."""

    name: str
    function: StateFunction
    meaning: str


@dataclass(frozen=True, eq=False)
class Process:
    """A Markov jump process by its rule; see :func:`phasic_mpi.builder.build_graph`.

    Attributes:
        initial: ``int32[state_length]``, or one initial state per row.
        transitions: The rule.
        parameters: The entries of theta.
        state_names: Names of the integers of a state.
        rewards: Rewards to keep with the graph.
        absorbing: Which states are not left; None if those are the ones that no transition leaves.
        initial_probabilities: ``float[n_initial]``; None for one initial state.
    """

    initial: ArrayLike
    transitions: Rule
    parameters: tuple[Parameter, ...]
    state_names: tuple[str, ...]
    rewards: tuple[Reward, ...] = ()
    absorbing: StateFunction | None = None
    initial_probabilities: ArrayLike | None = None

    def theta(self) -> list[float]:
        """Values of the parameters to show the process with."""
        return [parameter.example for parameter in self.parameters]

    def graph(
        self,
        *,
        max_vertices: int = MOST_VERTICES,
        memory: int | None = None,
        progress: OnProgress | None = None,
    ) -> PhaseTypeGraph:
        """Explores the process; limits and errors as in :func:`build_graph`."""
        return build_graph(
            self.initial,
            self.transitions,
            initial_probabilities=self.initial_probabilities,
            parameters=[parameter.name for parameter in self.parameters],
            state_names=self.state_names,
            absorbing=self.absorbing,
            rewards={reward.name: reward.function for reward in self.rewards},
            max_vertices=max_vertices,
            memory=memory,
            progress=progress,
        )


@dataclass(frozen=True, eq=False)
class Model:
    """A family of processes.

    Attributes:
        name: Name on the command line.
        summary: What it describes, in one line.
        settings: What chooses one process of the family.
        process: Makes it from the settings, given by name; raises ValueError, which says what is
            expected, for settings that do not fit together.
        source: Publication it is taken from.
        n_vertices: Number of vertices of the graph for settings, given by name; any number above
            the largest legal one where there are more. None where no formula is known.
    """

    name: str
    summary: str
    settings: tuple[Setting, ...]
    process: Callable[..., Process]
    source: str
    n_vertices: Callable[..., int] | None = None

    def choose(self, values: Mapping[str, object]) -> Process:
        """The process for these settings; those left out have their defaults.

        Raises:
            ConfigError: An unknown setting, one that is not what it should be, settings that do
                not fit together, or more vertices than a graph can have.
        """
        known = [setting.name for setting in self.settings]
        unknown = [name for name in values if name not in known]
        if unknown:
            raise self._refusal(
                f"expected settings among {', '.join(known)}, got {', '.join(unknown)}"
            )
        chosen = {
            setting.name: self._read(setting, values.get(setting.name, setting.default))
            for setting in self.settings
        }
        try:
            n_vertices = 0 if self.n_vertices is None else self.n_vertices(**chosen)
            if n_vertices <= MOST_VERTICES:
                return self.process(**chosen)
        except ValueError as exc:
            raise self._refusal(f"expected {exc}, got {_shown(chosen)}") from exc
        raise self._refusal(f"expected at most {MOST_VERTICES} vertices, got {n_vertices:.4g}")

    def graph(self, values: Mapping[str, object], **limits: Any) -> PhaseTypeGraph:
        """Builds the graph for these settings; limits as in :meth:`Process.graph`.

        Raises:
            ConfigError: As :meth:`choose`.
            GraphError: As :meth:`Process.graph`.
        """
        return self.choose(values).graph(**limits)

    def _read(self, setting: Setting, given: object) -> object:
        try:
            return setting.read(given)  # type: ignore[arg-type]
        except ValueError as exc:
            raise self._refusal(
                f"setting '{setting.name}': expected {exc}, got {given!r:.60}"
            ) from exc

    def _refusal(self, problem: str) -> ConfigError:
        return ConfigError(
            f"Model '{self.name}' cannot be built",
            problem=problem,
            resolution=f"see: python -m phasic_mpi model {self.name} --help",
        )


def every(states: NDArray[np.int32]) -> NDArray[np.int64]:
    """Rows of all states, for transitions that may leave any of them."""
    return np.arange(len(states))


def moves(
    states: NDArray[np.int32],
    steps: NDArray[np.int32],
    rates: NDArray[np.float64],
    coefficients: NDArray[np.float64],
) -> Batch:
    """Transitions that add a step to a state, all of them in one batch.

    Args:
        states: ``int32[m, state_length]``.
        steps: ``int32[q, state_length]``.
        rates: ``float64[m, q]``, 0 where a step cannot be taken.
        coefficients: ``float64[q, n_parameters]``, what the rate of each step is multiplied with.
    """
    row, step = np.nonzero(rates)
    target = states[row] + steps[step]
    coefficient = rates[row, step][:, np.newaxis] * coefficients[step]
    return row, target, coefficient


def shifted(states: NDArray[np.int32], *step: int) -> NDArray[np.int32]:
    """The states with a step added to each."""
    return states + np.array(step, dtype=np.int32)


def _shown(settings: Mapping[str, object]) -> str:
    values = {
        name: value.tolist() if isinstance(value, np.ndarray) else value
        for name, value in settings.items()
    }
    return ", ".join(f"{name} = {value}" for name, value in values.items())
