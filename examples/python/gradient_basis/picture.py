"""basis.png: one gradient before and after, and how concentrated gradients are on average."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # draws files; needs no screen

import numpy as np
from concentration import POINTS, Concentration
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm

INK = "#2b2f33"
COLOURS = {"as it is": "#b8bec4", "in the basis": "#1f6f8b", "in a random basis": "#d9a441"}
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
        draw_matrix(panel, name, matrix, largest)
    draw_curves(panels[2], measured)
    figure.legend(*panels[2].get_legend_handles_labels(), loc="outside lower right", ncols=2, fontsize=9, frameon=False)
    figure.suptitle(f"A gradient of the last of the {kind} (|dW|, darker is larger), and all of them", color=INK)
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


def draw_matrix(panel: Axes, name: str, matrix: np.ndarray, largest: float) -> None:
    step = max(matrix.shape) // PIXELS
    rows, columns = (size // step for size in matrix.shape)
    blocks = np.abs(matrix[: rows * step, : columns * step]).reshape(rows, step, columns, step)
    panel.imshow(
        np.maximum(blocks.max(axis=(1, 3)), largest * 1e-4),
        cmap="Greys",
        norm=LogNorm(largest * 1e-3, largest),
        aspect="auto",
        interpolation="nearest",
    )
    panel.set_title(name, fontsize=11, color=INK)
    panel.set_xlabel("inputs", color=INK)
    panel.set_ylabel("outputs", color=INK)
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
