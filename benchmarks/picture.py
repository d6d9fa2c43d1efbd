"""The rows as a picture: how far libspeft and the peers are from the limit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import attrgetter
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from .report import ratio, readable
from .row import Row

OURS, PEERS, TARGET = "#1f5fa8", "#c9c9c9", "#e07b00"
GAP = 0.7  # between operations, in bars


def draw(path: Path, rows: Sequence[Row], title: str) -> None:
    """For each operation a bar of libspeft's, one of each peer, and a mark where the target is."""
    operations = [list(group) for _, group in groupby(rows, key=attrgetter("name"))]
    bars = len(operations) * (1 + GAP) + sum(row.peer_seconds is not None for row in rows)
    figure, axes = plt.subplots(figsize=(11, 0.24 * bars + 1.3), layout="constrained")
    places = list(_draw_operations(axes, operations))
    axes.set_yticks(places, [operation[0].name for operation in operations])
    axes.set_ylim(bars - GAP / 2, -GAP)
    _draw_axis(axes, rows)
    figure.legend(
        handles=[
            Patch(color=OURS, label="libspeft"),
            Patch(color=PEERS, label="the peer"),
            Line2D([], [], color=TARGET, linewidth=2.5, label="target"),
        ],
        loc="outside upper right",
        ncols=3,
        frameon=False,
    )
    figure.suptitle(title, x=0.01, ha="left", fontsize=10)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _draw_operations(axes: Axes, operations: Sequence[Sequence[Row]]) -> Iterator[float]:
    """Where the name of each operation belongs."""
    place = 0.0
    for first, *others in operations:
        yield place
        _draw_bar(axes, place, first.over_limit, OURS, readable(first.seconds), beside=first.target)
        if first.target is not None:
            axes.plot([first.target] * 2, [place - 0.5, place + 0.5], color=TARGET, linewidth=2.5)
        for row in (first, *others):
            if row.peer_over_limit is not None and row.peer_seconds is not None:
                place += 1
                _draw_bar(
                    axes, place, row.peer_over_limit, PEERS, f"{readable(row.peer_seconds)}: {row.peer}"
                )
        place += 1 + GAP


def _draw_bar(
    axes: Axes, place: float, times: float, color: str, text: str, beside: float | None = None
) -> None:
    """A bar, and its text right of it and of the mark `beside` it."""
    axes.barh(place, times, height=0.9, color=color)
    axes.annotate(
        f"{ratio(times)}×   {text}",
        (max(times, beside or 0), place),
        (4, 0),
        textcoords="offset points",
        va="center",
        fontsize=8,
    )


def _draw_axis(axes: Axes, rows: Sequence[Row]) -> None:
    times = [times for row in rows for times in (row.over_limit, row.peer_over_limit) if times is not None]
    axes.set_xscale("log")
    axes.set_xlim(min(0.5, *times), 40 * max(times))  # room for the text beside the longest bar
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")
    axes.axvline(1.0, color="black", linewidth=1.0, linestyle=":")
    axes.set_xlabel("times this machine's limit, which is dotted; logarithmic")
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
