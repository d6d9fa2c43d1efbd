"""Smaller questions, on one domain with one seed: rates and densities, SpIEL's clock, ages of its scalars."""

from __future__ import annotations

from pool import Pool, Results
from trial import Scale, Trial
from tuning import Tuned

SEED = 0
DENSITIES = (0.001, 0.005, 0.02)
RATES = (3e-3, 1e-2, 3e-2, 1e-1)
INTERVALS = (5, 10, 20)
SCHEDULES = ("linear", "cosine", "constant")
AGES_INTERVAL = 10
STUDIES = ("density", "clock", "ages")


def study_density(pool: Pool, scale: Scale, domain: str) -> Results:
    """Random masks of three densities with four learning rates, on validation rows."""
    trials = [
        Trial(scale, domain, "random", SEED, rate, evaluate_on="validation", density=density)
        for density in DENSITIES
        for rate in RATES
    ]
    return pool.run("learning rate against density", trials)


def study_clock(pool: Pool, scale: Scale, domain: str, tuned: dict[str, Tuned]) -> Results:
    """SpIEL-AG with masks that move more and less often, and more and less."""
    if "spiel-ag" not in tuned:
        return {}
    trials = [
        moving(scale, domain, "spiel-ag", tuned, interval, schedule)
        for interval in INTERVALS
        for schedule in SCHEDULES
    ]
    return pool.run("the clock of SpIEL-AG", trials)


def study_ages(pool: Pool, scale: Scale, domain: str, tuned: dict[str, Tuned]) -> Results:
    """Both kinds of SpIEL, with a mask that moves as often as every tenth step."""
    trials = [
        moving(scale, domain, name, tuned, AGES_INTERVAL, "linear")
        for name in ("spiel-ag", "spiel-ma")
        if name in tuned
    ]
    return pool.run("ages of SpIEL's scalars", trials)


def moving(
    scale: Scale, domain: str, name: str, tuned: dict[str, Tuned], interval: int, schedule: str
) -> Trial:
    return Trial(scale, domain, name, SEED, tuned[name].rate, reselect_every=interval, schedule=schedule)
