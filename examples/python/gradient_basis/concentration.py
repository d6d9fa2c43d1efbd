"""How much of a matrix lies in its largest entries."""

from __future__ import annotations

import numpy as np

SHARES = (0.2, 1.0, 5.0)
"""Per cent of the entries, as the paper keeps them: 0.2 on LLaMA, 1 on BERT."""

POINTS = np.geomspace(1e-4, 1, 60)
"""Fractions of the entries at which the curve is taken."""


class Concentration:
    """Of several matrices of one size, on average: the share of the squares that the largest entries hold."""

    def __init__(self) -> None:
        self._sums = np.zeros(len(POINTS))
        self._shares = np.zeros(len(SHARES))
        self._count = 0

    def add(self, matrix: np.ndarray) -> None:
        squares = np.sort(matrix.astype(np.float64).ravel() ** 2)[::-1]
        if squares[0] == 0:
            return  # a gradient of zeros lies nowhere
        sums = np.cumsum(squares) / squares.sum()
        self._sums += sums[np.maximum(1, (POINTS * squares.size).astype(int)) - 1]
        self._shares += [sums[max(1, int(share / 100 * squares.size)) - 1] for share in SHARES]
        self._count += 1

    def curve(self) -> np.ndarray:
        """At POINTS."""
        return self._sums / self._count

    def shares(self) -> dict[str, float]:
        """At SHARES, by name."""
        return {f"{share:g}%": float(held) for share, held in zip(SHARES, self._shares / self._count, strict=True)}


def random_basis(size: int, seed: int) -> np.ndarray:
    """Orthonormal rows that know nothing of any gradient."""
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((size, size)))[0].astype(np.float32)
