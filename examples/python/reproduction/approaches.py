"""The methods that are compared, and the grids from which their learning rates come."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Approach:
    """What is trained beside the head, with one learning rate for each family of methods."""

    family: str
    selection: str | None = None  # of SparseAdapter; None: not sparse
    scope: str = "global"
    kinds: tuple[str, ...] = ()  # only such matrices are targets, as placement.py says them; (): all
    dynamic: bool = False  # the mask is chosen again three times
    density: float | None = None  # of its own targets; None: as many scalars as LoRA trains
    quantized: str | None = None  # of all of the encoder's matrices; None: they stay as they are


# Of "Sparse Fine-Tuning by Salience": its eight scores. Their static masks are what its claims are about.
PAPER_SALIENCES = ("magnitude", "gradient", "snip", "force", "taylor-fo", "fisher", "synflow", "grasp")

FEED_FORWARD = ("feed-forward up", "feed-forward down")
STEP_DENSITY = 0.01  # of SparseGrad and MeProp: the entries of each step, of which all stay trained

APPROACHES = {
    "head-only": Approach("head-only"),
    "random": Approach("random", "random"),
    "magnitude": Approach("weights", "magnitude"),
    "smallest-magnitude": Approach("weights", "smallest-magnitude"),
    "gradient": Approach("gradients", "gradient"),
    "snip": Approach("gradients", "snip"),
    "force": Approach("gradients", "force"),
    "taylor-fo": Approach("gradients", "taylor-fo"),
    "fisher": Approach("gradients", "fisher"),
    "synflow": Approach("weights", "synflow"),
    "grasp": Approach("gradients", "grasp"),
    "wanda": Approach("weights", "wanda"),
    "low-rank": Approach("weights", "low-rank"),
    "spiel-ag": Approach("spiel-ag", "spiel-ag", scope="per-tensor"),
    "spiel-ma": Approach("spiel-ma", "spiel-ma", scope="per-tensor"),
    "dynamic-gradient": Approach("gradients", "gradient", dynamic=True),
    "gradient-per-tensor": Approach("gradients", "gradient", scope="per-tensor"),
    "gradient-value-output": Approach("gradients", "gradient", kinds=("value", "attention output")),
    "gradient-query-key": Approach("gradients", "gradient", kinds=("query", "key")),
    "meprop": Approach("meprop", "meprop", scope="per-tensor", kinds=FEED_FORWARD, density=STEP_DENSITY),
    "sparsegrad": Approach(
        "sparsegrad", "sparsegrad", scope="per-tensor", kinds=FEED_FORWARD, density=STEP_DENSITY
    ),
    "lora": Approach("lora"),
    "full": Approach("full"),
}

# SpIEL's question of quantized models (qSpIEL): the same on a base of 4 bits, with the twin's learning rate.
ON_QUANTIZED = ("head-only", "random", "snip", "spiel-ag", "spiel-ma")
APPROACHES |= {f"q-{name}": dataclasses.replace(APPROACHES[name], quantized="nf4") for name in ON_QUANTIZED}


@dataclasses.dataclass(frozen=True)
class Family:
    """Methods that share a learning rate: the one of `rates` that serves `representative` best."""

    representative: str
    rates: tuple[float, ...]


FAMILIES = {
    "head-only": Family("head-only", (5e-3, 1e-2, 2e-2, 4e-2)),
    "random": Family("random", (3e-3, 6e-3, 1.2e-2, 2.4e-2)),
    "weights": Family("magnitude", (1.5e-3, 3e-3, 6e-3, 1.2e-2)),
    "gradients": Family("gradient", (1.5e-3, 3e-3, 6e-3, 1.2e-2)),
    "spiel-ag": Family("spiel-ag", (3e-3, 6e-3, 1.2e-2, 2.4e-2)),
    "spiel-ma": Family("spiel-ma", (3e-3, 1e-2, 3e-2, 1e-1)),
    "meprop": Family("meprop", (1.5e-3, 3e-3, 6e-3, 1.2e-2)),
    "sparsegrad": Family("sparsegrad", (1.5e-3, 3e-3, 6e-3, 1.2e-2)),
    "lora": Family("lora", (2.5e-3, 5e-3, 1e-2, 2e-2)),
    "full": Family("full", (5e-5, 1e-4, 2e-4, 4e-4)),
}
