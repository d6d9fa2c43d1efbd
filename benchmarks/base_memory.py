"""``python -m benchmarks.base_memory [--out file]``: memory of training by how the base is kept, a process each.

Eight layers of 4096 × 4096, whose weights are most of the memory, as they are in models that need four bits.
"""

from __future__ import annotations

import argparse
import gc
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from .footprint import forget_peak, resident

WIDTH, LAYERS, TOKENS, STEPS = 4096, 8, 256, 3
DENSITY, LORA_RANK = 0.01, 16


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.base_memory", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out/bench/base_memory.json"), help="(%(default)s)")
    parser.add_argument("--method", choices=METHODS, help=argparse.SUPPRESS)  # which one this process measures
    arguments = parser.parse_args()
    if arguments.method is not None:
        print(json.dumps(_measure(arguments.method)))
        return
    from .machine import describe

    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.base_memory", "--method"]
    methods = []
    print(f"{'':52}{'base, MB':>12}{'training, MB':>14}{'a base weight':>16}", flush=True)
    for name in METHODS:
        run = subprocess.run([*command, name], stdout=subprocess.PIPE, text=True, check=True)
        found = json.loads(run.stdout.splitlines()[-1])
        methods.append({"name": name, **found})
        each = found["training_bytes"] / (LAYERS * WIDTH * WIDTH)
        print(f"{name:52}{found['base_bytes'] / 1e6:>12,.0f}{found['training_bytes'] / 1e6:>14,.0f}"
              f"{each:>10.2f} bytes", flush=True)  # fmt: skip
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    report = {"machine": describe(), "tokens": TOKENS, "methods": methods}
    arguments.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def _measure(name: str) -> dict[str, int]:
    """Resident bytes above those of the libraries: of the base, and at most while it is trained on."""
    import bitsandbytes
    import peft  # noqa: F401  (loaded in each of them, so that all begin alike)
    import speft.torch
    import torch
    from torch import nn

    make_layer, make_optimizer = METHODS[name]
    torch.manual_seed(0)
    x = torch.randn(TOKENS, WIDTH).bfloat16()
    nn.Linear(8, 8)(torch.ones(1, 8)).sum().backward()  # libraries load more when they are first used
    speft.quantize(torch.ones(64))
    bitsandbytes.functional.quantize_4bit(torch.ones(64))
    libraries = resident("VmRSS")
    model = nn.Sequential()
    for _ in range(LAYERS):
        dense = nn.Linear(WIDTH, WIDTH, bias=False, dtype=torch.bfloat16)
        model.extend([make_layer(dense), nn.ReLU()])
        del dense
        gc.collect()
    base = resident("VmRSS")
    forget_peak()
    model, optimizer = make_optimizer(model)
    for _ in range(STEPS):
        model(x).float().square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    return {"base_bytes": base - libraries, "training_bytes": resident("VmHWM") - libraries}


def _keep(layer):
    return layer


def _quantize(layer):
    import speft
    from speft.torch import QuantizedLinear

    return QuantizedLinear(speft.quantize(layer.weight.detach()))


def _quantize_by_bitsandbytes(layer):
    import bitsandbytes
    import torch

    made = bitsandbytes.nn.Linear4bit(WIDTH, WIDTH, bias=False, compute_dtype=torch.bfloat16, quant_type="nf4")
    made.load_state_dict(layer.state_dict())
    return made.to("cpu")


def _sparse(model):
    from speft.torch import SparseAdapter

    adapter = SparseAdapter(model, "*.weight", density=DENSITY, selection="random")
    adapter.select()
    return model, adapter


def _lora(model):
    import peft
    import torch

    config = peft.LoraConfig(r=LORA_RANK, target_modules=[str(2 * layer) for layer in range(LAYERS)])
    model = peft.get_peft_model(model, config)
    return model, torch.optim.AdamW(weight for weight in model.parameters() if weight.requires_grad)


def _full(model):
    import torch

    return model, torch.optim.AdamW(model.parameters())


METHODS: dict[str, tuple[Callable, Callable]] = {
    "1% of deltas on NF4": (_quantize, _sparse),
    "1% of deltas on bitsandbytes' NF4": (_quantize_by_bitsandbytes, _sparse),
    f"QLoRA of rank {LORA_RANK}, HF PEFT and bitsandbytes": (_quantize_by_bitsandbytes, _lora),
    "1% of deltas on bfloat16": (_keep, _sparse),
    f"LoRA of rank {LORA_RANK} on bfloat16, HF PEFT": (_keep, _lora),
    "full fine-tuning in bfloat16, torch.optim.AdamW": (_keep, _full),
}


if __name__ == "__main__":
    main()
