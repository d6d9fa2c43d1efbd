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


@dataclasses.dataclass(frozen=True)
class Step:
    """What a backward pass left, by the name of a kind and then layer by layer."""

    weights: dict[str, list[np.ndarray]]  # dW, as the weights lie
    outputs: dict[str, list[np.ndarray]]  # ∂L/∂Y [tokens of all texts, padding too; out]
    padding: float  # its share of the tokens


def training_gradients(kinds: list[Kind], steps: int, max_rows: int | None, threads: int) -> Iterator[Step]:
    """The gradients of each step; AdamW moves the weights after they were looked at."""
    settings = Settings(max_rows=max_rows, threads=threads)
    torch.set_num_threads(threads)
    dataset = load_dataset(settings)
    model = load_classifier(settings.model, len(dataset.label_names), settings.seed)
    layers = {kind.name: layers_of(model, kind) for kind in kinds}
    outputs = {name: [OutputGradient(layer) for layer in of_kind] for name, of_kind in layers.items()}
    trained = [*model.head.parameters(), *(layer.weight for of_kind in layers.values() for layer in of_kind)]
    model.requires_grad_(False)
    for weight in trained:
        weight.requires_grad_(True)
    optimizer = torch.optim.AdamW(trained, lr=LEARNING_RATE, weight_decay=0.0)
    batches = Batches(dataset.train, load_tokenizer(settings.model), settings.max_tokens)
    for batch in batches.shuffled(steps, settings.batch_size, seed="basis"):
        torch.nn.functional.cross_entropy(model(batch.inputs), batch.labels).backward()
        yield Step(
            {name: [layer.weight.grad.numpy() for layer in of_kind] for name, of_kind in layers.items()},
            {name: [output.gradient for output in of_kind] for name, of_kind in outputs.items()},
            1 - batch.inputs["attention_mask"].float().mean().item(),
        )
        optimizer.step()
        optimizer.zero_grad()


class OutputGradient:
    """∂L/∂Y of a layer, as the last backward pass left it."""

    def __init__(self, layer: torch.nn.Linear) -> None:
        self.gradient = np.empty((0, layer.out_features), np.float32)
        layer.register_forward_hook(self._watch)

    def _watch(self, layer: torch.nn.Module, inputs: object, output: torch.Tensor) -> None:
        output.register_hook(self._keep)

    def _keep(self, gradient: torch.Tensor) -> None:
        self.gradient = gradient.reshape(-1, gradient.shape[-1]).numpy()


def layers_of(model: Classifier, kind: Kind) -> list[torch.nn.Linear]:
    """Those of the encoder; an attention block's output has the same name but its own shape."""
    found = [
        model.encoder.get_submodule(name.removesuffix(".weight"))
        for name, weight in model.encoder.named_parameters()
        if name.endswith(kind.suffix) and tuple(weight.shape) == kind.shape
    ]
    assert found, f"the model has no {kind.name}"
    return found
