"""Moving the masks of a 4096 × 4096 layer at 1%: finding candidates by |dYᵀX|, and whole reselections."""

from __future__ import annotations

from collections.abc import Iterator

import speft
import torch

from .activations import TOKENS, WIDTH
from .clock import Clock, repeated, take_turns
from .machine import Machine
from .row import Row
from .weights import DENSITY, make_adapter

SELECTED = int(DENSITY * WIDTH * WIDTH)
# Of each selected weight at least: its index, original bits, delta and two moments, read and written.
STATE_BYTES = 2 * (4 + 2 + 4 + 8)


def measure(machine: Machine) -> Iterator[Row]:
    """SpIEL's first replacement, of all weights: the largest that there is."""
    context = machine.context()
    weight = torch.randn(WIDTH, WIDTH).bfloat16()
    x, dy = torch.randn(TOKENS, WIDTH).bfloat16(), torch.randn(TOKENS, WIDTH).bfloat16()
    yield _candidates(machine, context, weight, x, dy)
    yield _reselection(machine, context, weight, x, dy, "spiel-ag")
    yield _reselection(machine, context, weight, x, dy, "spiel-ma")


def _start(context: speft.Context, weight: torch.Tensor, method: str) -> speft.Adapter:
    adapter = make_adapter(context, [weight], selection=method, density=DENSITY, reselect_every=1, window=1)
    adapter.select()
    return adapter


def _candidates(
    machine: Machine, context: speft.Context, weight: torch.Tensor, x: torch.Tensor, dy: torch.Tensor
) -> Row:
    def ours(clock: Clock) -> None:
        adapter = _start(context, weight, "spiel-ag")
        adapter.accumulate(0, x=x, dy=dy)
        with clock:
            adapter.step()
        adapter.unmerge()
        adapter.close()

    def dense() -> torch.Tensor:
        gradient = (dy.t() @ x).view(-1).float().abs_()
        return torch.topk(gradient, SELECTED, sorted=False).indices

    seconds, peer_seconds = take_turns(ours, repeated(dense), rounds=5)
    return Row(
        name="step that finds 1% candidates, 1,024 tokens",
        seconds=seconds,
        limit_seconds=machine.seconds_to_multiply(2 * TOKENS * WIDTH * WIDTH),
        counted="2 · tokens × N operations, bfloat16",
        target=None,
        peer="dense bfloat16 product, torch.topk",
        peer_seconds=peer_seconds,
        implementation=context.implementation("select_product") or "",
    )


def _reselection(
    machine: Machine,
    context: speft.Context,
    weight: torch.Tensor,
    x: torch.Tensor,
    dy: torch.Tensor,
    method: str,
) -> Row:
    def ours(clock: Clock) -> None:
        adapter = _start(context, weight, method)
        adapter.accumulate(0, x=x, dy=dy)
        adapter.step()
        with clock:
            adapter.reselect()
        adapter.unmerge()
        adapter.close()

    rows, columns = torch.rand(WIDTH), torch.rand(WIDTH)

    def outer() -> torch.Tensor:
        return torch.topk(torch.outer(rows, columns).view(-1), SELECTED, sorted=False).indices

    grows = method == "spiel-ma"
    seconds, *others = take_turns(ours, *([repeated(outer)] if grows else []), rounds=5)
    return Row(
        name=f"{method} replaces 1%",
        seconds=seconds,
        limit_seconds=machine.seconds_to_move(STATE_BYTES * SELECTED),
        counted=f"{STATE_BYTES} bytes × k: index, original, delta and moments read and written",
        target=None,
        peer="torch.outer and topk, the growth alone" if grows else "nothing does only this",
        peer_seconds=others[0] if others else None,
        implementation=context.implementation("select_top") or "",
    )
