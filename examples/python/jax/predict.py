"""Predictions on the rows that were held out, and how good they are."""

from __future__ import annotations

import jax
import minilm
import numpy as np
from texts import Batches

EVALUATION_BATCH = 64


def predict(params: dict[str, jax.Array], batches: Batches) -> tuple[np.ndarray, np.ndarray]:
    """The logits of all rows, in the rows' order, and their labels."""
    positions, logits, labels = [], [], []
    for rows, batch in batches.in_order_of_length(EVALUATION_BATCH):
        positions += rows
        logits.append(minilm.compiled_classify()(params, batch["ids"], batch["mask"]))
        labels.append(batch["labels"])
    order = np.argsort(positions)
    return np.concatenate(logits)[order], np.concatenate(labels)[order]


def scores(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Accuracy as a fraction, and the mean cross entropy."""
    of_label = np.take_along_axis(np.array(jax.nn.log_softmax(logits)), labels[:, None], 1)
    return {"accuracy": float((logits.argmax(1) == labels).mean()), "loss": float(-of_label.mean())}


def same_bits(one: np.ndarray, other: np.ndarray) -> bool:
    """Equality that tells -0 from 0 and finds a NaN equal to itself."""
    return one.shape == other.shape and np.array(one).tobytes() == np.array(other).tobytes()


def has_pretrained_bits(params: dict[str, jax.Array], labels: int, seed: int) -> bool:
    """Whether every array is, bit for bit, that of a newly loaded model."""
    fresh = minilm.load_params(labels, seed)
    return all(same_bits(params[name], array) for name, array in fresh.items())
