"""One training run: all that its result depends on, and the file that keeps it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Scale:
    """How large every run is: the same for all of them."""

    model: str | None = None  # a Hugging Face checkpoint directory; None: MiniLM-L6
    layers: int = 3  # the model's first ones: half of MiniLM-L6, at half the time
    steps: int = 100
    batch_size: int = 16
    estimation_batches: int = 8
    max_tokens: int = 32
    evaluated_rows: int = 500


@dataclasses.dataclass(frozen=True)
class Trial:
    """A method, what it learns from, and its numbers. Equal trials have equal results."""

    scale: Scale
    domain: str
    approach: str  # one of approaches.py
    seed: int
    learning_rate: float
    evaluate_on: str = "held-out"  # or "validation", by which learning rates are chosen
    density: float | None = None  # None: as many scalars as LoRA trains
    reselect_every: int | None = None  # of SpIEL; None: its default
    schedule: str | None = None  # of SpIEL; None: its default

    def write(self) -> str:
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def read(cls, text: str) -> Trial:
        fields = json.loads(text)
        return cls(scale=Scale(**fields.pop("scale")), **fields)

    def path(self, directory: Path) -> Path:
        """Where its result is kept. Other settings have another name: no old result is taken for theirs."""
        digest = hashlib.sha256(self.write().encode()).hexdigest()[:12]
        return directory / f"{self.domain}-{self.approach}-seed{self.seed}-{digest}.json"
