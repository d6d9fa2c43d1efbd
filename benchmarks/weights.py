"""The tensors that memory-bound operations are measured on: 67 million random scalars, past any cache."""

from __future__ import annotations

import speft
import torch

SCALARS = 1 << 26
SHAPE = (1 << 13, 1 << 13)
DENSITY = 0.01
SELECTED = int(DENSITY * SCALARS)


def random_tensors(count: int = 1, dtype: torch.dtype = torch.bfloat16) -> list[torch.Tensor]:
    """SCALARS normal numbers in `count` tensors of equal size, as weights and gradients are."""
    return [torch.randn(SHAPE[0] // count, SHAPE[1]).to(dtype) for _ in range(count)]


def make_adapter(context: speft.Context, weights: list[torch.Tensor], **options: object) -> speft.Adapter:
    """An adapter of these weights, bound to them."""
    names = [f"layer{number}.weight" for number in range(len(weights))]
    parameters = [speft.Parameter.of(name, weight) for name, weight in zip(names, weights, strict=True)]
    adapter = speft.Adapter(context, parameters, **options)
    for name, weight in zip(names, weights, strict=True):
        adapter.bind_weights(name, weight)
    return adapter


def selected_adapter(context: speft.Context, weights: torch.Tensor) -> tuple[speft.Adapter, torch.Tensor]:
    """An adapter with a random mask, and that mask."""
    adapter = make_adapter(context, [weights], selection="random", density=DENSITY)
    adapter.select()
    return adapter, torch.from_dlpack(adapter.mask(0))
