"""Choosing 1% of 67 million scalars (of a billion on a GPU): by |g·θ|, by −g·θ, by |θ|, and at random."""

from __future__ import annotations

from collections.abc import Iterator

import speft
import torch

from .clock import Clock, repeated, take_turns
from .machine import Machine
from .row import Row
from .weights import DENSITY, make_adapter, random_tensors


def measure(machine: Machine) -> Iterator[Row]:
    """Selections by scores read every weight once, and the accumulated gradient where they need it."""
    context = machine.context()
    one, four = random_tensors(machine, 1), random_tensors(machine, 4)
    yield _by_scores(machine, context, "snip", "one tensor", one, random_tensors(machine, 1))
    yield _by_scores(machine, context, "snip", "global over 4", four, random_tensors(machine, 4))
    yield _by_scores(machine, context, "force", "one tensor", one, random_tensors(machine, 1))
    yield _by_scores(machine, context, "magnitude", "one tensor", one, None)
    yield _by_scores(machine, context, "magnitude", "global over 4", four, None)
    yield _at_random(machine, context, one)


def _by_scores(
    machine: Machine,
    context: speft.Context,
    selection: str,
    scope: str,
    weights: list[torch.Tensor],
    gradients: list[torch.Tensor] | None,
) -> Row:
    def ours(clock: Clock) -> None:
        adapter = make_adapter(context, weights, selection=selection, density=DENSITY)
        if gradients:
            adapter.begin_observation()
            for number, gradient in enumerate(gradients):
                adapter.observe(number, dense=gradient)
            adapter.finish_observation()
        with clock:
            adapter.select()
        adapter.unmerge()
        adapter.close()

    sums = [gradient.float() for gradient in gradients or []]
    if gradients:
        signed = selection == "force"
        products = torch.neg if signed else torch.abs
        pairs = list(zip(sums, weights, strict=True))
        peer = repeated(lambda: _top(machine, (products(g.mul(w)) for g, w in pairs)))
        formula, bytes_a_scalar, counted = "−g·θ" if signed else "|g·θ|", 6, "float32 g and bfloat16 θ read"
    else:
        peer = repeated(lambda: _top(machine, (w.abs() for w in weights)))
        formula, bytes_a_scalar, counted = "|θ|", 2, "bfloat16 θ read"
    seconds, peer_seconds = take_turns(ours, peer, rounds=5)
    return Row(
        name=f"select 1% by {formula}, {scope}",
        seconds=seconds,
        limit_seconds=machine.seconds_to_move(bytes_a_scalar * machine.scalars),
        counted=f"{bytes_a_scalar} bytes × N: {counted}",
        target=2.0 if machine.device == "cpu" else 1.5,
        peer="torch.topk of the scores",
        peer_seconds=peer_seconds,
        implementation=context.implementation("select_top") or "",
    )


def _top(machine: Machine, scores: Iterator[torch.Tensor]) -> torch.Tensor:
    parts = [score.view(-1) for score in scores]
    return torch.topk(parts[0] if len(parts) == 1 else torch.cat(parts), machine.selected, sorted=False).indices


def _at_random(machine: Machine, context: speft.Context, weights: list[torch.Tensor]) -> Row:
    seed = iter(range(1 << 20))

    def ours(clock: Clock) -> None:
        adapter = make_adapter(context, weights, selection="random", density=DENSITY, seed=next(seed))
        with clock:
            adapter.select()
        adapter.unmerge()
        adapter.close()

    def peer() -> torch.Tensor:
        return torch.randperm(machine.scalars)[: machine.selected].sort().values

    seconds, peer_seconds = take_turns(ours, repeated(peer), rounds=5)
    return Row(
        name="select 1% at random",
        seconds=seconds,
        limit_seconds=machine.seconds_to_move(4 * machine.selected),
        counted="4 bytes × k: indices written",
        target=None,
        peer="torch.randperm, sorted",
        peer_seconds=peer_seconds,
        implementation=context.implementation("select_random") or "",
    )
