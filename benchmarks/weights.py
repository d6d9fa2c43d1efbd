"""The tensors that memory-bound operations are measured on: random scalars, many times what caches hold."""

from __future__ import annotations

import speft
import torch

from .machine import Machine

COLUMNS = 1 << 13
DENSITY = 0.01


def random_tensors(machine: Machine, count: int = 1, dtype: torch.dtype = torch.bfloat16) -> list[torch.Tensor]:
    """`machine.scalars` normal numbers in `count` tensors of equal size, as weights and gradients are."""
    return [torch.randn(machine.scalars // COLUMNS // count, COLUMNS, dtype=dtype) for _ in range(count)]


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
    return adapter, torch.from_dlpack(adapter.mask(0)).to(weights.device)
