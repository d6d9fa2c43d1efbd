"""Adding a batch's gradient to the float32 mean that a selection will rank by."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from .clock import repeated, take_turns
from .machine import Machine
from .row import Row
from .weights import DENSITY, make_adapter, random_tensors


def measure(machine: Machine) -> Iterator[Row]:
    """A bfloat16 gradient is read; its sum is read and written."""
    context = machine.context()
    weights, (gradient,) = random_tensors(machine), random_tensors(machine)
    adapter = make_adapter(context, weights, selection="snip", density=DENSITY)
    adapter.begin_observation()
    sums = torch.zeros(gradient.shape)
    seconds, peer_seconds = take_turns(
        repeated(lambda: adapter.observe(0, dense=gradient)), repeated(lambda: sums.add_(gradient))
    )
    yield Row(
        name="accumulate a bfloat16 gradient",
        seconds=seconds,
        limit_seconds=machine.seconds_to_move(10 * machine.scalars),
        counted="10 bytes × N: 2 read, 4 read and written",
        target=1.3,
        peer="float32.add_(bfloat16)",
        peer_seconds=peer_seconds,
        implementation=context.implementation("add_values") or "",
    )
