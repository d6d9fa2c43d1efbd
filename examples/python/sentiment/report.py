"""What a comparison leaves: a table to read at once, report.json for programs, and report.png."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import matplotlib
from settings import SPARSE_METHODS

matplotlib.use("Agg")  # draws files; needs no screen

from matplotlib import pyplot
from matplotlib.axes import Axes

SPARSE_COLOUR, OTHER_COLOUR, INK = "#1f6f8b", "#b8bec4", "#2b2f33"


def size(count: float) -> str:
    """Bytes to three digits, in decimal units: 1 MB is a million bytes."""
    unit, divisor = ("kB", 1e3) if count < 1e6 else ("MB", 1e6)
    return f"{count / divisor:,.{0 if count >= 100 * divisor else 1}f} {unit}"


# Heading, key in report.json, how a value is written.
COLUMNS: tuple[tuple[str, str, Callable[[float], str]], ...] = (
    ("accuracy", "accuracy", "{:.1%}".format),
    ("loss", "loss", "{:.3f}".format),
    ("trained scalars", "trained", "{:,}".format),
    ("density", "density", "{:.2%}".format),
    ("adapter file", "adapter_bytes", size),
    ("time of a step", "seconds_per_step", lambda seconds: f"{1e3 * seconds:,.0f} ms"),
    ("peak memory", "peak_rss_bytes", size),
)

# Key in report.json, and what was compared: there when a sparse method was among them.
CHECKS = (
    ("reload_identical", "predictions after reloading the adapter in a fresh process"),
    ("unmerge_bit_exact", "weights after unmerging, against the pretrained bits"),
)


def standard_error(method: dict, report: dict) -> float:
    """How far chance alone moves an accuracy on so many rows."""
    return (method["accuracy"] * (1 - method["accuracy"]) / report["held_out"]) ** 0.5


def table(report: dict) -> str:
    """The methods as lines, then the checks and the time."""
    rows = [["method", *(heading for heading, _, _ in COLUMNS)]]
    rows += [[m["name"], *(write(m[key]) for _, key, write in COLUMNS)] for m in report["methods"]]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.rjust(width) if column else cell.ljust(width) for column, (cell, width) in cells)
        for cells in (enumerate(zip(row, widths, strict=True)) for row in rows)
    ]
    lines.insert(1, "-" * len(lines[0]))
    lines.append("")
    for check, words in CHECKS:
        if check in report:
            lines.append(f"{words}: {'identical' if report[check] else 'DIFFERENT'}")
    lines.append(f"{report['seconds_total']:.0f} s in all")
    return "\n".join(lines)


def write_report(report: dict, path: Path) -> None:
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def write_picture(report: dict, path: Path) -> None:
    """One panel a figure, one line a method; the sparse methods stand out by their colour."""
    methods = report["methods"]
    figure, panels = pyplot.subplots(
        1, 5, sharey=True, figsize=(13, 1.8 + 0.42 * len(methods)), layout="constrained", facecolor="white"
    )
    draw_accuracy(panels[0], report)
    bars = [column for column in COLUMNS if column[1] not in ("accuracy", "loss", "density")]
    for panel, (heading, key, write) in zip(panels[1:], bars, strict=True):
        draw_bars(panel, heading, [method[key] for method in methods], write, colours(methods))
    panels[0].set_yticks(range(len(methods)), [method["name"] for method in methods], fontsize=11, color=INK)
    panels[0].invert_yaxis()
    sparse = pyplot.Rectangle((0, 0), 1, 1, color=SPARSE_COLOUR, label="sparse, by libspeft")
    other = pyplot.Rectangle((0, 0), 1, 1, color=OTHER_COLOUR, label="by PyTorch alone, LoRA by PEFT")
    figure.legend(handles=[sparse, other], loc="outside lower right", ncols=2, frameon=False, labelcolor=INK)
    for panel in panels:
        panel.spines[["top", "right", "bottom"]].set_visible(False)
        panel.tick_params(axis="y", length=0)
        panel.set_xticks([])
        panel.minorticks_off()
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


def colours(methods: list[dict]) -> list[str]:
    return [SPARSE_COLOUR if method["name"] in SPARSE_METHODS else OTHER_COLOUR for method in methods]


def draw_accuracy(panel: Axes, report: dict) -> None:
    """Dots, since the axis does not start at 0, with their standard errors."""
    methods = report["methods"]
    accuracies = [method["accuracy"] for method in methods]
    deviations = [standard_error(method, report) for method in methods]
    dots = zip(accuracies, deviations, colours(methods), strict=True)
    for row, (accuracy, deviation, colour) in enumerate(dots):
        panel.errorbar(accuracy, row, xerr=deviation, fmt="o", markersize=8, color=colour, elinewidth=2)
        place = {"xytext": (6, 0), "textcoords": "offset points", "va": "center"}
        panel.annotate(f"{accuracy:.1%}", (accuracy + deviation, row), **place, color=INK)
    low, high = min(accuracies) - max(deviations), max(accuracies) + max(deviations)
    panel.set_xlim(low - 0.1 * (high - low), high + 0.45 * (high - low))
    heading = f"accuracy, {report['held_out']:,} held out\n(± one standard error)"
    panel.set_title(heading, fontsize=11, color=INK)


def draw_bars(
    panel: Axes, heading: str, values: list[float], write: Callable[[float], str], colours: list[str]
) -> None:
    """Bars with their values at their ends; on a logarithmic axis where they differ by a factor of 50."""
    bars = panel.barh(range(len(values)), values, color=colours, height=0.62)
    panel.bar_label(bars, [write(value) for value in values], padding=5, color=INK)
    if max(values) > 50 * min(values):
        heading += "\n(log scale)"
        panel.set_xscale("log")
        low, high = min(values) / 3, max(values)
        panel.set_xlim(low, high * (high / low) ** 0.6)
    else:
        panel.set_xlim(0, 1.6 * max(values))
    panel.set_title(heading, fontsize=11, color=INK)
