"""The same for the page: one small picture in SVG a method, whose numbers are read on pointing at a cell."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from density_scale import TICKS, ink, shade
from placement import (
    MOST_NUMBERED_LAYERS,
    in_words,
    rows_and_columns,
    say_what_is_seen,
    times,
    write_relative,
)

LEFT, CELL_WIDTH, CELL_HEIGHT, BELOW = 118, 32, 21, 18


def draw_placements(placements: dict[str, list[dict]]) -> Iterator[str]:
    """A figure a method: kinds of matrices by layers."""
    for name, matrices in placements.items():
        kinds, layers = rows_and_columns(matrices)
        numbered = len(layers) <= MOST_NUMBERED_LAYERS
        width = CELL_WIDTH if numbered else CELL_WIDTH * MOST_NUMBERED_LAYERS / len(layers)
        cells = "".join(
            draw_cell(m, layers.index(m["layer"]), kinds.index(m["kind"]), width, numbered) for m in matrices
        )
        size = f"{LEFT + width * len(layers):.0f} {CELL_HEIGHT * len(kinds) + BELOW}"
        yield (
            f"<figure class=sparse><figcaption>{escape(name)}"
            f"<small>{escape(say_what_is_seen(matrices))}</small></figcaption>"
            f'<svg viewBox="0 0 {size}" role=img><title>where the weights of {escape(name)} lie</title>'
            f"<g class=axes>{draw_labels(kinds, layers, width)}</g><g class=cells>{cells}</g></svg></figure>"
        )


def draw_cell(matrix: dict, column: int, row: int, width: float, numbered: bool) -> str:
    relative = matrix["relative_density"]
    left, top = LEFT + column * width, row * CELL_HEIGHT
    number = ""
    if numbered:
        digits = escape(write_relative(relative))
        number = f'<text x="{left + width / 2:.1f}" y="{top + 14}" fill="{ink(relative)}">{digits}</text>'
    said = f"{matrix['name']}: {matrix['selected']:,} of {matrix['scalars']:,}, {times(relative)}"
    return (
        f'<g><title>{escape(said)}</title><rect x="{left:.1f}" y={top} width="{width - 1:.1f}" '
        f'height={CELL_HEIGHT - 1} fill="{shade(relative)}"/>{number}</g>'
    )


def draw_labels(kinds: list[str], layers: list[int | None], width: float) -> str:
    """Kinds at the left, the first and the last layer below."""
    bottom = CELL_HEIGHT * len(kinds) + 13
    rows = "".join(
        f"<text x={LEFT - 6} y={row * CELL_HEIGHT + 14} text-anchor=end>{escape(in_words(kind))}</text>"
        for row, kind in enumerate(kinds)
    )
    ends = [(0, "start"), (len(layers) - 1, "end")] if len(layers) > 1 else [(0, "start")]
    columns = "".join(
        f'<text x="{LEFT + width * (place + (anchor == "end")):.1f}" y={bottom} text-anchor={anchor}>'
        f"layer {layers[place]}</text>"
        for place, anchor in ends
        if layers[place] is not None
    )
    return rows + columns


def draw_scale() -> str:
    """What the colours mean, in words beside them."""
    words = ("an eighth or less", "", "", "just its share", "", "", "8 times or more")
    swatches = (
        f'<span class=swatch style="background:{shade(tick)}"></span>{word and f" {word} "}'
        for tick, word in zip(TICKS, words, strict=True)
    )
    return f"<p class=note>{''.join(swatches)}</p>"
