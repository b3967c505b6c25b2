"""The Python in the documentation runs."""

import re
from pathlib import Path

import pytest

from tests.launch import launch

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(
    "page",
    ["README.md", "docs/inference.md", "docs/interchange.md", "docs/models.md", "docs/replay.md"],
)
def test_the_python_of_a_page_runs_from_its_first_block_to_its_last(page: str) -> None:
    blocks = BLOCK.findall((ROOT / page).read_text("utf-8"))
    assert blocks
    done = launch(["-c", "\n".join(blocks)])
    assert done.returncode == 0, done.stderr
