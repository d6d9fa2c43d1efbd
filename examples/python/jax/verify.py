"""Puts a saved adapter onto fresh weights: `python verify.py SETTINGS.json METHOD`, started by main.py.

Compares its logits with those of the model that was trained, then takes the adapter off and compares every
weight with the pretrained one, both bit by bit. Leaves the answers in the method's directory (verified.json).
"""

from __future__ import annotations

import json
import sys

import minilm
import numpy as np
from predict import has_pretrained_bits, predict, same_bits
from texts import load_batches

from speft.jax import SparseAdapter

# isort: split
from errors import one_line_errors
from settings import Settings


def verify(settings: Settings, name: str) -> None:
    dataset, _, evaluated = load_batches(settings)
    labels = len(dataset.label_names)
    directory = settings.method_directory(name)
    params = minilm.load_params(labels, settings.seed)
    adapter, params = SparseAdapter.load(directory / "adapter.safetensors", params)
    logits, _ = predict(params, evaluated)
    answers = {
        "reload_identical": same_bits(logits, np.load(directory / "logits.npy")),
        "unmerge_bit_exact": has_pretrained_bits(adapter.unmerge(params), labels, settings.seed),
    }
    (directory / "verified.json").write_text(json.dumps(answers, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    with one_line_errors():
        verify(Settings.read(sys.argv[1]), sys.argv[2])
