"""libspeft as a C programmer has it: headers and libraries under a prefix."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
BUILD = REPOSITORY / os.environ.get("SPEFT_BUILD", "build")


@pytest.fixture(scope="session")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the libspeft of the build tree is installed for these tests."""
    prefix = tmp_path_factory.mktemp("libspeft")
    cmake = Path(sys.executable).with_name("cmake")
    for component in ("runtime", "development"):
        command = [cmake, "--install", BUILD, "--prefix", prefix, "--component", component]
        subprocess.run(command, check=True, capture_output=True)
    return prefix
