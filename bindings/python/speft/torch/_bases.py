"""The bases that SparseGrad trains in: one for each kind of matrix, or one each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from .._adapter import Adapter
from .._basis import Basis
from .._context import Context
from .._errors import InvalidArgument, InvalidState
from ._targets import Target


class Bases:
    """Gradients of the targets, on their way to the bases that they are to be sparse in."""

    def __init__(self, context: Context, targets: Sequence[Target], sharing: str, directions: int | None):
        if sharing not in ("kind", "each"):
            raise InvalidArgument(f"basis must be 'kind' or 'each', got {sharing!r}")
        self._context = context
        self._targets = targets
        self._sharing = sharing
        self._directions = directions
        self.clear()

    def clear(self) -> None:
        """Begins again, with nothing observed."""
        self._of: dict[str, Basis] = {}
        self._arrived: set[str] = set()
        by_kind: dict[tuple[str, tuple[int, ...]], Basis] = {}
        for target in self._targets:
            shape = tuple(target.weight.shape)
            if len(shape) != 2:
                raise InvalidArgument(
                    f"target {target.name!r} has shape {list(shape)}: a basis is for matrices"
                )
            # Blocks are told apart by numbers: "layer.3.up.weight" and "layer.4.up.weight" are of a kind.
            kind = re.sub(r"\d+", "#", target.name) if self._sharing == "kind" else target.name
            if (kind, shape) not in by_kind:
                limits = {
                    side: None if self._directions is None else min(self._directions, size)
                    for side, size in zip(("row_directions", "column_directions"), shape, strict=True)
                }
                by_kind[kind, shape] = Basis(self._context, *shape, **limits)
            self._of[target.name] = by_kind[kind, shape]

    def observe(self, target: Target, **gradient: Any) -> None:
        """Adds one gradient."""
        self._of[target.name].observe(**gradient)
        self._arrived.add(target.name)

    def finish_batch(self) -> None:
        """Closes a batch, in which every target must have received a gradient.

        Raises:
            InvalidState: one has not; the message names it.
        """
        for target in self._targets:
            if target.name not in self._arrived:
                raise InvalidState(f"no gradient of {target.name!r} has arrived since the last observation")
        self._arrived.clear()

    def bind(self, native: Adapter) -> None:
        """Fits all bases and gives each target its own.

        Raises:
            InvalidState: nothing was observed.
            InvalidArgument: all gradients of a kind were 0.
        """
        for basis in {id(basis): basis for basis in self._of.values()}.values():
            basis.fit()
        for target in self._targets:
            native.bind_basis(target.index, self._of[target.name])
