"""The gradients of MiniLM's feed-forward matrices, step by step, while they and a new head are fine-tuned."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).resolve().parents[1] / "sentiment"))  # its data and its model are used here too

import torch
from data import Batches, load_dataset
from model import Classifier, load_classifier, load_tokenizer
from settings import Settings

LEARNING_RATE = 1e-4  # full fine-tuning's in the sentiment example


@dataclasses.dataclass(frozen=True)
class Kind:
    """All matrices that do the same in their layer."""

    name: str
    suffix: str
    shape: tuple[int, int]


def feed_forward_kinds() -> list[Kind]:
    """[out, in], as the weights lie."""
    return [
        Kind("up-projections", "intermediate.dense.weight", (1536, 384)),
        Kind("down-projections", "output.dense.weight", (384, 1536)),
    ]


def training_gradients(
    kinds: list[Kind], steps: int, max_rows: int | None, threads: int
) -> Iterator[dict[str, list[np.ndarray]]]:
    """For each step the gradients of each kind, layer by layer; AdamW moves the weights after they were looked at."""
    settings = Settings(max_rows=max_rows, threads=threads)
    torch.set_num_threads(threads)
    dataset = load_dataset(settings)
    model = load_classifier(settings.model, len(dataset.label_names), settings.seed)
    matrices = {kind.name: matrices_of(model, kind) for kind in kinds}
    trained = [*model.head.parameters(), *(weight for weights in matrices.values() for weight in weights)]
    model.requires_grad_(False)
    for weight in trained:
        weight.requires_grad_(True)
    optimizer = torch.optim.AdamW(trained, lr=LEARNING_RATE, weight_decay=0.0)
    batches = Batches(dataset.train, load_tokenizer(settings.model), settings.max_tokens)
    for batch in batches.shuffled(steps, settings.batch_size, seed="basis"):
        torch.nn.functional.cross_entropy(model(batch.inputs), batch.labels).backward()
        yield {name: [weight.grad.numpy() for weight in weights] for name, weights in matrices.items()}
        optimizer.step()
        optimizer.zero_grad()


def matrices_of(model: Classifier, kind: Kind) -> list[torch.nn.Parameter]:
    """Those of the encoder's layers; an attention block's output has the same name but its own shape."""
    found = [
        weight
        for name, weight in model.encoder.named_parameters()
        if name.endswith(kind.suffix) and tuple(weight.shape) == kind.shape
    ]
    assert found, f"the model has no {kind.name}"
    return found
