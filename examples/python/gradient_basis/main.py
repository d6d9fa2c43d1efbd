"""Is the gradient of a feed-forward matrix sparse in a basis that was learned from earlier gradients?

SparseGrad (Chekalina et al. 2024, section 3.1 and figure 2) says so of BERT. This program asks it of MiniLM-L6 on movie
reviews: it fine-tunes the feed-forward matrices and a new head, fits one basis for all up-projections and one for all
down-projections to the gradients of the first 30 steps, and looks at those of the 10 steps after them: how much of a
gradient lies in its largest entries, as it is, in the basis, and in a basis that knows nothing. And of ∂L/∂Y, from
which dW is made, it counts over all steps what is zero (figure 3).

Start here. Beside this file: `gradients.py` has the training, `concentration.py` and `strides.py` the measures,
`picture.py` basis.png and strides.png.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import speft
from concentration import SHARES, Concentration, random_basis
from gradients import Kind, feed_forward_kinds, training_gradients
from picture import write_picture, write_stride_picture
from strides import Strides, mean_of

BASES = ("as it is", "in the basis", "in a random basis")


def main() -> None:
    arguments = read_arguments()
    context = speft.Context("cpu", threads=arguments.threads)
    out = Path(arguments.out)
    out.mkdir(parents=True, exist_ok=True)
    kinds = feed_forward_kinds()
    bases = {kind.name: speft.Basis(context, *kind.shape) for kind in kinds}
    measured = {kind.name: {basis: Concentration() for basis in BASES} for kind in kinds}
    rotations: dict[str, dict[str, tuple[np.ndarray, np.ndarray]]] = {}
    seconds = {kind.name: 0.0 for kind in kinds}
    example: dict[str, np.ndarray] = {}
    example_of_outputs: dict[str, np.ndarray] = {}
    strides: dict[str, list[Strides]] = {kind.name: [] for kind in kinds}
    padding: list[float] = []

    steps = arguments.fitted_steps + arguments.measured_steps
    for number, step in enumerate(training_gradients(kinds, steps, arguments.max_rows, arguments.threads)):
        padding.append(step.padding)
        for kind in kinds:
            strides[kind.name].append(mean_of([Strides.of(dy) for dy in step.outputs[kind.name]]))
        if number < arguments.fitted_steps:
            for kind in kinds:
                started = time.perf_counter()
                for gradient in step.weights[kind.name]:
                    bases[kind.name].observe(dense=gradient)
                seconds[kind.name] += time.perf_counter() - started
            continue
        if not rotations:
            rotations = {kind.name: fit(bases[kind.name], kind, seconds) for kind in kinds}
        for kind in kinds:
            for gradient in step.weights[kind.name]:
                for basis, (u, v) in rotations[kind.name].items():
                    rotated = v @ gradient @ u.T if u.size else gradient
                    measured[kind.name][basis].add(rotated)
        if not example:
            name = kinds[0].name
            u, v = rotations[name]["in the basis"]
            dw, dy = step.weights[name][-1], step.outputs[name][-1]
            example = {"as it is": dw, "in the basis": v @ dw @ u.T}
            example_of_outputs = {"as it is": dy, "in the basis": dy @ v.T}

    report = {
        "fitted_steps": arguments.fitted_steps,
        "measured_steps": arguments.measured_steps,
        "seconds_fitting": seconds,
        "directions": {name: vars(basis.state) for name, basis in bases.items()},
        "share_of_squares": {
            name: {basis: measure.shares() for basis, measure in by_basis.items()}
            for name, by_basis in measured.items()
        },
        "padding": sum(padding) / steps,
        "outputs": {name: vars(mean_of(of_kind)) for name, of_kind in strides.items()},
    }
    (out / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    write_picture(measured, example, kinds[0].name, out / "basis.png")
    write_stride_picture(strides, padding, example_of_outputs, kinds[0].name, out / "strides.png")
    print_table(report)
    print(f"{out}/report.json, basis.png and strides.png are written")


def fit(basis: speft.Basis, kind: Kind, seconds: dict[str, float]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """(U, V) of each of BASES; empty ones leave a gradient as it is."""
    started = time.perf_counter()
    basis.fit()
    seconds[kind.name] += time.perf_counter() - started
    u, v = (np.from_dlpack(matrix) for matrix in basis.matrices())
    none = np.empty((0, 0), np.float32)
    rows, columns = kind.shape
    learned_nothing = random_basis(columns, seed=1), random_basis(rows, seed=2)
    return dict(zip(BASES, ((none, none), (u, v), learned_nothing), strict=True))


def print_table(report: dict) -> None:
    heads = "".join(f"{f'largest {share:g}%':>14}" for share in SHARES)
    print(f"{'share of a gradient’s squares in its':42}{heads}")
    for name, by_basis in report["share_of_squares"].items():
        for basis, shares in by_basis.items():
            cells = "".join(f"{shares[f'{share:g}%']:>14.1%}" for share in SHARES)
            print(f"{f'{name}, {basis}':42}{cells}")
    print(f"\n{'of ∂L/∂Y':42}{'entries not 0':>14}{'rows not 0':>14}{'rows with 99%':>14}")
    for name, shares in report["outputs"].items():
        print(f"{name:42}{''.join(f'{share:>14.1%}' for share in shares.values())}")
    print(f"{'tokens that are no padding':42}{1 - report['padding']:>28.1%}\n")
    for name, spent in report["seconds_fitting"].items():
        print(f"{name}: fitted in {spent:.1f} s")


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="out/basis", help="a directory (%(default)s)")
    parser.add_argument("--fitted-steps", type=int, default=30, help="steps that are fitted to (%(default)s)")
    parser.add_argument("--measured-steps", type=int, default=10, help="steps after them (%(default)s)")
    parser.add_argument("--max-rows", type=int, default=None, help="use only so many texts")
    parser.add_argument("--threads", type=int, default=2, help="(%(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
