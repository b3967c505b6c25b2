"""The Python in the documentation runs, and prints what the documentation shows."""

import re
from pathlib import Path

import pytest

from tests.launch import launch

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHOWN = re.compile(r"^```text\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TUTORIALS = sorted(str(page.relative_to(ROOT)) for page in ROOT.glob("docs/tutorials/*.md"))
PAGES = [
    "README.md",
    "docs/inference.md",
    "docs/interchange.md",
    "docs/models.md",
    "docs/replay.md",
    *TUTORIALS,
]


@pytest.mark.parametrize("page", PAGES)
def test_the_python_of_a_page_runs_from_its_first_block_to_its_last(
    page: str, tmp_path: Path
) -> None:
    text = (ROOT / page).read_text("utf-8")
    blocks = BLOCK.findall(text)
    assert blocks
    env = {"MPLBACKEND": "Agg"}
    done = launch(["-c", "\n".join(blocks)], cwd=tmp_path, env=env, timeout=200)
    assert done.returncode == 0, done.stderr
    printed = done.stdout
    for shown in SHOWN.findall(text):
        before, found, printed = printed.partition(shown)
        assert found, f"not printed, or not in this place:\n{shown}\nbut:\n{before}"
