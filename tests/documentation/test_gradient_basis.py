"""The example of a gradient basis, for a few steps."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).resolve().parents[2] / "examples" / "python" / "gradient_basis" / "main.py"


def test_gradients_are_more_concentrated_in_the_basis(tmp_path: Path) -> None:
    options = ["--fitted-steps", "3", "--measured-steps", "1", "--max-rows", "200", "--out", tmp_path]
    run = subprocess.run([sys.executable, PROGRAM, *options], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    for name, by_basis in report["share_of_squares"].items():
        assert by_basis["in the basis"]["1%"] > by_basis["as it is"]["1%"] > by_basis["in a random basis"]["1%"]
        assert name in run.stdout
    assert all(state["observations"] == 3 * 6 for state in report["directions"].values())
    assert (tmp_path / "basis.png").read_bytes().startswith(b"\x89PNG")
