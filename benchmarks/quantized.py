"""A layer of 67 million NF4 weights, 35 MB with their quantized scales, and 1% of deltas beside them; bfloat16 inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import bitsandbytes.functional as theirs
import speft
import torch

from .clock import repeated, take_turns
from .machine import Machine
from .row import Row

OUT, IN = 16384, 4096
SCALARS = OUT * IN
DENSITY = 0.01
TOKENS = (1, 4, 16, 128, 1024)
FEW = 16  # up to so many tokens reading the weights is what takes time
BYTES_A_WEIGHT = 0.5 + 1 / 64 + 4 / (64 * 256)
BYTES_A_DELTA = 8  # index and value


def measure(machine: Machine) -> Iterator[Row]:
    """Forward and backward, for few tokens and for many."""
    context = machine.context()
    weights = torch.randn(OUT, IN).bfloat16()
    base = speft.quantize(weights)
    adapter = speft.Adapter(context, [speft.Parameter.of("w", base)], selection="random", density=DENSITY)
    adapter.bind_weights("w", base)
    adapter.select()
    codes, state = theirs.quantize_4bit(weights, quant_type="nf4", compress_statistics=True)
    for tokens in TOKENS:
        x, dy = torch.randn(tokens, IN).bfloat16(), torch.randn(tokens, OUT).bfloat16()
        for forward in (True, False):
            inputs, outputs = (x, torch.empty_like(dy)) if forward else (dy, torch.empty_like(x))
            peer = _dequantize_first(codes, state, forward)
            yield _row(machine, context, adapter, inputs, outputs, peer, forward)


def _dequantize_first(
    codes: torch.Tensor, state: theirs.QuantState, forward: bool
) -> Callable[[torch.Tensor], torch.Tensor]:
    """What its layers do in training: a dense copy in bfloat16, multiplied by; no delta."""

    def multiply(inputs: torch.Tensor) -> torch.Tensor:
        dense = theirs.dequantize_4bit(codes, state)
        return inputs @ (dense.T if forward else dense)

    return multiply


def _row(
    machine: Machine,
    context: speft.Context,
    adapter: speft.Adapter,
    inputs: torch.Tensor,
    outputs: torch.Tensor,
    peer: Callable[[torch.Tensor], torch.Tensor],
    forward: bool,
) -> Row:
    product = adapter.linear_forward if forward else adapter.linear_backward
    seconds, peer_seconds = take_turns(
        repeated(lambda: product("w", inputs, outputs)), repeated(lambda: peer(inputs)), rounds=7
    )
    tokens = inputs.shape[0]
    if tokens <= FEW:
        count = SCALARS * (BYTES_A_WEIGHT + DENSITY * BYTES_A_DELTA)
        limit, counted = machine.seconds_to_move(count), "0.52 bytes × N and 8 bytes a delta read"
    else:
        limit = machine.seconds_to_multiply_float32(2 * tokens * SCALARS)
        counted = "the dense product in float32, which Δ is kept in"
    return Row(
        name=f"NF4 + 1% layer, {'forward' if forward else 'backward'}, {tokens} tokens",
        seconds=seconds,
        limit_seconds=limit,
        counted=counted,
        target=1 / 0.7,
        peer="bitsandbytes dequantizes, torch multiplies; no Δ",
        peer_seconds=peer_seconds,
        implementation=context.implementation("multiply_quantized") or "",
    )
