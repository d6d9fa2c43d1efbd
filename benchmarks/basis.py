"""Fitting SparseGrad's basis: to 30 steps of all up- or down-projections of a model, 1,536 tokens each.

The gradients are noise on a decaying spectrum; neither way of fitting looks at what they are. ``torch.linalg.svd`` gets
the stack as it is, which has to be kept for it, and its time to make one is not counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import speft
import torch

from .clock import repeated, take_turns
from .machine import Machine
from .row import Row

STEPS, TOKENS = 30, 1536
LARGEST_STACK = 1 << 30  # bytes; the decomposition of a larger one takes this machine minutes, and three times that


@dataclass(frozen=True)
class Kind:
    """One kind of matrix of a model."""

    name: str
    blocks: int
    rows: int
    columns: int

    @property
    def gradients(self) -> int:
        return STEPS * self.blocks

    @property
    def operations(self) -> float:
        """Multiplications and additions: each gradient, and half of its products with itself."""
        product = 2 * TOKENS * self.rows * self.columns
        grams = self.rows * self.columns * (self.rows + self.columns)
        return self.gradients * (product + grams)


KINDS = (
    Kind("MiniLM-L6's up-projections", 6, 1536, 384),
    Kind("MiniLM-L6's down-projections", 6, 384, 1536),
    Kind("BERT-base's up-projections", 12, 3072, 768),
)


def measure(machine: Machine) -> Iterator[Row]:
    """A fit of each kind, once: it takes seconds."""
    for kind in KINDS:
        yield _fit(machine, kind)


def _fit(machine: Machine, kind: Kind) -> Row:
    context = machine.context()
    decay = torch.logspace(0, -3, kind.columns)
    x = torch.randn(TOKENS, kind.columns) * decay
    dy = torch.randn(TOKENS, kind.rows) / TOKENS

    def ours() -> None:
        basis = speft.Basis(context, kind.rows, kind.columns)
        for _ in range(kind.gradients):
            basis.observe(x=x, dy=dy)
        basis.fit()

    stack_bytes = 4 * kind.gradients * kind.rows * kind.columns
    small = stack_bytes <= LARGEST_STACK
    seconds, *others = take_turns(
        repeated(ours), *([_decompose_stack(kind, x, dy)] if small else []), rounds=1, warm_up=0
    )
    return Row(
        name=f"basis of {kind.name}, {kind.gradients} gradients from activations",
        seconds=seconds,
        limit_seconds=kind.operations / machine.float32_rate,
        counted="operations of dY'X and of half its products with itself, float32; no eigenvectors",
        target=None,
        peer="torch.linalg.svd of the stack, unfolded twice" if small else f"stack of {stack_bytes / 1e9:.1f} GB",
        peer_seconds=others[0] if others else None,
        implementation=f"{context.implementation('add_gram')}, {context.implementation('find_eigenvectors')}",
    )


def _decompose_stack(kind: Kind, x: torch.Tensor, dy: torch.Tensor) -> Callable:
    gradient = dy.t() @ x
    stack = gradient.expand(kind.gradients, -1, -1)

    def decompose() -> None:
        for rows in (kind.rows, kind.columns):
            turned = stack if rows == kind.columns else stack.transpose(1, 2)
            torch.linalg.svd(turned.reshape(-1, rows), full_matrices=False)

    return repeated(decompose)
