"""Smaller questions, with one seed: rates, densities, the clock and the ages of SpIEL, entries of a step."""

from __future__ import annotations

from approaches import STEP_DENSITY
from pool import Pool, Results
from trial import Scale, Trial
from tuning import Tuned

SEED = 0
DENSITIES = (0.001, 0.005, 0.02)
RATES = (3e-3, 1e-2, 3e-2, 1e-1)
INTERVALS = (5, 10, 20)
SCHEDULES = ("linear", "cosine", "constant")
AGES_INTERVAL = 10
STEP_DENSITIES = (0.002, STEP_DENSITY, 0.042)  # the second is the comparison's: that run is there
STEP_METHODS = ("meprop", "sparsegrad")
STUDIES = ("density", "clock", "ages", "entries")


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


def study_entries(pool: Pool, scale: Scale, domain: str, tuned: dict[str, Tuned]) -> Results:
    """SparseGrad and MeProp with fewer and more entries of each step, at the rate chosen for 1%."""
    trials = [
        Trial(scale, domain, name, SEED, tuned[name].rate, density=None if density == STEP_DENSITY else density)
        for name in STEP_METHODS
        if name in tuned
        for density in STEP_DENSITIES
    ]
    return pool.run("entries of a step", trials)


def moving(
    scale: Scale, domain: str, name: str, tuned: dict[str, Tuned], interval: int, schedule: str
) -> Trial:
    return Trial(scale, domain, name, SEED, tuned[name].rate, reselect_every=interval, schedule=schedule)
