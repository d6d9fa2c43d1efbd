"""One line that shows how far a run is, and the memory it has needed."""

from __future__ import annotations

import sys
import time
from pathlib import Path

BAR_WIDTH = 24
LINES_IN_A_LOG = 4


class Progress:
    """Redraws its line on a terminal; elsewhere, a log for example, it prints a line now and then."""

    def __init__(self, name: str, total: int) -> None:
        self._name = name
        self.total = total
        self._done = 0
        self._started = time.perf_counter()
        self._redraws = sys.stderr.isatty()

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._started

    def advance(self, loss: float) -> None:
        self._done += 1
        finished = self._done == self.total
        if self._redraws:
            print(f"\r\x1b[K{self._line(loss)}", end="\n" if finished else "", file=sys.stderr, flush=True)
        elif finished or self._done % max(1, self.total // LINES_IN_A_LOG) == 0:
            print(self._line(loss), file=sys.stderr, flush=True)

    def _line(self, loss: float) -> str:
        filled = BAR_WIDTH * self._done // self.total
        bar = "#" * filled + "." * (BAR_WIDTH - filled)
        memory = peak_memory() / 2**20
        return (
            f"{self._name:<22} [{bar}] {self._done:>4}/{self.total}  loss {loss:6.4f}  "
            f"{self._done / self.seconds:5.2f} steps/s  {memory:5.0f} MiB"
        )


def peak_memory() -> int:
    """The most bytes this process has had resident.

    Not getrusage's ru_maxrss: across an exec that still counts the memory of the process before it.
    """
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise OSError("/proc/self/status has no VmHWM line")
