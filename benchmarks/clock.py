"""Fair times of things that are compared: taken in turns, the median of several."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

# OpenMP's workers spin for milliseconds after a loop and hold their cores: who is timed next waits that out.
_SPINNING = 0.03


# Of a GPU that is kept busy while the host enqueues what is timed: half a millisecond, longer than that takes.
_HEAD_START = 1_000_000


class Clock:
    """``with clock:`` around what counts. What a case does before and after it is not timed.

    On a GPU it is the GPU's own time, from when it begins what was enqueued to when it has ended it. Waiting for
    the host counts where the work does wait for it.
    """

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._on_gpu = torch.get_default_device().type == "cuda"

    def __enter__(self) -> None:
        if self._on_gpu:
            torch.cuda.synchronize()
            self._begin, self._end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            torch.cuda._sleep(_HEAD_START)
            self._begin.record()
        else:
            time.sleep(_SPINNING)
            self._start = time.perf_counter()

    def __exit__(self, *exception: object) -> None:
        if self._on_gpu:
            self._end.record()
            self._end.synchronize()
            self.seconds.append(self._begin.elapsed_time(self._end) / 1e3)
        else:
            self.seconds.append(time.perf_counter() - self._start)


Case = Callable[[Clock], None]


def take_turns(*cases: Case, rounds: int = 7, warm_up: int = 1) -> list[float]:
    """The median seconds of each case.

    Cases alternate, so that whatever else the machine does falls on all of them alike.

    Args:
        cases: each runs once a round, and enters its clock once.
        rounds: that count.
        warm_up: rounds before them, for caches, page tables and threads.
    """
    clocks = [Clock() for _ in cases]
    for _ in range(warm_up + rounds):
        for case, clock in zip(cases, clocks, strict=True):
            case(clock)
    return [statistics.median(clock.seconds[warm_up:]) for clock in clocks]


def repeated(action: Callable[[], object]) -> Case:
    """A case that needs no preparation: the action is all that counts."""

    def case(clock: Clock) -> None:
        with clock:
            action()

    return case


def best(action: Callable[[], object], rounds: int = 15) -> float:
    """The least seconds of several: what a machine can do when it does nothing else."""
    clock = Clock()
    for _ in range(rounds):
        repeated(action)(clock)
    return min(clock.seconds)
