"""Repeats what the papers compare, at equal numbers of trained scalars, and judges their claims by it.

Safe to stop and to start again: every finished run is a file in out/reproduction/runs, and is not run again.

Beside this file:
    approaches.py  the methods and their grids       trial.py          what one run depends on
    tuning.py      learning rates                    run_trial.py      one run, in a process of worker.py
    comparison.py  every method, domain and seed     births.py         when moving masks grew their scalars
    claims.py      what the papers say, judged       pool.py           runs side by side, kept as files
    studies.py     smaller questions                 tables.py, ages_picture.py, document.py   what is shown
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import time
from pathlib import Path

import sentiment_example  # noqa: F401
from ages_picture import write_ages_picture
from approaches import APPROACHES
from claims import judge
from command_line import check_checkpoint, count, make_output_directory
from comparison import compare
from document import write_into
from environment import describe_environment
from errors import one_line_errors
from pool import Pool
from settings import DOMAINS
from studies import STUDIES, study_ages, study_clock, study_density, study_entries
from tables import results_page
from trial import Scale
from tuning import tune


def main() -> None:
    started = time.perf_counter()
    options = read_command_line()
    scale = Scale(**{field.name: getattr(options, field.name) for field in dataclasses.fields(Scale)})
    out = Path(options.out)
    small = "movies" if "movies" in options.domains else options.domains[0]  # for learning rates and studies
    with Pool(out / "runs", options.processes) as pool:
        tuned = tune(pool, scale, small, options.approaches)
        comparison = compare(pool, scale, options.domains, options.approaches, options.seeds, tuned)
        studies = {}
        if "density" in options.studies:
            studies["density"] = study_density(pool, scale, small)
        if "clock" in options.studies:
            studies["clock"] = study_clock(pool, scale, small, tuned)
        if "ages" in options.studies:
            studies["ages"] = study_ages(pool, scale, small, tuned)
        if "entries" in options.studies:
            studies["entries"] = study_entries(pool, scale, small, tuned)
        failures = [
            f"{trial.domain} {trial.approach} seed {trial.seed} lr {trial.learning_rate:g}: {why}"
            for trial, why in pool.failures.items()
        ]
    if not comparison.accuracies:
        sys.exit("error: no run of the comparison succeeded")
    judgements = judge(comparison)
    environment = describe_environment()
    page = results_page(scale, options.seeds, comparison, judgements, tuned, studies, environment, failures)
    report = {
        "claims": [dataclasses.asdict(judgement) for judgement in judgements],
        "means": {
            approach: {
                where or "average": {
                    "accuracy": comparison.mean(approach, where),
                    "deviation": comparison.deviation(approach, where) if options.seeds > 1 else None,
                }
                for where in (*comparison.domains(), None)
                if comparison.cells(approach, where)
            }
            for approach in comparison.approaches()
        },
        "accuracies": [
            {"approach": approach, "domain": domain, "seed": seed, "accuracy": accuracy}
            for (approach, domain, seed), accuracy in comparison.accuracies.items()
        ],
        "trained": comparison.trained,
        "learning_rates": {
            family: {"chosen": found.rate, "validation_accuracies": found.accuracies, "losses": found.losses}
            for family, found in tuned.items()
        },
        "studies": {
            name: [{**dataclasses.asdict(trial), **result} for trial, result in results.items()]
            for name, results in studies.items()
        },
        "failures": failures,
        "settings": vars(options),
        "environment": environment,
        "seconds": time.perf_counter() - started,
    }
    (out / "results.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    (out / "results.md").write_text(page, encoding="utf-8")
    grown_at = {
        trial.approach: {int(step): number for step, number in result["grown_at"].items()}
        for trial, result in studies.get("ages", {}).items()
    }
    if grown_at:
        write_ages_picture(grown_at, scale.steps, out / "ages.png")
    if options.document:
        write_into(Path(options.document), page, out / "ages.png" if grown_at else None)
    print(f"\n{page}\n{out / 'results.md'} has this, beside results.json; {report['seconds'] / 60:.1f} min")
    if failures:
        sys.exit(f"error: {len(failures)} runs failed; they are run again the next time")


def read_command_line() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="reproduce.py",
        description=__doc__.split("\n\n")[0],
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.set_defaults(**dataclasses.asdict(Scale()), out="out/reproduction")
    parser.add_argument(
        "--approaches", nargs="+", choices=APPROACHES, default=list(APPROACHES), metavar="METHOD"
    )
    parser.add_argument("--domains", nargs="+", choices=DOMAINS, default=list(DOMAINS))
    parser.add_argument(
        "--studies", nargs="*", choices=STUDIES, default=list(STUDIES), help="without one: none"
    )
    parser.add_argument("--seeds", type=count, default=3, metavar="N", help="default: %(default)s")
    parser.add_argument(
        "--processes",
        type=count,
        default=len(os.sched_getaffinity(0)),
        metavar="N",
        help="default: %(default)s",
    )
    parser.add_argument("--out", metavar="DIRECTORY", help="default: %(default)s")
    parser.add_argument("--document", metavar="FILE", help="a page whose results are replaced by these")
    parser.add_argument("--model", metavar="DIRECTORY", help="a Hugging Face checkpoint (default: MiniLM-L6)")
    for option in ("layers", "steps", "batch-size", "estimation-batches", "max-tokens", "evaluated-rows"):
        parser.add_argument(f"--{option}", type=count, metavar="N", help="default: %(default)s")
    options = parser.parse_args()
    check_checkpoint(options.model)
    make_output_directory(options.out)
    return options


if __name__ == "__main__":
    with one_line_errors():
        main()
