"""Products of bfloat16 tokens with an NF4 weight of 4096 × 4096, whose scales are quantized too, and 1% of deltas.

A few tokens, as a model that writes has them, are bound by reading codes; many, as training has them, by
operations. Both peers multiply in bfloat16 and have no delta; ours in float32, for W plus what is trained is
not rounded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import cycle

import speft
import torch
from torch import nn

from .clock import repeated, take_turns
from .machine import Machine
from .row import Row

WIDTH = 4096
LAYERS = 8  # in turn: one alone would stay in the cache
TOKENS = (1, 4, 16, 64, 512)
FEW = 16
DENSITY = 0.01
BYTES = (0.5 + 1 / 64 + 8 * DENSITY) * WIDTH * WIDTH  # of codes, of theirs for the scales, of indices and deltas

Product = Callable[[torch.Tensor], object]


def measure(machine: Machine) -> Iterator[Row]:
    """bitsandbytes multiplies in the forward direction alone; a dense weight has to be made for either."""
    context = machine.context()
    dense = [torch.randn(WIDTH, WIDTH).bfloat16() for _ in range(LAYERS)]
    weights = [speft.quantize(weight, "nf4", context=context) for weight in dense]
    adapters = [_adapter(context, weight) for weight in weights]
    peers = _bitsandbytes(dense)
    for tokens in TOKENS:
        x = torch.randn(tokens, WIDTH).bfloat16()
        yield from _rows(machine, context, "forward", x, adapters, weights, peers)
        yield from _rows(machine, context, "backward", x, adapters, weights, {})


def _adapter(context: speft.Context, weight: speft.QuantizedTensor) -> speft.Adapter:
    adapter = speft.Adapter(context, [speft.Parameter.of("w", weight)], selection="random", density=DENSITY)
    adapter.bind_weights("w", weight)
    adapter.select()
    return adapter


def _rows(
    machine: Machine,
    context: speft.Context,
    direction: str,
    x: torch.Tensor,
    adapters: Sequence[speft.Adapter],
    weights: Sequence[speft.QuantizedTensor],
    peers: dict[str, Sequence[Product]],
) -> Iterator[Row]:
    y = torch.empty_like(x)
    forward = direction == "forward"
    dense = torch.empty(WIDTH, WIDTH, dtype=x.dtype)

    def ours(adapter: speft.Adapter) -> Product:
        multiply = adapter.linear_forward if forward else adapter.linear_backward
        return lambda x: multiply("w", x, y)

    def dequantized(weight: speft.QuantizedTensor) -> Product:
        def product(x: torch.Tensor) -> None:
            context.dequantize(weight, dense)
            torch.mm(x, dense.t() if forward else dense, out=y)

        return product

    peers = {"dequantized, then torch.mm": [dequantized(weight) for weight in weights], **peers}
    actions = ([ours(adapter) for adapter in adapters], *peers.values())
    seconds, *peer_seconds = take_turns(*(repeated(_in_turn(products, x)) for products in actions), rounds=15)
    for peer, taken in zip(peers, peer_seconds, strict=True):
        operations = 2 * len(x) * WIDTH * WIDTH
        yield Row(
            name=f"NF4 + 1% product, {direction}, {len(x)} tokens",
            seconds=seconds,
            limit_seconds=max(machine.seconds_to_move(BYTES), operations / machine.float32_rate),
            counted="codes, scales and deltas, or 2 · tokens × weights operations, float32",
            target=1 / 0.7 if len(x) <= FEW else None,
            peer=peer,
            peer_seconds=taken,
            implementation=context.implementation("multiply_quantized") or "",
        )


def _in_turn(products: Sequence[Product], x: torch.Tensor) -> Callable[[], object]:
    turn = cycle(products)
    return lambda: next(turn)(x)


def _bitsandbytes(weights: Sequence[torch.Tensor]) -> dict[str, list[Product]]:
    """Nothing where it is not installed."""
    try:
        from bitsandbytes.nn import Linear4bit, Params4bit
    except ImportError:
        return {}

    def layer(weight: torch.Tensor) -> Product:
        made: nn.Module = Linear4bit(WIDTH, WIDTH, bias=False, compute_dtype=weight.dtype)
        made.weight = Params4bit(weight, requires_grad=False, quant_type="nf4", compress_statistics=True)
        return torch.no_grad()(made.to(weight.device).eval())

    return {"bitsandbytes' Linear4bit": [layer(weight) for weight in weights]}
