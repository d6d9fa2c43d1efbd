"""What was found, as Markdown."""

from __future__ import annotations

import math

from approaches import ON_QUANTIZED, STEP_DENSITY
from claims import MARGIN, Judgement
from comparison import Comparison
from pool import Results
from studies import DENSITIES, INTERVALS, RATES, SCHEDULES, STEP_DENSITIES, STEP_METHODS
from trial import Scale
from tuning import Tuned


def markdown_table(headings: list[str], rows: list[list[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def comparison_table(comparison: Comparison) -> str:
    """Mean ± deviation over the seeds, in per cent; a dash where a method did not run."""
    domains = comparison.domains()

    def cell(approach: str, domain: str | None) -> str:
        if not comparison.cells(approach, domain):
            return "–"
        deviation = comparison.deviation(approach, domain)
        spread = "" if math.isnan(deviation) else f" ± {100 * deviation:.1f}"
        return f"{100 * comparison.mean(approach, domain):.1f}{spread}"

    rows = [
        [
            approach,
            f"{comparison.trained[approach]:,}",
            *(cell(approach, where) for where in (*domains, None)),
        ]
        for approach in comparison.approaches()
    ]
    return markdown_table(["method", "trained scalars", *domains, "average"], rows)


def quantized_table(comparison: Comparison) -> str:
    """Each method on a base of 4 bits beside itself on the base as it is, paired."""
    rows = [
        [name, f"{100 * comparison.mean(f'q-{name}'):.1f}", str(comparison.difference(f"q-{name}", name))]
        for name in ON_QUANTIZED
        if comparison.cells(name) and comparison.cells(f"q-{name}")
    ]
    return markdown_table(["method", "on 4 bits", "less the same on the base as it is"], rows)


def claims_table(judgements: list[Judgement]) -> str:
    rows = [[j.claim, f"**{j.verdict}**", j.because] for j in judgements]
    return markdown_table(["claim", "here", "by"], rows)


def rates_table(tuned: dict[str, Tuned]) -> str:
    """Each family's grid with the accuracies, the chosen one in bold."""
    rows = []
    for family, found in tuned.items():
        grid = [
            f"**{rate:g}: {accuracy:.1%}**" if rate == found.rate else f"{rate:g}: {accuracy:.1%}"
            for rate, accuracy in found.accuracies.items()
        ]
        rows.append([family, ", ".join(grid), "at the grid's edge" if found.at_edge else ""])
    return markdown_table(["family", "learning rate: accuracy on validation rows", ""], rows)


def density_table(results: Results) -> str:
    """Densities down, learning rates across; each row's best in bold."""
    accuracies = {(trial.density, trial.learning_rate): found["accuracy"] for trial, found in results.items()}
    rows = [
        [f"{density:.1%}", *grid_row([accuracies.get((density, rate)) for rate in RATES])]
        for density in DENSITIES
    ]
    return markdown_table(["density", *(f"rate {rate:g}" for rate in RATES)], rows)


def clock_table(results: Results) -> str:
    """Intervals down, schedules across."""
    found = {(trial.reselect_every, trial.schedule): result for trial, result in results.items()}
    rows = []
    for interval in INTERVALS:
        cells = [found.get((interval, schedule)) for schedule in SCHEDULES]
        accuracies = grid_row([cell and cell["accuracy"] for cell in cells])
        replaced = [f" ({cell['replaced']:,} replaced)" if cell else "" for cell in cells]
        rows.append([str(interval), *(a + r for a, r in zip(accuracies, replaced, strict=True))])
    return markdown_table(["S", *SCHEDULES], rows)


def entries_table(results: Results) -> str:
    """Methods down, densities across, each with what was selected by the last step."""
    found = {(trial.approach, trial.density or STEP_DENSITY): result for trial, result in results.items()}
    rows = []
    for name in STEP_METHODS:
        cells = [found.get((name, density)) for density in STEP_DENSITIES]
        accuracies = grid_row([cell and cell["accuracy"] for cell in cells])
        grown = [f" (in the end {cell['density']:.1%})" if cell else "" for cell in cells]
        rows.append([name, *(a + g for a, g in zip(accuracies, grown, strict=True))])
    return markdown_table(["method", *(f"{density:.1%} a step" for density in STEP_DENSITIES)], rows)


def grid_row(accuracies: list[float | None]) -> list[str]:
    best = max((accuracy for accuracy in accuracies if accuracy is not None), default=None)
    written = ["–" if accuracy is None else f"{accuracy:.1%}" for accuracy in accuracies]
    return [
        f"**{text}**" if accuracy is not None and accuracy == best else text
        for text, accuracy in zip(written, accuracies, strict=True)
    ]


def what_was_run(scale: Scale, comparison: Comparison, seeds: int, environment: dict) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in environment["versions"].items())
    return (
        f"{scale.model or 'MiniLM-L6'}, its first {scale.layers} layers; {scale.steps} steps of "
        f"{scale.batch_size} texts of at most {scale.max_tokens} tokens; masks by {scale.estimation_batches} "
        f"batches of as many; accuracy on {scale.evaluated_rows} held-out texts; seeds: {seeds}; domains: "
        f"{', '.join(comparison.domains())}. "
        f"{environment['processor']}, {environment['cores']} cores; {versions}; {environment['date'][:10]}."
    )


def results_page(
    scale: Scale,
    seeds: int,
    comparison: Comparison,
    judgements: list[Judgement],
    tuned: dict[str, Tuned],
    studies: dict[str, Results],
    environment: dict,
    failures: list[str],
) -> str:
    """Everything, as the part of a page below a second-level heading."""
    parts = [
        what_was_run(scale, comparison, seeds, environment),
        "### The claims",
        claims_table(judgements),
        "A difference is a mean over domains and seeds, ± two paired standard errors. "
        f"Close is less than {100 * MARGIN:g} points.",
        "### Accuracy, in per cent",
        "Mean ± standard deviation over the seeds.",
        comparison_table(comparison),
        "### On a base of 4 bits",
        "The encoder's matrices as NF4 with quantized scales, under deltas in float32 (qSpIEL): accuracy in per "
        "cent, and the mean difference over the pairs of domain and seed, ± two standard errors.",
        quantized_table(comparison),
        "### Learning rates",
        rates_table(tuned),
    ]
    if studies.get("density"):
        parts += [
            "### Learning rate against density",
            "Random masks, accuracy on validation rows.",
            density_table(studies["density"]),
        ]
    if studies.get("clock"):
        parts += [
            "### The clock of SpIEL-AG",
            "A mask that moves every S steps, by three schedules: held-out accuracy.",
            clock_table(studies["clock"]),
        ]
    if studies.get("entries"):
        parts += [
            "### Entries of a step",
            "SparseGrad and MeProp with one seed: held-out accuracy, and the share of the feed-forward "
            "matrices that some step has selected, and that stays trained.",
            entries_table(studies["entries"]),
        ]
    if failures:
        parts += ["### What failed", "\n".join(f"- {failure}" for failure in failures)]
    return "\n\n".join(parts) + "\n"
