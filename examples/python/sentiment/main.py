"""Fine-tunes a language model sparsely and in other ways, and compares them: start here, with `--help`.

Beside this file:
    command_line.py   the options                  settings.py   what a comparison is run with
    data.py           texts, labels, batches       model.py      the encoder, its new head, its targets
    methods.py        what each method trains      train.py      one method, in a process of its own
    verify.py         reload and unmerge, checked  report.py     table, report.json, report.png
    page.py           report.html, from page.html and loss_curves.py
    placement.py      where the selected weights lie; its colours in density_scale.py, and its pictures in
                      placement_picture.py (placement.png) and placement_figures.py (for the page)
    environment.py    machine and versions         tune.py       how learning rates were chosen
"""

from __future__ import annotations

import dataclasses
import sys
import time
from pathlib import Path

from command_line import read_command_line
from data import load_dataset
from environment import describe_environment
from errors import one_line_errors
from page import write_page
from placement_picture import write_placement_picture
from report import table, write_picture, write_report
from run import read_losses, run_method, verify_method
from settings import SPARSE_METHODS, Settings


def main() -> None:
    started = time.perf_counter()
    settings, methods = read_command_line()
    dataset = load_dataset(settings)
    print(
        f"{len(dataset.train):,} texts to train on, {len(dataset.held_out):,} held out, "
        f"{len(dataset.label_names)} labels; {settings.steps} steps of {settings.batch_size}",
        flush=True,
    )
    results = [run_method(settings, name) for name in methods]
    checks = check_sparse(settings, results)
    report = {
        "methods": results,
        **checks,
        "seconds_total": time.perf_counter() - started,
        "training_texts": len(dataset.train),
        "held_out": len(dataset.held_out),
        "settings": dataclasses.asdict(settings),
        "environment": describe_environment(),
    }
    out = Path(settings.out)
    write_report(report, out / "report.json")
    write_picture(report, out / "report.png")
    placements = {method["name"]: method["placement"] for method in results if "placement" in method}
    if placements:
        write_placement_picture(placements, out / "placement.png")
    write_page(report, {name: read_losses(settings, name) for name in methods}, out / "report.html")
    print(f"\n{table(report)}\n{out / 'report.html'} has it as a page, beside figures, pictures and adapters")
    different = [name for name, same in checks.items() if not same]
    if different:
        sys.exit(f"error: the check failed: {', '.join(different)}")


def check_sparse(settings: Settings, results: list[dict]) -> dict[str, bool]:
    """Whether every sparse adapter gave the same predictions when reloaded, and the weights when unmerged.

    Unmerging is checked on the model that was trained, and on the one that the adapter was loaded onto.
    """
    sparse = [result for result in results if result["name"] in SPARSE_METHODS]
    if not sparse:
        return {}
    loaded = [verify_method(settings, result["name"]) for result in sparse]
    return {
        "reload_identical": all(found["reload_identical"] for found in loaded),
        "unmerge_bit_exact": all(found["unmerge_bit_exact"] for found in sparse + loaded),
    }


if __name__ == "__main__":
    with one_line_errors():
        main()
