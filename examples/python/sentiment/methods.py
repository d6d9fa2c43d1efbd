"""The ways to fine-tune that are compared. Each says what of a model is trained, and what is kept of it."""

from __future__ import annotations

import abc
from collections.abc import Iterable
from pathlib import Path

import peft
import torch
from model import Classifier, feed_forward_weights, linear_weights
from placement import describe_placement
from safetensors.torch import save_file
from settings import AT_LORA_BUDGET, MOVING_METHODS, STEP_DENSITY, STEP_METHODS, Settings
from speft.torch import SparseAdapter

LORA_RANK = 2

# Chosen by `python tune.py` as the best accuracy on the validation split, the held-out split untouched.
LEARNING_RATES = {
    "head-only": 2e-2,
    "random": 1e-2,
    "gradient": 4e-3,
    "snip": 4e-3,
    "spiel-ag": 1e-2,
    "spiel-ma": 1e-2,
    "meprop": 2e-3,  # of 1e-3 to 4e-3, with one seed: so the next
    "sparsegrad": 2e-3,
    "full": 1e-4,
    "lora": 5e-3,
}


class Method(abc.ABC):
    """A classifier made ready to be tuned in one way."""

    optimizer: torch.optim.Optimizer

    def __init__(self, model: Classifier) -> None:
        self.model = model

    def prepare(self, losses: Iterable[torch.Tensor]) -> None:
        """Sparse methods choose here, by the losses of a few batches; the others start at once."""
        return

    @property
    def density(self) -> float:
        """Trained scalars of the targeted matrices over all their scalars."""
        return 0.0

    @property
    def trained(self) -> int:
        """All trained scalars, the head's among them."""
        return sum(parameter.numel() for parameter in self.trained_tensors().values())

    def trained_tensors(self) -> dict[str, torch.Tensor]:
        return {name: p.detach() for name, p in self.model.named_parameters() if p.requires_grad}

    def save(self, path: Path) -> None:
        """Writes what must be kept to have the tuned model again, given the pretrained one."""
        save_file(self.trained_tensors(), path)


class HeadOnly(Method):
    """The pretrained encoder as it is; only the new head learns."""

    def __init__(self, model: Classifier, learning_rate: float) -> None:
        super().__init__(model)
        model.encoder.requires_grad_(False)
        self.optimizer = torch.optim.AdamW(model.head.parameters(), lr=learning_rate, weight_decay=0.0)


class Full(Method):
    """Every parameter of encoder and head."""

    def __init__(self, model: Classifier, learning_rate: float) -> None:
        super().__init__(model)
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.0)

    @property
    def density(self) -> float:
        return 1.0


class Lora(Method):
    """Low-rank adapters on every targeted matrix, by Hugging Face PEFT."""

    def __init__(self, model: Classifier, learning_rate: float) -> None:
        super().__init__(model)
        targets = [name.removeprefix("encoder.").removesuffix(".weight") for name in linear_weights(model)]
        config = peft.LoraConfig(r=LORA_RANK, lora_alpha=2 * LORA_RANK, target_modules=targets)
        model.encoder = peft.get_peft_model(model.encoder, config)
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, lr=learning_rate, weight_decay=0.0)


class Sparse(Method):
    """A few chosen scalars of the targeted matrices, by speft; the head is trained in full beside them."""

    def __init__(self, model: Classifier, adapter: SparseAdapter, by_gradients: bool) -> None:
        super().__init__(model)
        self.optimizer = self.adapter = adapter
        self.by_gradients = by_gradients

    def prepare(self, losses: Iterable[torch.Tensor]) -> None:
        if self.by_gradients:
            for loss in losses:
                loss.backward()
                self.adapter.observe()
        self.adapter.select()

    @property
    def density(self) -> float:
        return self.adapter.info.selected_scalars / self.adapter.info.targeted_scalars

    @property
    def trained(self) -> int:
        return self.adapter.info.trained_scalars

    def placement(self) -> list[dict]:
        """Where the selected scalars lie now: see placement.py."""
        masks = self.adapter.masks
        shapes = {name: tuple(self.model.get_parameter(name).shape) for name in masks}
        return describe_placement(shapes, {name: len(mask) for name, mask in masks.items()})

    def save(self, path: Path) -> None:
        self.adapter.save(path)


def make_method(name: str, model: Classifier, settings: Settings) -> Method:
    """The method of this name: see ALL_METHODS in settings.py."""
    kind = name.removesuffix(AT_LORA_BUDGET)
    learning_rate = settings.learning_rate or LEARNING_RATES[kind]
    if kind == "head-only":
        return HeadOnly(model, learning_rate)
    if kind == "full":
        return Full(model, learning_rate)
    if kind == "lora":
        return Lora(model, learning_rate)
    moves, by_step = kind in MOVING_METHODS, kind in STEP_METHODS
    targets = feed_forward_weights(model) if by_step else linear_weights(model)
    size = {"density": STEP_DENSITY if by_step else settings.density}
    if name != kind:
        size = {"budget": lora_budget(model, targets)}
    adapter = SparseAdapter(
        model,
        targets=targets,
        scope="per-tensor" if moves or by_step else "global",  # as in their papers
        selection=kind,
        dense=["head.*"],
        lr=learning_rate,
        seed=settings.seed,
        total_steps=settings.steps if moves else None,
        **size,
    )
    return Sparse(model, adapter, by_gradients=kind in ("gradient", "snip", "sparsegrad"))


def lora_budget(model: Classifier, targets: list[str]) -> int:
    """As many scalars as LoRA trains on these matrices."""
    return sum(LORA_RANK * sum(model.get_parameter(name).shape) for name in targets)
