"""Training losses as small pictures in SVG, one a method, whose colours are the page's."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Collection, Iterator

WINDOW = 16  # steps that a point of a curve is the mean of: single batches say little
WIDTH, HEIGHT = 300, 170
LEFT, RIGHT, TOP, BOTTOM = 34, 6, 8, 22

Curve = list[tuple[int, float]]  # (step, mean loss)


def draw_loss_curves(losses: dict[str, list[float]], sparse: Collection[str]) -> Iterator[str]:
    """A figure a method: its own curve before those of all the others, on the same axes."""
    curves = {name: smooth(values) for name, values in losses.items()}
    steps = max(map(len, losses.values()))
    top = 1.05 * max((loss for curve in curves.values() for _, loss in curve), default=1.0)
    lines = {name: polyline(curve, steps, top) for name, curve in curves.items()}
    for name in curves:
        others = "".join(line for other, line in lines.items() if other != name)
        yield (
            f"<figure class={'sparse' if name in sparse else 'other'}><figcaption>{name}</figcaption>"
            f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role=img><title>training loss of {name}</title>'
            f"{axes(steps, top)}<g class=behind>{others}</g><g class=own>{lines[name]}</g></svg></figure>"
        )


def smooth(losses: list[float]) -> Curve:
    """Means over the steps until then, WINDOW at most. A loss that is no number leaves a gap."""
    means = (statistics.fmean(losses[max(0, end - WINDOW) : end]) for end in range(1, len(losses) + 1))
    return [(step, mean) for step, mean in enumerate(means, start=1) if math.isfinite(mean)]


def polyline(curve: Curve, steps: int, top: float) -> str:
    points = " ".join(f"{place_step(step, steps):.1f},{place_loss(loss, top):.1f}" for step, loss in curve)
    return f'<polyline points="{points}"/>'


def axes(steps: int, top: float) -> str:
    """A line and a number at round losses; the first and the last step."""
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    grid = "".join(
        f'<path d="M{LEFT} {place_loss(tick, top):.1f}H{right}"/>'
        f'<text x={LEFT - 5} y="{place_loss(tick, top) + 4:.1f}" text-anchor=end>{tick:g}</text>'
        for tick in ticks(top)
    )
    return (
        f"<g class=axes>{grid}<text x={LEFT} y={bottom + 16}>step 1</text>"
        f"<text x={right} y={bottom + 16} text-anchor=end>{steps:,}</text></g>"
    )


def ticks(top: float) -> list[float]:
    """From 0, at most five, a round number apart."""
    sizes = (digit * 10.0**power for power in itertools.count(-3) for digit in (1, 2, 5))
    size = next(size for size in sizes if top / size < 5)
    return [round(size * i, 3) for i in range(math.floor(top / size) + 1)]


def place_step(step: int, steps: int) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * (step - 1) / max(1, steps - 1)


def place_loss(loss: float, top: float) -> float:
    return TOP + (HEIGHT - TOP - BOTTOM) * (1 - loss / top)
