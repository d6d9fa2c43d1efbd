"""libspeft as a C programmer has it: headers and libraries under a prefix."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def prefix() -> Path:
    """Where libspeft is installed: SPEFT_ROOT, or where set-up does it."""
    prefix = Path(os.environ.get("SPEFT_ROOT", REPOSITORY / "build" / "installed"))
    assert (prefix / "include" / "speft" / "speft.h").is_file(), f"{prefix} is no installed libspeft"
    return prefix
