"""One colour scale for relative densities, in every picture of every method: factors of 2 around 1."""

from __future__ import annotations

import math

LIMIT = 8  # what is 8 times as dense, or an eighth, has the last colour; so has what is beyond
SPARSER, SAME, DENSER = (0xB3, 0x5C, 0x1E), (0xF5, 0xF4, 0xF0), (0x15, 0x5F, 0x7A)
TICKS = (1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8)
TICK_LABELS = ("⅛×\nor less", "¼×", "½×", "1×", "2×", "4×", "8×\nor more")


def position(relative: float) -> float:
    """From -1, an eighth or less, to 1, eight times or more; 0 where a matrix has its share."""
    if relative <= 0:
        return -1.0
    return max(-1.0, min(1.0, math.log(relative) / math.log(LIMIT)))


def shade(relative: float) -> str:
    """The colour as #rrggbb."""
    place = position(relative)
    end = DENSER if place > 0 else SPARSER
    return "#" + "".join(f"{round(a + (b - a) * abs(place)):02x}" for a, b in zip(SAME, end, strict=True))


def ink(relative: float) -> str:
    """What can be read on that colour."""
    return "#ffffff" if abs(position(relative)) > 0.55 else "#23282c"
