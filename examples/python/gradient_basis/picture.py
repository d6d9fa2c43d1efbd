"""basis.png: one gradient before and after, and how concentrated gradients are on average; strides.png: ∂L/∂Y."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # draws files; needs no screen

import numpy as np
from concentration import POINTS, Concentration
from matplotlib import colormaps, pyplot
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.patches import Patch
from strides import Strides

INK = "#2b2f33"
COLOURS = {"as it is": "#b8bec4", "in the basis": "#1f6f8b", "in a random basis": "#d9a441"}
ZERO = "#f0cf8e"
LINES = ("-", "--")
PIXELS = 192  # of the longer side: each is the largest of the entries that it stands for


def write_picture(
    measured: dict[str, dict[str, Concentration]], example: dict[str, np.ndarray], kind: str, path: Path
) -> None:
    """`example` has one gradient of `kind`, as it is and in the basis."""
    figure, panels = pyplot.subplots(
        1, 3, figsize=(12, 4.6), width_ratios=[1, 1, 1.7], layout="constrained", facecolor="white"
    )
    largest = max(float(np.abs(matrix).max()) for matrix in example.values())
    for panel, (name, matrix) in zip(panels, example.items(), strict=False):
        side = max(matrix.shape) // PIXELS
        draw_matrix(panel, name, matrix, largest, (side, side))
        panel.set_xlabel("inputs", color=INK)
        panel.set_ylabel("outputs", color=INK)
    draw_curves(panels[2], measured)
    figure.legend(*panels[2].get_legend_handles_labels(), loc="outside lower right", ncols=2, fontsize=9, frameon=False)
    figure.suptitle(f"A gradient of the last of the {kind} (|dW|, darker is larger), and all of them", color=INK)
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


def write_stride_picture(
    strides: dict[str, list[Strides]],
    padding: list[float],
    example: dict[str, np.ndarray],
    kind: str,
    path: Path,
) -> None:
    """Of each kind one a step; `example` has one ∂L/∂Y of `kind`, as it is and in the basis."""
    figure, panels = pyplot.subplots(
        1, 3, figsize=(12, 4.6), width_ratios=[1, 1, 1.7], layout="constrained", facecolor="white"
    )
    largest = max(float(np.abs(matrix).max()) for matrix in example.values())
    for panel, (name, matrix) in zip(panels, example.items(), strict=False):
        draw_matrix(panel, name, matrix[:PIXELS], largest, (1, matrix.shape[1] // PIXELS))
        panel.set_xlabel("outputs", color=INK)
        panel.set_ylabel("tokens", color=INK)
    panels[0].legend(handles=[Patch(color=ZERO, label="exactly 0")], loc="lower left", fontsize=8)
    draw_strides(panels[2], strides, padding)
    figure.legend(*panels[2].get_legend_handles_labels(), loc="outside lower right", ncols=2, fontsize=9, frameon=False)
    figure.suptitle(f"∂L/∂Y of the last of the {kind} (darker is larger), and of all of them", color=INK)
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


def draw_strides(panel: Axes, strides: dict[str, list[Strides]], padding: list[float]) -> None:
    steps = range(1, len(padding) + 1)
    tokens = [100 * (1 - share) for share in padding]
    panel.plot(steps, tokens, "o", color=ZERO, markersize=3, zorder=3, label="tokens that are no padding")
    for line, (kind, of_kind) in zip(LINES, strides.items(), strict=True):
        entries = [100 * each.nonzero_entries for each in of_kind]
        rows = [100 * each.rows_with_99_percent for each in of_kind]
        panel.plot(steps, entries, line, color=COLOURS["as it is"], label=f"{kind}, entries that are not 0")
        panel.plot(steps, rows, line, color=COLOURS["in the basis"], label=f"{kind}, rows with 99% of the squares")
    panel.set_xlabel("step of the training", color=INK)
    panel.set_ylabel("share, %", color=INK)
    panel.set_ylim(0, 104)
    panel.spines[["top", "right"]].set_visible(False)


def draw_matrix(panel: Axes, name: str, matrix: np.ndarray, largest: float, block: tuple[int, int]) -> None:
    """A pixel is the largest of a block of so many rows and columns; where all of them are 0, it says so."""
    rows, columns = (size // side for size, side in zip(matrix.shape, block, strict=True))
    whole = np.abs(matrix[: rows * block[0], : columns * block[1]])
    pixels = whole.reshape(rows, block[0], columns, block[1]).max(axis=(1, 3))
    panel.imshow(
        np.ma.masked_equal(pixels, 0).clip(largest * 1e-4, None),
        cmap=colormaps["Greys"].with_extremes(bad=ZERO),
        norm=LogNorm(largest * 1e-3, largest),
        aspect="auto",
        interpolation="nearest",
    )
    panel.set_title(name, fontsize=11, color=INK)
    panel.set_xticks([])
    panel.set_yticks([])


def draw_curves(panel: Axes, measured: dict[str, dict[str, Concentration]]) -> None:
    for line, (kind, by_basis) in zip(LINES, measured.items(), strict=True):
        for basis, measure in by_basis.items():
            panel.plot(100 * POINTS, 100 * measure.curve(), line, color=COLOURS[basis], label=f"{kind}, {basis}")
    panel.axvline(1, color=INK, linewidth=0.6)
    panel.set_xscale("log")
    panel.set_xlabel("largest entries, % of all (SparseGrad keeps 1%)", color=INK)
    panel.set_ylabel("share of Σ dW², %", color=INK)
    panel.set_ylim(0, 100)
    panel.spines[["top", "right"]].set_visible(False)
