"""What one comparison is run with: made by the command line, read by every process it starts."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

AT_LORA_BUDGET = "-at-lora-budget"  # a sparse method with as many scalars as LoRA trains
SPARSE_AT_LORA_BUDGET = tuple(name + AT_LORA_BUDGET for name in ("random", "gradient", "snip"))
MOVING_METHODS = ("spiel-ag", "spiel-ma")  # their masks move while they train
STEP_METHODS = ("meprop", "sparsegrad")  # each step trains the largest entries of its own gradient
STEP_DENSITY = 0.01  # of theirs, of the feed-forward matrices alone: SparseGrad's paper
SPARSE_METHODS = ("random", "gradient", "snip", *MOVING_METHODS, *STEP_METHODS, *SPARSE_AT_LORA_BUDGET)
DEFAULT_METHODS = ("head-only", "random", "gradient")
ALL_METHODS = (
    *DEFAULT_METHODS,
    "snip",
    *MOVING_METHODS,
    *STEP_METHODS,
    "full",
    "lora",
    *SPARSE_AT_LORA_BUDGET,
)
DOMAINS = ("movies", "news", "products", "tweets")  # of the texts that come with it


@dataclasses.dataclass(frozen=True)
class Settings:
    """The same for all methods of a comparison: only the method differs between two rows of the table."""

    data: str | None = None  # a file of 'label TAB text' lines; None: those of `domain`
    domain: str = "movies"
    model: str | None = None  # a Hugging Face checkpoint directory; None: MiniLM-L6
    out: str = "out/demo"
    steps: int = 160
    batch_size: int = 32
    salience_batches: int = 16
    density: float = 0.005
    max_tokens: int = 48
    max_rows: int | None = None
    seed: int = 0
    threads: int = 1
    evaluate_on: str = "held-out"  # tune.py chooses learning rates on "validation"
    learning_rate: float | None = None  # None: the method's own

    def method_directory(self, name: str) -> Path:
        """Where one method leaves its adapter, its figures and its predictions."""
        return Path(self.out) / name

    def write(self) -> Path:
        path = Path(self.out) / "settings.json"
        path.write_text(json.dumps(dataclasses.asdict(self), indent=2) + "\n", encoding="utf-8")
        return path

    @classmethod
    def read(cls, path: str | Path) -> Settings:
        return cls(**json.loads(Path(path).read_text(encoding="utf-8")))
