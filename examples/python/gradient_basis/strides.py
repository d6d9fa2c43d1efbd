"""Which entries of ∂L/∂Y are zero: whole rows of them, or single ones?"""

from __future__ import annotations

import dataclasses

import numpy as np

HELD = 0.99
"""Of the squares: how many rows hold so much of them."""


@dataclasses.dataclass(frozen=True)
class Strides:
    """Of one ∂L/∂Y [tokens, outputs], in shares."""

    nonzero_entries: float
    nonzero_rows: float
    rows_with_99_percent: float

    @classmethod
    def of(cls, dy: np.ndarray) -> Strides:
        squares = np.sort((dy.astype(np.float64) ** 2).sum(axis=1))[::-1]
        held = np.searchsorted(np.cumsum(squares), HELD * squares.sum()) + 1
        return cls(
            nonzero_entries=float(np.count_nonzero(dy) / dy.size),
            nonzero_rows=float(np.count_nonzero(dy.any(axis=1)) / len(dy)),
            rows_with_99_percent=float(held / len(dy)),
        )


def mean_of(strides: list[Strides]) -> Strides:
    return Strides(*np.mean([dataclasses.astuple(each) for each in strides], axis=0).tolist())
