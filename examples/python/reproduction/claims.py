"""What the papers say of the methods, judged by the runs: holds, does not hold, or cannot be told."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from approaches import PAPER_SALIENCES
from comparison import Comparison, Difference

MARGIN = 0.02  # accuracies that are closer than this are close, where a claim says so

HOLDS, FAILS, UNKNOWN = "holds", "does not hold", "cannot be told"


@dataclasses.dataclass(frozen=True)
class Judgement:
    claim: str
    verdict: str
    because: str


def judge(comparison: Comparison) -> list[Judgement]:
    """Every claim in turn. One whose methods did not all run cannot be told."""
    judgements = []
    for claim, needed, decide in CLAIMS:
        missing = [name for name in needed if name not in comparison.approaches()]
        verdict, because = (UNKNOWN, f"not run: {', '.join(missing)}") if missing else decide(comparison)
        judgements.append(Judgement(claim, verdict, because))
    return judgements


def better(difference: Difference) -> str:
    """Beyond the noise."""
    if difference.mean > difference.noise:
        return HOLDS
    return FAILS if difference.mean < -difference.noise else UNKNOWN


def close(difference: Difference) -> str:
    """Surely less than the margin apart, or surely more."""
    if abs(difference.mean) + difference.noise <= MARGIN:
        return HOLDS
    return FAILS if abs(difference.mean) - difference.noise > MARGIN else UNKNOWN


def as_good(difference: Difference) -> str:
    """Not worse beyond the noise, and surely by less than the margin if at all."""
    if difference.mean < -difference.noise:
        return FAILS
    return HOLDS if difference.mean - difference.noise >= -MARGIN else UNKNOWN


def compare_two(
    one: str, other: str, decide: Callable[[Difference], str]
) -> Callable[[Comparison], tuple[str, str]]:
    def judge_two(comparison: Comparison) -> tuple[str, str]:
        difference = comparison.difference(one, other)
        return decide(difference), f"{one} − {other}: {difference}"

    return judge_two


def gradient_is_best(comparison: Comparison) -> tuple[str, str]:
    rivals = [name for name in PAPER_SALIENCES if name != "gradient"]
    rival = max(rivals, key=comparison.mean)
    difference = comparison.difference("gradient", rival)
    return better(difference), f"gradient − {rival}, the best of the others: {difference}"


def magnitude_is_worst(comparison: Comparison) -> tuple[str, str]:
    rivals = [name for name in PAPER_SALIENCES if name != "magnitude"]
    rival = min(rivals, key=comparison.mean)
    difference = comparison.difference(rival, "magnitude")
    domains = comparison.domains()
    worst = sum(
        all(comparison.mean("magnitude", domain) < comparison.mean(name, domain) for name in rivals)
        for domain in domains
    )
    because = (
        f"{rival}, the worst of the others, − magnitude: {difference}; "
        f"magnitude is the worst of the eight on {worst} of {len(domains)} domains"
    )
    return better(difference), because


def value_and_output_are_best(comparison: Comparison) -> tuple[str, str]:
    rival = max(("gradient", "gradient-query-key"), key=comparison.mean)
    difference = comparison.difference("gradient-value-output", rival)
    where = {"gradient": "all matrices", "gradient-query-key": "query and key"}[rival]
    return better(difference), f"value and output − {where}, the better of the other two: {difference}"


# What is claimed, the methods it needs, and how it is decided.
CLAIMS: tuple[tuple[str, tuple[str, ...], Callable[[Comparison], tuple[str, str]]], ...] = (
    ("gradient is the best static salience", PAPER_SALIENCES, gradient_is_best),
    ("random masks come close to LoRA", ("random", "lora"), compare_two("random", "lora", close)),
    ("magnitude is often the worst static salience", PAPER_SALIENCES, magnitude_is_worst),
    (
        "a static mask is as good as a dynamic one",
        ("gradient", "dynamic-gradient"),
        compare_two("gradient", "dynamic-gradient", as_good),
    ),
    (
        "one global ranking is as good as one for each tensor",
        ("gradient", "gradient-per-tensor"),
        compare_two("gradient", "gradient-per-tensor", as_good),
    ),
    (
        "attention value and output are the best targets",
        ("gradient", "gradient-value-output", "gradient-query-key"),
        value_and_output_are_best,
    ),
    (
        "SparseGrad is as good as LoRA",
        ("sparsegrad", "lora"),
        compare_two("sparsegrad", "lora", as_good),
    ),
    (
        "SparseGrad beats MeProp, by its basis",
        ("sparsegrad", "meprop"),
        compare_two("sparsegrad", "meprop", better),
    ),
)
