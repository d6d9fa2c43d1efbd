"""``python -m benchmarks.footprint [--out file]``: CPU time and memory of a step, in a process for each method.

As Table 3 of SparseGrad's paper, with MiniLM-L6 instead of RoBERTa. One core's CPU time is what other work on
the machine changes least; what all cores make of it is in the group ``training``.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

WARM_UP, STEPS = 2, 8
_KINDS = ("loaded", "preparing", "training")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.footprint", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out/bench/footprint.json"), help="(%(default)s)")
    parser.add_argument("--method", type=int, help=argparse.SUPPRESS)  # which one this process measures
    arguments = parser.parse_args()
    if arguments.method is not None:
        print(json.dumps(_measure(arguments.method)))
        return
    from .machine import describe
    from .training_step import ours, peers

    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.footprint", "--method"]
    methods = []
    headings = "".join(f"{f'{kind}, MB':>16}" for kind in _KINDS)
    print(f"{'':42}{'CPU time of a step':>20}{headings}", flush=True)
    for number, name in enumerate({**ours(), **peers()}):
        run = subprocess.run([*command, str(number)], stdout=subprocess.PIPE, text=True, check=True)
        found = json.loads(run.stdout)
        methods.append({"name": name, **found})
        megabytes = "".join(f"{found[f'{kind}_bytes'] / 1e6:>16,.0f}" for kind in _KINDS)
        print(f"{name:42}{1e3 * found['cpu_seconds']:>17,.0f} ms{megabytes}", flush=True)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    report = {"machine": describe(), "steps": STEPS, "methods": methods}
    arguments.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def _measure(number: int) -> dict[str, float]:
    """Resident bytes: of the model alone, and at most while the method is made ready and while it trains."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # before libraries count the cores
    import torch

    from .training_step import Classifier, ours, peers, training

    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = Classifier()
    loaded = resident("VmRSS")
    forget_peak()
    step = training(model, list({**ours(), **peers()}.values())[number])
    preparing = resident("VmHWM")
    forget_peak()
    seconds = []
    for _ in range(WARM_UP + STEPS):
        started = time.process_time()
        step()
        seconds.append(time.process_time() - started)
    return {
        "cpu_seconds": statistics.median(seconds[WARM_UP:]),
        "loaded_bytes": loaded,
        "preparing_bytes": preparing,
        "training_bytes": resident("VmHWM"),
    }


def resident(what: str) -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{what}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {what} line")


def forget_peak() -> None:
    """From here on VmHWM is that of what follows."""
    Path("/proc/self/clear_refs").write_text("5")


if __name__ == "__main__":
    main()
