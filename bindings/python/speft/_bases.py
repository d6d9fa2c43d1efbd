"""The bases that SparseGrad trains in: one for each kind of matrix, or one each."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ._adapter import Adapter
from ._basis import Basis
from ._context import Context
from ._errors import InvalidArgument, InvalidState


class Bases:
    """Gradients of the targets, on their way to the bases that they are to be sparse in.

    Args:
        context: where the bases live.
        targets: their shapes by their names.
        sharing: ``"kind"``, one for all names that differ in numbers alone; or one for ``"each"``.
        directions: the most of them on either side; None: all.
    """

    def __init__(
        self,
        context: Context,
        targets: Mapping[str, tuple[int, ...]],
        sharing: str,
        directions: int | None,
    ):
        if sharing not in ("kind", "each"):
            raise InvalidArgument(f"basis must be 'kind' or 'each', got {sharing!r}")
        self._context = context
        self._targets = targets
        self._sharing = sharing
        self._directions = directions
        self.clear()

    def clear(self) -> None:
        """Begins again, with nothing observed."""
        of: dict[str, Basis] = {}
        by_kind: dict[tuple[str, tuple[int, ...]], Basis] = {}
        for name, shape in self._targets.items():
            if len(shape) != 2:
                raise InvalidArgument(f"target {name!r} has shape {list(shape)}: a basis is for matrices")
            # Blocks are told apart by numbers: "layer.3.up.weight" and "layer.4.up.weight" are of a kind.
            kind = re.sub(r"\d+", "#", name) if self._sharing == "kind" else name
            if (kind, shape) not in by_kind:
                limits = {
                    side: None if self._directions is None else min(self._directions, size)
                    for side, size in zip(("row_directions", "column_directions"), shape, strict=True)
                }
                by_kind[kind, shape] = Basis(self._context, *shape, **limits)
            of[name] = by_kind[kind, shape]
        self._of = of
        self._arrived: set[str] = set()

    def __iter__(self) -> Iterator[tuple[str, Basis]]:
        """Each target's name, and its basis."""
        return iter(self._of.items())

    def observe(self, name: str, **gradient: Any) -> None:
        """Adds one gradient."""
        self._of[name].observe(**gradient)
        self._arrived.add(name)

    def note_arrival(self, name: str) -> None:
        """Notes that a gradient has reached the target's basis past `observe`."""
        self._arrived.add(name)

    def finish_batch(self) -> None:
        """Closes a batch, in which every target must have received a gradient.

        Raises:
            InvalidState: one has not; the message names it.
        """
        for name in self._targets:
            if name not in self._arrived:
                raise InvalidState(f"no gradient of {name!r} has arrived since the last observation")
        self._arrived.clear()

    def bind(self, native: Adapter) -> None:
        """Fits all bases and gives each target its own.

        Raises:
            InvalidState: nothing was observed.
            InvalidArgument: all gradients of a kind were 0.
        """
        for basis in {id(basis): basis for basis in self._of.values()}.values():
            basis.fit()
        for name, basis in self._of.items():
            native.bind_basis(name, basis)
