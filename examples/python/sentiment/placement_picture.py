"""placement.png: for each sparse method, kinds of matrices by layers, coloured by relative density."""

from __future__ import annotations

import math
from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # draws files; needs no screen

from density_scale import DENSER, SAME, SPARSER, TICK_LABELS, TICKS, ink, position
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from placement import MOST_NUMBERED_LAYERS, in_words, rows_and_columns, say_what_is_seen, write_relative

INK = "#2b2f33"
PANELS_IN_A_ROW = 4
COLOURS = LinearSegmentedColormap.from_list(
    "relative density", [tuple(part / 255 for part in colour) for colour in (SPARSER, SAME, DENSER)]
)


def write_placement_picture(placements: dict[str, list[dict]], path: Path) -> None:
    """`placements` has, for each method, what describe_placement gives; all are of one model."""
    columns = min(PANELS_IN_A_ROW, len(placements))
    rows = math.ceil(len(placements) / columns)
    kinds, layers = rows_and_columns(next(iter(placements.values())))
    width = 0.5 * min(len(layers), 16) + 0.4
    figure, panels = pyplot.subplots(
        rows,
        columns,
        sharex=True,
        sharey=True,
        squeeze=False,
        figsize=(max(7.5, 2.8 + columns * max(width, 2.6)), 1.4 + rows * (0.36 * len(kinds) + 0.9)),
        layout="constrained",
        facecolor="white",
    )
    for panel, (name, matrices) in zip(panels.flat, placements.items(), strict=False):
        draw_panel(panel, name, matrices, kinds, layers)
    for panel in panels.flat[len(placements) :]:
        panel.set_visible(False)
    for panel in panels[:, 0]:
        panel.set_yticks(range(len(kinds)), [in_words(kind) for kind in kinds], fontsize=11, color=INK)
    figure.suptitle(
        "Where the trained weights lie: the density of each matrix over that of all (1×: just its share)",
        fontsize=12,
        color=INK,
    )
    bar = figure.colorbar(
        ScalarMappable(Normalize(-1, 1), COLOURS),
        ax=panels,
        ticks=[position(tick) for tick in TICKS],
        aspect=30,
    )
    bar.ax.set_yticklabels(TICK_LABELS, color=INK)
    bar.outline.set_visible(False)
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


def draw_panel(
    panel: Axes, name: str, matrices: list[dict], kinds: list[str], layers: list[int | None]
) -> None:
    """One method. A kind that a layer does not have leaves its cell white."""
    relative = {(m["kind"], m["layer"]): m["relative_density"] for m in matrices}
    grid = [[position(relative[k, n]) if (k, n) in relative else math.nan for n in layers] for k in kinds]
    panel.imshow(grid, cmap=COLOURS, vmin=-1, vmax=1, aspect="auto")
    if len(layers) <= MOST_NUMBERED_LAYERS:
        for (kind, layer), value in relative.items():
            place = (layers.index(layer), kinds.index(kind))
            panel.text(*place, write_relative(value), ha="center", va="center", fontsize=9, color=ink(value))
    panel.set_title(f"{name}\n", fontsize=11, fontweight="bold", color=INK)
    panel.text(
        0.5, 1.03, say_what_is_seen(matrices), transform=panel.transAxes, ha="center", fontsize=9, color=INK
    )
    step = math.ceil(len(layers) / 16)
    labels = ["" if layer is None else str(layer) for layer in layers]
    panel.set_xticks(range(0, len(layers), step), labels[::step], color=INK)
    panel.xaxis.set_tick_params(labelbottom=True)
    panel.set_xlabel("layer", color=INK)
    panel.tick_params(length=0)
    panel.spines[:].set_visible(False)
