"""Fine-tunes MiniLM-L6 sparsely in JAX, on the PyTorch example's data: start here, with `--help`.

Beside this file:
    minilm.py    the model: functions of a dict of arrays    texts.py    the texts, split and ordered as there
    train.py     one method, in a process of its own         predict.py  predictions, and comparing bits
    verify.py    reload and unmerge, checked
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import os
import platform
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

from texts import load_batches

# isort: split
from errors import one_line_errors
from settings import Settings

METHODS = ("head-only", "random", "gradient", "spiel-ag")
PACKAGES = ("speft", "jax", "jaxlib", "numpy", "tokenizers")
HERE = Path(__file__).resolve().parent

COLUMNS = (
    ("accuracy", "accuracy", "{:.1%}".format),
    ("loss", "loss", "{:.3f}".format),
    ("trained scalars", "trained", "{:,}".format),
    ("density", "density", "{:.2%}".format),
    ("adapter file", "adapter_bytes", lambda size: f"{size / 1e3:,.0f} kB"),
    ("time of a step", "seconds_per_step", lambda seconds: f"{1e3 * seconds:,.0f} ms"),
    ("peak memory", "peak_rss_bytes", lambda size: f"{size / 1e6:,.0f} MB"),
)


def read_command_line() -> tuple[Settings, list[str]]:
    """The settings, and the names of the methods to compare."""
    parser = argparse.ArgumentParser(
        prog="main.py",
        description=__doc__.partition("\n")[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    defaults = Settings(out="out/demo-jax", threads=len(os.sched_getaffinity(0)))
    parser.set_defaults(**dataclasses.asdict(defaults), methods=METHODS)
    parser.add_argument("--out", metavar="DIRECTORY", help="for the results")
    parser.add_argument(
        "--methods", metavar="METHOD", nargs="+", choices=METHODS, help=f"of {', '.join(METHODS)}"
    )
    for option, text in (
        ("--steps", "training steps"),
        ("--batch-size", "texts in a step"),
        ("--salience-batches", "batches by whose gradients a mask is chosen"),
        ("--max-tokens", "where longer texts are cut"),
        ("--max-rows", "use only so many rows"),
        ("--seed", "of the head, random masks and the order of the rows"),
        ("--threads", "CPU threads of libspeft"),
    ):
        parser.add_argument(option, type=int, metavar="N", help=text)
    parser.add_argument("--density", type=float, metavar="N", help="the share of the targets that is trained")
    options = vars(parser.parse_args())
    methods = options.pop("methods")
    return Settings(**options), list(dict.fromkeys(methods))


def run(script: str, settings: Settings, name: str) -> None:
    """A script that fails has said why; this process then ends with its status."""
    status = subprocess.run([sys.executable, HERE / script, settings.write(), name], check=False).returncode
    if status:
        sys.exit(status if status > 0 else f"error: {script} for {name} was ended by signal {-status}")


def read(settings: Settings, name: str, file: str) -> dict:
    return json.loads((settings.method_directory(name) / file).read_text(encoding="utf-8"))


def table(report: dict) -> str:
    """The methods as lines."""
    rows = [["method", *(heading for heading, _, _ in COLUMNS)]]
    rows += [[m["name"], *(write(m[key]) for _, key, write in COLUMNS)] for m in report["methods"]]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows
    )


def main() -> None:
    started = time.perf_counter()
    settings, methods = read_command_line()
    dataset, _, _ = load_batches(settings)
    print(
        f"{len(dataset.train):,} texts to train on, {len(dataset.held_out):,} held out, "
        f"{len(dataset.label_names)} labels; {settings.steps} steps of {settings.batch_size}",
        flush=True,
    )
    results, verified = [], []
    for name in methods:
        settings.method_directory(name).mkdir(parents=True, exist_ok=True)
        run("train.py", settings, name)
        run("verify.py", settings, name)
        results.append(read(settings, name, "result.json"))
        verified.append(read(settings, name, "verified.json"))
    report = {
        "methods": results,
        "reload_identical": all(found["reload_identical"] for found in verified),
        "unmerge_bit_exact": all(found["unmerge_bit_exact"] for found in results + verified),
        "seconds_total": time.perf_counter() - started,
        "training_texts": len(dataset.train),
        "held_out": len(dataset.held_out),
        "settings": dataclasses.asdict(settings),
        "environment": {
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "cores": os.cpu_count(),
            "system": platform.platform(),
            "versions": {"Python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        },
    }
    path = Path(settings.out) / "report.json"
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(f"\n{table(report)}\n")
    for check, words in (
        ("reload_identical", "predictions after reloading the adapter in a fresh process"),
        ("unmerge_bit_exact", "weights after unmerging, against the pretrained bits"),
    ):
        print(f"{words}: {'identical' if report[check] else 'DIFFERENT'}")
    print(f"{report['seconds_total']:.0f} s in all; {path} has it for programs")
    if not (report["reload_identical"] and report["unmerge_bit_exact"]):
        sys.exit("error: a check failed")


if __name__ == "__main__":
    with one_line_errors():
        main()
