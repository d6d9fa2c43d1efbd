"""Every method on every domain with every seed, and what the accuracies say of two of them."""

from __future__ import annotations

import dataclasses
import math
import statistics

from approaches import APPROACHES
from pool import Pool
from trial import Scale, Trial
from tuning import Tuned


@dataclasses.dataclass(frozen=True)
class Difference:
    """Of two methods' accuracies, paired: each pair has the same domain and the same seed."""

    mean: float
    noise: float  # two standard errors of the mean
    pairs: int

    def __str__(self) -> str:
        if math.isinf(self.noise):
            return f"{100 * self.mean:+.1f} points; one pair tells nothing of the noise"
        return f"{100 * self.mean:+.1f} ± {100 * self.noise:.1f} points"


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The held-out accuracies, by (approach, domain, seed); what failed is not there."""

    accuracies: dict[tuple[str, str, int], float]
    trained: dict[str, int]

    def approaches(self) -> list[str]:
        return list(dict.fromkeys(approach for approach, _, _ in self.accuracies))

    def domains(self) -> list[str]:
        return list(dict.fromkeys(domain for _, domain, _ in self.accuracies))

    def cells(self, approach: str, domain: str | None = None) -> dict[tuple[str, int], float]:
        """One method's accuracies, of one domain or of all."""
        return {
            (where, seed): accuracy
            for (name, where, seed), accuracy in self.accuracies.items()
            if name == approach and domain in (None, where)
        }

    def mean(self, approach: str, domain: str | None = None) -> float:
        """NaN where the method did not run."""
        cells = self.cells(approach, domain)
        return statistics.fmean(cells.values()) if cells else math.nan

    def deviation(self, approach: str, domain: str | None = None) -> float:
        """Over the seeds; on average over the domains, that of the seeds' averages."""
        cells = self.cells(approach, domain)
        seeds = dict.fromkeys(seed for _, seed in cells)
        of_seeds = [statistics.fmean(a for (_, other), a in cells.items() if other == seed) for seed in seeds]
        return statistics.stdev(of_seeds) if len(of_seeds) > 1 else math.nan

    def difference(self, one: str, other: str) -> Difference:
        """Between two methods, over the pairs that both have."""
        ones, others = self.cells(one), self.cells(other)
        pairs = [ones[cell] - others[cell] for cell in ones if cell in others]
        error = statistics.stdev(pairs) / math.sqrt(len(pairs)) if len(pairs) > 1 else math.inf
        return Difference(statistics.fmean(pairs) if pairs else math.nan, 2 * error, len(pairs))


def compare(
    pool: Pool, scale: Scale, domains: list[str], approaches: list[str], seeds: int, tuned: dict[str, Tuned]
) -> Comparison:
    """One seed after the other, so that what is there when one stops early is of use."""
    trials = [
        Trial(scale, domain, name, seed, tuned[APPROACHES[name].family].rate)
        for seed in range(seeds)
        for name in approaches
        for domain in domains
        if APPROACHES[name].family in tuned
    ]
    results = pool.run("comparison, on held-out rows", trials)
    return Comparison(
        {(trial.approach, trial.domain, trial.seed): found["accuracy"] for trial, found in results.items()},
        {trial.approach: found["trained"] for trial, found in results.items()},
    )
