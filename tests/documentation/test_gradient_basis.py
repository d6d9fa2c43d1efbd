"""The example of a gradient basis, for a few steps."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

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
    for name, of_outputs in report["outputs"].items():  # rows of padding are zero, and no others
        assert name in run.stdout
        assert of_outputs["nonzero_rows"] == pytest.approx(1 - report["padding"])
        assert of_outputs["rows_with_99_percent"] <= of_outputs["nonzero_rows"]
        assert of_outputs["nonzero_entries"] <= of_outputs["nonzero_rows"]
    assert 0 < report["padding"] < 1
    for picture in ("basis.png", "strides.png"):
        assert (tmp_path / picture).read_bytes().startswith(b"\x89PNG")
