"""Bundled models: the ``MODEL`` of each module in this package, by name in :data:`MODELS`."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from phasic_mpi.errors import ConfigError
from phasic_mpi.graph import PhaseTypeGraph
from phasic_mpi.models.model import Model

__all__ = ["MODELS", "Model", "build_model", "find_model"]

_MODULES = [import_module(f"{__name__}.{found.name}") for found in iter_modules(__path__)]

MODELS: dict[str, Model] = {
    module.MODEL.name: module.MODEL for module in _MODULES if hasattr(module, "MODEL")
}


def find_model(name: str) -> Model:
    """The bundled model of this name.

    Raises:
        ConfigError: There is none.
    """
    if name not in MODELS:
        raise ConfigError(
            "Unknown model",
            problem=f"expected one of {', '.join(MODELS)}, got {name!r}",
            resolution="list the bundled models with: python -m phasic_mpi model --list",
        )
    return MODELS[name]


def build_model(name: str, **settings: Any) -> PhaseTypeGraph:
    """Builds the graph of a bundled model.

    Args:
        name: A key of :data:`MODELS`.
        settings: Its settings, as values or their text; those left out have defaults.

    Raises:
        ConfigError: An unknown model or setting, or a value out of range.
        GraphError: There are more states than this machine can hold, or some from which absorption
            cannot be reached.
    """
    return find_model(name).graph(settings)
