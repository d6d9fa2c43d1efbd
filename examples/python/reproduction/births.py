"""When the scalars of a moving mask were grown."""

from __future__ import annotations

import collections

import torch
from speft.torch import SparseAdapter


class Births:
    """For each trained scalar the step after which it was last grown; 0: it is there from the start.

    Taken from the masks themselves, which every method has, rather than from the optimizer's ages.
    """

    def __init__(self, adapter: SparseAdapter) -> None:
        self._adapter = adapter
        self._masks = adapter.masks
        self._steps = {name: torch.zeros_like(mask) for name, mask in self._masks.items()}
        self._reselections = 0
        self.replaced = 0

    def look(self, step: int) -> None:
        """To be called after every step."""
        if len(self._adapter.history) == self._reselections:
            return
        self._reselections = len(self._adapter.history)
        masks = self._adapter.masks
        for name, mask in masks.items():
            before = self._masks[name]
            place = torch.searchsorted(before, mask).clamp(max=len(before) - 1)
            stays = before[place] == mask
            self._steps[name] = torch.where(stays, self._steps[name][place], step)
            self.replaced += int((~stays).sum())
        self._masks = masks

    def grown_at(self) -> dict[int, int]:
        """How many of the scalars that are trained now were last grown after each step."""
        counts = collections.Counter(step for steps in self._steps.values() for step in steps.tolist())
        return dict(sorted(counts.items()))
