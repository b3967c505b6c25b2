"""What a bundled model states about itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from phasic_mpi.errors import ConfigError
from phasic_mpi.graph import PhaseTypeGraph


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
        build: Makes the graph from the settings, given by name.
    """

    name: str
    summary: str
    settings: tuple[Setting, ...]
    parameters: tuple[str, ...]
    theta: tuple[float, ...]
    source: str
    build: Callable[..., PhaseTypeGraph]

    def graph(self, values: Mapping[str, int | str]) -> PhaseTypeGraph:
        """Builds the graph for these settings; those left out have their defaults.

        Raises:
            ConfigError: An unknown setting, or one that is not an integer in its range.
        """
        known = {setting.name: setting for setting in self.settings}
        unknown = [name for name in values if name not in known]
        if unknown:
            raise ConfigError(
                f"Model '{self.name}' cannot be built",
                problem=f"expected settings among {', '.join(known)}, got {', '.join(unknown)}",
                resolution=f"see: python -m phasic_mpi model {self.name} --help",
            )
        return self.build(
            **{
                setting.name: self._value(setting, values.get(setting.name, setting.default))
                for setting in self.settings
            }
        )

    def _value(self, setting: Setting, given: int | str) -> int:
        try:
            value = int(given)
        except ValueError:
            value = setting.smallest - 1
        if value < setting.smallest:
            raise ConfigError(
                f"Model '{self.name}' cannot be built",
                problem=f"setting '{setting.name}': expected an integer of at least "
                f"{setting.smallest}, got {given!r}",
                resolution=f"see: python -m phasic_mpi model {self.name} --help",
            )
        return value
