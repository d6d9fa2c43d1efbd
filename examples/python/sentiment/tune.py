"""Shows how the learning rates in methods.py were chosen: by the accuracy on the validation rows.

The held-out rows are not looked at. All of it takes hours on two cores; ask for less with, for example,
`python tune.py --methods gradient --rates 1e-3 2e-3 --seeds 0`.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import tempfile

from command_line import available_threads
from errors import one_line_errors
from run import run_method
from settings import ALL_METHODS, Settings

RATES = (5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 3e-3, 5e-3, 1e-2, 2e-2, 5e-2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--methods", nargs="+", choices=ALL_METHODS, default=ALL_METHODS)
    parser.add_argument("--rates", nargs="+", type=float, default=RATES)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as out, one_line_errors():
        base = Settings(out=out, threads=available_threads(), evaluate_on="validation")
        print(f"{'method':<24}{'rate':>8}{'accuracy':>10}{'loss':>8}", flush=True)
        for name in options.methods:
            for rate in options.rates:
                runs = [
                    run_method(dataclasses.replace(base, learning_rate=rate, seed=seed), name)
                    for seed in options.seeds
                ]
                accuracy = statistics.mean(run["accuracy"] for run in runs)
                loss = statistics.mean(run["loss"] for run in runs)
                print(f"{name:<24}{rate:>8.0e}{accuracy:>10.1%}{loss:>8.3f}", flush=True)


if __name__ == "__main__":
    main()
