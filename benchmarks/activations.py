"""The gradient of a 4096 × 4096 layer at the mask, from 1,024 tokens of inputs and output gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import cycle

import speft
import torch

from .clock import repeated, take_turns
from .machine import Machine
from .row import Row
from .weights import make_adapter

WIDTH = 4096
TOKENS = 1024
DENSITIES = {"0.1%": 0.001, "0.5%": 0.005, "1%": 0.01, "5%": 0.05}
BATCHES = 6  # in turn: one alone would stay in the cache

Batches = Sequence[tuple[torch.Tensor, torch.Tensor]]  # x and dy
Action = Callable[[], object]


def measure(machine: Machine) -> Iterator[Row]:
    """Only the selected entries are worth computing; a dense product computes all of them."""
    context = machine.context()
    weight = torch.randn(WIDTH, WIDTH).bfloat16()
    batches = [(_random_activations(), _random_activations()) for _ in range(BATCHES)]
    for percent, density in DENSITIES.items():
        adapter = make_adapter(context, [weight], selection="random", density=density)
        adapter.select()
        mask = torch.from_dlpack(adapter.mask(0)).to(weight.device)
        peers = {
            "dense bfloat16 product, gathered": _dense(batches, mask),
            **_sparse_peers(machine, batches, mask),
        }
        present = {name: peer for name, peer in peers.items() if peer}
        actions = (_ours(batches, adapter), *present.values())
        seconds, *peer_seconds = take_turns(*map(repeated, actions), rounds=9)
        times = dict(zip(present, peer_seconds, strict=True))
        for peer in peers:
            yield Row(
                name=f"gradient from activations at {percent}",
                seconds=seconds,
                limit_seconds=machine.seconds_to_multiply(2 * TOKENS * len(mask)),
                counted="2 · tokens × k operations, bfloat16",
                target=None,
                peer=peer if peer in times else f"{peer} (peer not available)",
                peer_seconds=times.get(peer),
                implementation=context.implementation("add_product") or "",
            )
        adapter.unmerge()
        adapter.close()


def _random_activations() -> torch.Tensor:
    return torch.randn(TOKENS, WIDTH).bfloat16()


def _in_turn(batches: Batches, product: Callable[[torch.Tensor, torch.Tensor], object]) -> Action:
    turn = cycle(batches)
    return lambda: product(*next(turn))


def _ours(batches: Batches, adapter: speft.Adapter) -> Action:
    return _in_turn(batches, lambda x, dy: adapter.accumulate(0, x=x, dy=dy))


def _dense(batches: Batches, mask: torch.Tensor) -> Action:
    return _in_turn(batches, lambda x, dy: (dy.t() @ x).view(-1)[mask].float())


def _sparse_peers(machine: Machine, batches: Batches, mask: torch.Tensor) -> dict[str, Action | None]:
    if machine.device == "cuda":
        return {"cuSPARSE's SDDMM, float32": _cusparse(batches, mask)}
    return {"spops sddmm_v3, float32": _spops(batches, mask)}


def _row_offsets(mask: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    offsets = torch.zeros(WIDTH + 1, dtype=dtype)
    offsets[1:] = torch.bincount(mask // WIDTH, minlength=WIDTH).cumsum(0)
    return offsets


def _cusparse(batches: Batches, mask: torch.Tensor) -> Action:
    """By PyTorch, on float32 factors: it has no bfloat16."""
    values = torch.zeros(len(mask))
    sums = torch.sparse_csr_tensor(_row_offsets(mask, torch.int64), mask % WIDTH, values, (WIDTH, WIDTH))
    wide = [(x.float(), dy.float().t()) for x, dy in batches]
    return _in_turn(wide, lambda x, dy: torch.sparse.sampled_addmm(sums, dy, x))


def _spops(batches: Batches, mask: torch.Tensor) -> Action | None:
    """RoSA's kernel on the factors as it likes them best: float32, transposed beforehand.

    None without it: https://github.com/IST-DASLab/spops is built by hand. PyPI's package of that name is
    something else (black holes).
    """
    try:
        from spops.sddmm import sddmm
    except ImportError:
        return None
    offsets, columns = _row_offsets(mask, torch.int32), (mask % WIDTH).to(torch.int32)
    transposed = [(x.float().t().contiguous(), dy.float().t().contiguous()) for x, dy in batches]
    return _in_turn(transposed, lambda x, dy: sddmm(offsets, None, columns, dy, x))
