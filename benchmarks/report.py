"""The rows as a table for the terminal, and as JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .machine import Machine
from .row import Row

_LINE = "{:<42} {:>10} {:>9} {:>8} {:>11} {:>8}  {}"


def header(machine: Machine) -> str:
    """The measured limits, and the table's column titles."""
    limits = (
        f"{machine.device}, {machine.threads} threads; copy {machine.copy_bandwidth / 1e9:.1f} GB/s; dense products: "
        f"bfloat16 {machine.bfloat16_rate / 1e9:.0f}, float32 {machine.float32_rate / 1e9:.0f} GFLOP/s"
    )
    return limits + "\n\n" + _LINE.format("", "time", "× limit", "target", "peer", "faster", "peer is")


def line(row: Row) -> str:
    """One row of the table."""
    return _LINE.format(
        row.name,
        readable(row.seconds),
        ratio(row.over_limit),
        "" if row.target is None else f"≤ {row.target:g}",
        "" if row.peer_seconds is None else readable(row.peer_seconds),
        "" if row.over_peer is None else f"{ratio(row.over_peer)}×",
        row.peer,
    ).rstrip()


def readable(seconds: float) -> str:
    """A duration in the unit that leaves one to three digits before the point."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}" if seconds < 1000 * size else f"{seconds / size:.0f} {unit}"
    return f"{seconds * 1e6:.3g} µs"


def ratio(times: float) -> str:
    """Two decimals of what is small, none of what is large."""
    return f"{times:.2f}" if times < 10 else f"{times:.1f}" if times < 100 else f"{times:,.0f}"


def write_json(path: Path, facts: dict[str, Any], machine: Machine, rows: Sequence[Row]) -> None:
    """Everything that was measured. ``null`` where there is nothing."""
    report = {"machine": {**facts, **asdict(machine)}, "rows": [asdict(row) for row in rows]}
    path.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
