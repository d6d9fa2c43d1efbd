"""ages.png: when the scalars that SpIEL ends with were grown, as in Figure 2 of its paper."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # draws files; needs no screen

from matplotlib import pyplot
from matplotlib.ticker import PercentFormatter

COLOUR, INK = "#1f6f8b", "#2b2f33"


def write_ages_picture(grown_at: dict[str, dict[int, int]], steps: int, path: Path) -> None:
    """A panel a method. `grown_at`: how many of its final scalars were last grown after each step."""
    figure, panels = pyplot.subplots(
        1,
        len(grown_at),
        sharey=True,
        squeeze=False,
        figsize=(1.5 + 4.2 * len(grown_at), 3.4),
        layout="constrained",
        facecolor="white",
    )
    for panel, (name, counts) in zip(panels[0], grown_at.items(), strict=True):
        total = sum(counts.values())
        shares = [count / total for count in counts.values()]
        bars = panel.bar(list(counts), shares, width=0.03 * steps, color=COLOUR)
        panel.bar_label(bars, [f"{share:.0%}" for share in shares], padding=2, fontsize=8, color=INK)
        panel.set_title(name, fontsize=11, fontweight="bold", color=INK)
        panel.set_xlim(-0.04 * steps, 1.02 * steps)
        panel.set_xlabel("training step after which they were last grown", color=INK)
        panel.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        panel.spines[["top", "right"]].set_visible(False)
        panel.minorticks_off()
    panels[0][0].set_ylabel("share of the final scalars", color=INK)
    figure.suptitle("When the scalars that are trained at the end were grown", fontsize=12, color=INK)
    figure.savefig(path, dpi=150)
    pyplot.close(figure)
