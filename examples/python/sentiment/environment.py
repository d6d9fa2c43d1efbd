"""What a comparison ran on: the figures of another machine, or of other versions, differ."""

from __future__ import annotations

import datetime
import os
import platform
from importlib.metadata import version
from pathlib import Path

PACKAGES = ("speft", "torch", "transformers", "peft", "numpy")


def describe_environment() -> dict:
    """The date, the machine and the versions, for report.json and the page."""
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "processor": processor_name(),
        "cores": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": platform.platform(),
        "versions": {"Python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
    }


def processor_name() -> str:
    """As Linux on x86 names it; elsewhere, the name of the architecture."""
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
