"""Bundled models: one module each, found by name in :data:`MODELS`."""

from __future__ import annotations

from phasic_mpi.errors import ConfigError
from phasic_mpi.graph import PhaseTypeGraph
from phasic_mpi.models import kingman, structured_coalescent, tandem_queue
from phasic_mpi.models.model import Model

__all__ = ["MODELS", "Model", "build_model"]

MODELS = {
    model.name: model for model in (kingman.MODEL, structured_coalescent.MODEL, tandem_queue.MODEL)
}


def build_model(name: str, **settings: int | str) -> PhaseTypeGraph:
    """Builds the graph of a bundled model.

    Args:
        name: A key of :data:`MODELS`.
        settings: Its settings, as integers or their text; those left out have defaults.

    Raises:
        ConfigError: An unknown model or setting, or a value out of range.
    """
    if name not in MODELS:
        raise ConfigError(
            "Unknown model",
            problem=f"expected one of {', '.join(MODELS)}, got {name!r}",
            resolution="list the bundled models with: python -m phasic_mpi model --list",
        )
    return MODELS[name].graph(settings)
