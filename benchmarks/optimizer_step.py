"""One AdamW update of 1% of the weights, from a dense gradient to the weights in place."""

from __future__ import annotations

from collections.abc import Iterator

import speft
import torch

from .clock import repeated, take_turns
from .machine import Machine
from .row import Row
from .weights import random_tensors, selected_adapter

LEARNING_RATE = 1e-4


def measure(machine: Machine) -> Iterator[Row]:
    """A cache line of the gradient is read for each selected weight, and one of the weights is written."""
    context = machine.context()
    (weights,), (gradient,) = random_tensors(machine), random_tensors(machine)
    adapter, mask = selected_adapter(context, weights)
    hyperparameters = speft.Hyperparameters(lr=LEARNING_RATE)

    def ours() -> None:
        adapter.accumulate(0, dense=gradient)
        adapter.step(hyperparameters)

    seconds, peer_seconds = take_turns(repeated(ours), repeated(_PyTorch(machine, gradient, mask).step))
    yield Row(
        name="gather and AdamW step at 1%",
        seconds=seconds,
        limit_seconds=machine.seconds_to_move((2 * 64 + 28) * machine.selected),
        counted="2 cache lines + 28 bytes × k",
        target=1.5,
        peer="grad[mask], torch.optim.AdamW, index_copy_",
        peer_seconds=peer_seconds,
        implementation=context.implementation("step_adamw") or "",
    )


class _PyTorch:
    """The code that people write: an ordinary optimizer over a vector of the selected values."""

    def __init__(self, machine: Machine, gradient: torch.Tensor, mask: torch.Tensor):
        (weights,) = random_tensors(machine)
        self.weights, self.gradient, self.mask = weights.view(-1), gradient.view(-1), mask
        self.originals = self.weights[mask].float()
        self.deltas = torch.zeros_like(self.originals, requires_grad=True)
        self.optimizer = torch.optim.AdamW([self.deltas], lr=LEARNING_RATE, weight_decay=0.0)

    @torch.no_grad()
    def step(self) -> None:
        self.deltas.grad = self.gradient[self.mask].float()
        self.optimizer.step()
        self.weights.index_copy_(0, self.mask, (self.originals + self.deltas).to(self.weights.dtype))
