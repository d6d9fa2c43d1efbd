"""The README's marked Python examples run as they stand, each in a fresh interpreter and an empty folder."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).resolve().parents[2] / "README.md"
MARKED = re.compile(
    r"^<!-- test: (?P<name>[\w-]+) -->\n```python\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL
)
EXAMPLES = {match["name"]: match["code"] for match in MARKED.finditer(README.read_text(encoding="utf-8"))}


def test_the_first_example_is_there_and_short() -> None:
    assert len(EXAMPLES["python-example"].splitlines()) <= 16


@pytest.mark.parametrize("name", EXAMPLES)
def test_example_runs(name: str, tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", "-c", EXAMPLES[name]]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
