"""Taking 1% of the weights off, and putting them on again."""

from __future__ import annotations

from collections.abc import Iterator

import speft
import torch

from .clock import Clock, repeated, take_turns
from .machine import Machine
from .row import Row
from .weights import random_tensors, selected_adapter


def measure(machine: Machine) -> Iterator[Row]:
    """For each weight a cache line is read and written, an index and a value are read."""
    context = machine.context()
    (weights,), (others,) = random_tensors(machine), random_tensors(machine)
    adapter, mask = selected_adapter(context, weights)
    adapter.accumulate(0, values=torch.randn(machine.selected))
    adapter.step(speft.Hyperparameters(lr=1e-2))  # deltas that change bits

    def merge(clock: Clock) -> None:
        adapter.unmerge()
        with clock:
            adapter.merge()

    def unmerge(clock: Clock) -> None:
        adapter.merge()
        with clock:
            adapter.unmerge()

    flat = others.view(-1)
    originals, deltas = flat[mask], torch.randn(machine.selected).to(flat.dtype)
    moved = machine.seconds_to_move((2 * 64 + 8) * machine.selected)
    for name, operation, ours, peer_name, peer in (
        ("merge", "merge", merge, "index_add_", lambda: flat.index_add_(0, mask, deltas)),
        ("unmerge", "unmerge", unmerge, "index_copy_", lambda: flat.index_copy_(0, mask, originals)),
    ):
        seconds, peer_seconds = take_turns(ours, repeated(peer))
        yield Row(
            name=f"{name} at 1%",
            seconds=seconds,
            limit_seconds=moved,
            counted="2 cache lines + 8 bytes × k",
            target=1.5,
            peer=peer_name,
            peer_seconds=peer_seconds,
            implementation=context.implementation(operation) or "",
        )
