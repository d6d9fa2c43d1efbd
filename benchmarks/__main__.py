"""``python -m benchmarks [--device cuda] [--only group …] [--out directory]``: measures, prints, writes the reports."""

from __future__ import annotations

import argparse
from importlib import import_module
from pathlib import Path

import torch

from .machine import Machine, describe
from .picture import draw
from .report import header, line, write_json
from .row import Row

GROUPS = {
    "training": "training_step",
    "activations": "activations",
    "selection": "selection",
    "accumulation": "accumulation",
    "step": "optimizer_step",
    "merging": "merging",
    "reselection": "reselection",
    "basis": "basis",
    "quantized": "quantized",
}
"""The module of each; those that are not asked for need not find what they import."""


def main() -> None:
    arguments = _read_arguments()
    torch.manual_seed(0)
    facts = describe()
    machine = Machine.measure(arguments.device)
    print(header(machine), flush=True)
    rows: list[Row] = []
    for group in arguments.only:
        for row in import_module(f".{GROUPS[group]}", __package__).measure(machine):
            print(line(row), flush=True)
            rows.append(row)
    arguments.out.mkdir(parents=True, exist_ok=True)
    write_json(arguments.out / "report.json", facts, machine, rows)
    name = facts["gpu"] if machine.device == "cuda" else f"{facts['processor']}, {machine.threads} threads"
    title = f"{name}, {facts['date'][:10]}"
    draw(arguments.out / "report.png", rows, title)
    print(f"\n{arguments.out}/report.json and report.png are written")


def _read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="(%(default)s)")
    parser.add_argument(
        "--only", nargs="+", choices=GROUPS, default=list(GROUPS), metavar="group", help=", ".join(GROUPS)
    )
    parser.add_argument("--out", type=Path, default=Path("out/bench"), help="a directory (%(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
