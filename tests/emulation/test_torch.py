"""PyTorch's integration on the CUDA backend's own sources, emulated on the CPU, beside the CPU."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

HERE = Path(__file__).parent
FOLDER = HERE.parents[1] / "build/lib/emulated"


def test_lives_on_an_emulated_gpu_are_those_of_the_cpu():
    """In a process of its own: there the emulated device may use all memory, as PyTorch has no other."""
    environment = {**os.environ, "SPEFT_BACKEND_PATH": str(FOLDER), "SPEFT_EMULATED_ANY_MEMORY": "1"}
    done = subprocess.run(
        [sys.executable, HERE / "torch_lives.py"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
