"""Puts results between the two markers of a page whose other text is written by hand."""

from __future__ import annotations

import shutil
from pathlib import Path

import sentiment_example  # noqa: F401
from errors import InputError

BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"
PICTURE = "reproduction-ages.png"


def write_into(page: Path, results: str, ages: Path | None) -> None:
    """Replaces what stands between the markers; the picture goes into `images/` beside the page."""
    text = page.read_text(encoding="utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise InputError(f"{page}: expected one line {BEGIN!r} and, after it, one {END!r}")
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    if ages:
        (page.parent / "images").mkdir(exist_ok=True)
        shutil.copyfile(ages, page.parent / "images" / PICTURE)
        results += (
            "\n### When SpIEL's scalars were grown\n\n"
            f"![The share of the final scalars that was last grown after each step](images/{PICTURE})\n"
        )
    page.write_text(f"{before}{BEGIN}\n\n{results}\n{END}{after}", encoding="utf-8")
