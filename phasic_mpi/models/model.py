"""What a bundled model states about itself."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import SupportsIndex

from phasic_mpi.errors import ConfigError
from phasic_mpi.graph import PhaseTypeGraph

# Vertices are numbered in 32 bits.
_LARGEST_GRAPH = 2**31 - 1


@dataclass(frozen=True)
class Setting:
    """One integer that a model is built with."""

    name: str
    default: int
    smallest: int
    meaning: str


@dataclass(frozen=True)
class Model:
    """A family of graphs.

    Attributes:
        name: Name on the command line.
        summary: What it describes, in one line.
        settings: Integers that choose one graph of the family.
        parameters: Names of the entries of theta.
        theta: Values of theta to show the model with.
        source: Publication it is taken from.
        n_vertices: Number of vertices of the graph for settings, given by name; any number above
            the largest legal one where there are more.
        build: Makes the graph from them.
    """

    name: str
    summary: str
    settings: tuple[Setting, ...]
    parameters: tuple[str, ...]
    theta: tuple[float, ...]
    source: str
    n_vertices: Callable[..., int]
    build: Callable[..., PhaseTypeGraph]

    def graph(self, values: Mapping[str, int | str]) -> PhaseTypeGraph:
        """Builds the graph for these settings; those left out have their defaults.

        Raises:
            ConfigError: An unknown setting, one that is not an integer in its range, or more
                vertices than a graph can have.
        """
        known = {setting.name: setting for setting in self.settings}
        unknown = [name for name in values if name not in known]
        if unknown:
            raise ConfigError(
                f"Model '{self.name}' cannot be built",
                problem=f"expected settings among {', '.join(known)}, got {', '.join(unknown)}",
                resolution=f"see: python -m phasic_mpi model {self.name} --help",
            )
        chosen = {
            setting.name: self._value(setting, values.get(setting.name, setting.default))
            for setting in self.settings
        }
        n_vertices = self.n_vertices(**chosen)
        if n_vertices > _LARGEST_GRAPH:
            raise ConfigError(
                f"Model '{self.name}' cannot be built",
                problem=f"expected at most {_LARGEST_GRAPH} vertices, got {n_vertices:.4g}",
                context=chosen,
                resolution="choose smaller settings",
            )
        return self.build(**chosen)

    def _value(self, setting: Setting, given: int | str) -> int:
        value = _integer(given)
        if value is None or not setting.smallest <= value <= _LARGEST_GRAPH:
            raise ConfigError(
                f"Model '{self.name}' cannot be built",
                problem=f"setting '{setting.name}': expected an integer in "
                f"{setting.smallest}..{_LARGEST_GRAPH}, got {given!r:.60}",
                resolution=f"see: python -m phasic_mpi model {self.name} --help",
            )
        return value


def _integer(given: object) -> int | None:
    """An integer or its decimal digits; not 3.0, and not True, which Python counts as 1."""
    if isinstance(given, str):
        return int(given) if re.fullmatch(r"[+-]?[0-9]{1,19}", given) else None
    if isinstance(given, bool) or not isinstance(given, SupportsIndex):
        return None
    return operator.index(given)
