"""The core's stores, plans and shared tasks under ThreadSanitizer, used by many threads at once."""

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# All of the core but what needs Python or XLA.
SOURCES = sorted(
    path
    for path in (ROOT / "src_cpp").glob("*.cpp")
    if path.name not in ("module.cpp", "ffi_handlers.cpp")
)
# Blocks that take a moment here are shared, as those are elsewhere that take a millisecond.
SHARED = "-DPHASIC_MPI_SHARED_PRODUCTS=100000"
FLAGS = ["-std=c++20", "-O1", "-g1", "-fsanitize=thread", "-ffp-contract=off", SHARED]


def compile_with_threads(*arguments: str | Path) -> None:
    command = ["g++", *FLAGS, "-I", ROOT / "src_cpp", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def compiled(source: Path, directory: Path) -> Path:
    made = directory / f"{source.stem}.o"
    compile_with_threads("-c", source, "-o", made)
    return made


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The core as object files under ThreadSanitizer."""
    directory = tmp_path_factory.mktemp("core")
    with ThreadPoolExecutor(os.cpu_count()) as compilers:
        return list(compilers.map(lambda source: compiled(source, directory), SOURCES))


def run(source: Path, objects: list[Path], directory: Path) -> subprocess.CompletedProcess[str]:
    program = directory / source.stem
    compile_with_threads(source, *objects, "-o", program, "-pthread")
    return subprocess.run([program], capture_output=True, text=True, timeout=300, check=False)


def test_threads_share_the_core_without_a_race(library: list[Path], tmp_path: Path) -> None:
    done = run(ROOT / "tests" / "threads.cpp", library, tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


def test_a_race_is_noticed(tmp_path: Path) -> None:
    source = tmp_path / "race.cpp"
    source.write_text(
        "#include <thread>\n"
        "int count = 0;\n"
        "int main() {\n"
        "  std::thread other([] { ++count; });\n"
        "  ++count;\n"
        "  other.join();\n"
        "}\n"
    )
    done = run(source, [], tmp_path)
    assert done.returncode != 0
    assert "data race" in done.stderr
