"""The command ``model``: which bundled models there are, what each takes, and the graph of one."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence

from phasic_mpi import log
from phasic_mpi.display import Progress, Table, print_tables, size
from phasic_mpi.errors import ConfigError
from phasic_mpi.graph_io import require_graph_name, save_graph
from phasic_mpi.models import MODELS, Model, find_model
from phasic_mpi.names import listed


def model(options: argparse.Namespace) -> int:
    """Lists the bundled models, describes one, or writes its graph."""
    if options.list or options.name is None:
        print_tables(_list())
        return 0
    chosen = find_model(options.name)
    values = _settings(options.set)
    if options.help:
        print_tables(*_description(chosen, values))
        return 0
    if options.output is None:
        raise ConfigError(
            "There is nowhere to write the graph to",
            problem="expected -o GRAPH, got none",
            resolution="name a file that ends in .json or .h5",
        )
    require_graph_name(options.output)
    with Progress(enabled=True, counted="states") as progress:
        graph = chosen.graph(
            values,
            memory=options.memory,
            progress=lambda explored, found: progress.update("explore", explored, found),
            **({} if options.max_vertices is None else {"max_vertices": options.max_vertices}),
        )
        progress.update("write", 0, 0)
        n_bytes = save_graph(graph, options.output)
    log.get_logger().info(
        "%s: %d vertices, %d edges, %d parameters, %s",
        options.output,
        graph.n_vertices,
        graph.n_edges,
        graph.n_parameters,
        size(n_bytes),
    )
    return 0


def _settings(given: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Values by name, each of which is given once."""
    values = dict(given)
    if len(values) < len(given):
        raise ConfigError(
            "The settings contradict each other",
            problem="expected --set once for each setting, got "
            + ", ".join(f"{name}={value}" for name, value in given),
            resolution="leave out all but one value of each",
        )
    return values


def _list() -> Table:
    table = Table("Bundled models", "model", "what it describes")
    for entry in MODELS.values():
        table.add(entry.name, entry.summary)
    table.note = "Settings, parameters and source of one: python -m phasic_mpi model NAME --help"
    return table


def _description(model: Model, values: Mapping[str, object]) -> list[Table]:
    """What the model takes and gives; parameters and rewards may depend on the settings."""
    process = model.choose(values)
    settings = Table(f"{model.name}: {model.summary}", "setting", "default", "meaning")
    for setting in model.settings:
        default = setting.default if setting.default != "" else "none"
        settings.add(f"--set {setting.name}=", str(default), setting.meaning)
    settings.note = f"Source: {model.source}"
    parameters = Table("Parameters", "theta", "for example", "meaning")
    if not process.parameters:
        parameters.add("none", "", "all rates are constant")
    for parameter in process.parameters:
        parameters.add(parameter.name, f"{parameter.example:g}", parameter.meaning)
    tables = [settings, parameters]
    if process.rewards:
        tables.append(Table("Rewards per unit of time", "reward", "meaning"))
        for reward in process.rewards:
            tables[-1].add(reward.name, reward.meaning)
    tables[-1].note = f"States: {listed(process.state_names)}"
    return tables
