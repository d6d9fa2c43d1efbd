"""Chooses a learning rate for each family of methods, by the validation rows of one domain and one seed."""

from __future__ import annotations

import dataclasses

from approaches import APPROACHES, FAMILIES
from pool import Pool
from trial import Scale, Trial

SEED = 0


@dataclasses.dataclass(frozen=True)
class Tuned:
    """The accuracy and the loss with each rate of a family's grid, and the rate that is best."""

    accuracies: dict[float, float]
    losses: dict[float, float]

    @property
    def rate(self) -> float:
        """That of the highest accuracy; of several with the same, that of the lowest loss."""
        return max(self.accuracies, key=lambda rate: (self.accuracies[rate], -self.losses[rate]))

    @property
    def at_edge(self) -> bool:
        """Whether a rate beyond the grid might be better still."""
        return self.rate in (min(self.accuracies), max(self.accuracies))


def tune(pool: Pool, scale: Scale, domain: str, approaches: list[str]) -> dict[str, Tuned]:
    """For each family of the approaches that are to be compared."""
    families = list(dict.fromkeys(APPROACHES[name].family for name in approaches))
    trials = {
        Trial(scale, domain, FAMILIES[name].representative, SEED, rate, evaluate_on="validation"): name
        for name in families
        for rate in FAMILIES[name].rates
    }
    tuned: dict[str, Tuned] = {}
    for trial, result in pool.run(f"learning rates, on validation rows of {domain}", list(trials)).items():
        found = tuned.setdefault(trials[trial], Tuned({}, {}))
        found.accuracies[trial.learning_rate] = result["accuracy"]
        found.losses[trial.learning_rate] = result["loss"]
    return tuned
