"""House rules: formatting, lint, types and shell scripts, by the tools beside this Python."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
TOOLS = Path(sys.executable).parent

SHELL_SHEBANG = re.compile(rb"#!.*\b(?:ba|da)?sh\b")
HOME = re.compile(r"/(?:home|root|Users)/\w")
TEXT_SUFFIXES = {".cpp", ".hpp", ".md", ".py", ".pyi", ".sh", ".toml", ".txt", ".yaml", ".yml", ""}
GENERATED = {"build", "dist", "__pycache__"}


def run(tool: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [TOOLS / tool, *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )


def our_files() -> Iterator[Path]:
    """Files of the repository that somebody wrote; of the hidden ones only those of ``.ci``."""
    for path in sorted(ROOT.rglob("*")):
        folders = path.relative_to(ROOT).parts[:-1]
        hidden = any(name.startswith(".") and name != ".ci" for name in folders)
        if path.is_file() and not hidden and GENERATED.isdisjoint(folders):
            yield path


def shell_scripts() -> list[Path]:
    return [path for path in our_files() if SHELL_SHEBANG.match(path.read_bytes()[:80])]


def test_ruff_finds_nothing_to_mend() -> None:
    done = run("ruff", "check", ".")
    assert done.returncode == 0, done.stdout


def test_ruff_finds_nothing_to_format() -> None:
    done = run("ruff", "format", "--check", ".")
    assert done.returncode == 0, done.stdout


def test_mypy_finds_no_wrong_type() -> None:
    done = run("mypy")
    assert done.returncode == 0, done.stdout


def test_clang_format_finds_nothing_to_format() -> None:
    sources = sorted([*(ROOT / "src_cpp").glob("*.[ch]pp"), *(ROOT / "tests").glob("*.cpp")])
    done = run("clang-format", "--dry-run", "-Werror", *sources)
    assert done.returncode == 0, done.stdout


def test_shellcheck_finds_nothing_in_the_shell_scripts() -> None:
    done = run("shellcheck", *shell_scripts())
    assert done.returncode == 0, done.stdout


def test_the_shell_scripts_are_found() -> None:
    assert ROOT / ".ci" / "run" in shell_scripts()


def test_no_file_names_somebodys_home_directory() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line}"
        for path in our_files()
        if path.suffix in TEXT_SUFFIXES
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if HOME.search(line)
    ]
    assert not found, "\n".join(found)
