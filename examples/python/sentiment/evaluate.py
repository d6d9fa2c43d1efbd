"""What training and verifying have in common: reproducible arithmetic, predictions, and comparing bits."""

from __future__ import annotations

import torch
from data import Batches
from model import Classifier, load_classifier
from settings import Settings
from torch.nn.functional import cross_entropy

EVALUATION_BATCH = 64


def use_reproducible_arithmetic(settings: Settings) -> None:
    """Sums are split over a fixed number of threads, so two runs on one machine give the same figures."""
    torch.set_num_threads(settings.threads)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(settings.seed)


@torch.no_grad()
def predict(model: Classifier, batches: Batches) -> tuple[torch.Tensor, torch.Tensor]:
    """The logits of all rows, in the rows' order, and their labels."""
    positions, logits, labels = [], [], []
    for batch in batches.in_order_of_length(EVALUATION_BATCH):
        positions += batch.positions
        logits.append(model(batch.inputs))
        labels.append(batch.labels)
    order = torch.tensor(positions).argsort()
    return torch.cat(logits)[order], torch.cat(labels)[order]


def scores(logits: torch.Tensor, labels: torch.Tensor) -> dict[str, float]:
    """Accuracy as a fraction, and the mean cross entropy."""
    correct = (logits.argmax(1) == labels).sum().item()
    return {"accuracy": correct / len(labels), "loss": cross_entropy(logits, labels).item()}


def has_pretrained_bits(model: Classifier, settings: Settings) -> bool:
    """Whether every weight is, bit for bit, that of a newly loaded model."""
    fresh = load_classifier(settings.model, model.head.out_features, settings.seed).state_dict()
    now = model.state_dict()
    return all(same_bits(now[name], original) for name, original in fresh.items())


def same_bits(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Equality that tells -0 from 0 and finds a NaN equal to itself."""
    return one.shape == other.shape and torch.equal(
        one.contiguous().view(torch.uint8), other.contiguous().view(torch.uint8)
    )
