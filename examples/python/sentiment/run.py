"""Starts a fresh process for each method: its peak memory is its own, and no state passes between methods."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from settings import Settings

HERE = Path(__file__).resolve().parent


def run_method(settings: Settings, name: str) -> dict:
    """Trains one method and gives its figures."""
    directory = settings.method_directory(name)
    directory.mkdir(exist_ok=True)
    _run("train.py", settings, name)
    return json.loads((directory / "result.json").read_text(encoding="utf-8"))


def verify_method(settings: Settings, name: str) -> dict:
    """Reloads what a sparse method saved, and says whether predictions and original bits came back."""
    _run("verify.py", settings, name)
    return json.loads((settings.method_directory(name) / "verified.json").read_text(encoding="utf-8"))


def read_losses(settings: Settings, name: str) -> list[float]:
    """The training losses of a method that has run, one a step."""
    return json.loads((settings.method_directory(name) / "losses.json").read_text(encoding="utf-8"))


def _run(script: str, settings: Settings, name: str) -> None:
    """A script that fails has said why; this process then ends with its status."""
    # What a library will rename in a later version is no news to who runs this.
    command = [sys.executable, "-W", "ignore::FutureWarning", HERE / script, settings.write(), name]
    status = subprocess.run(command, check=False).returncode
    if status < 0:
        sys.exit(f"error: {script} for {name} was ended by signal {-status} (9 is often too little memory)")
    if status:
        sys.exit(status)
