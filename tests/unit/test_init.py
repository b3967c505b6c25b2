import shutil
from pathlib import Path

from tests.launch import ROOT, launch


def test_sources_without_the_compiled_core_say_what_to_do(tmp_path: Path) -> None:
    shutil.copytree(
        ROOT / "phasic_mpi", tmp_path / "phasic_mpi", ignore=shutil.ignore_patterns("*.so")
    )
    # Without site-packages, where an installation in place would be found.
    arguments = ["-S", "-c", "import phasic_mpi"]
    done = launch(arguments, cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)})
    assert done.returncode == 1
    assert "expected a file _core.*.so" in done.stderr
    assert "pip install -e ." in done.stderr


def test_names_are_imported_when_they_are_first_used() -> None:
    program = "import phasic_mpi; print(phasic_mpi.PhaseTypeGraph.__name__, len(dir(phasic_mpi)))"
    done = launch(["-c", program])
    assert done.stdout.split() == ["PhaseTypeGraph", "17"]


def test_a_name_that_does_not_exist_is_an_attribute_error() -> None:
    done = launch(["-c", "import phasic_mpi; phasic_mpi.nothing"])
    assert "has no attribute 'nothing'" in done.stderr
