"""Puts a saved adapter onto fresh weights: `python verify.py SETTINGS.json METHOD`, started by main.py.

Compares its logits with those of the model that was trained, then takes the adapter off and compares every
weight with the pretrained one, both bit by bit. Leaves the answers in the method's directory (verified.json).
"""

from __future__ import annotations

import json
import sys

import speft
from data import Batches, load_dataset
from errors import one_line_errors
from evaluate import has_pretrained_bits, predict, same_bits, use_reproducible_arithmetic
from model import load_classifier, load_tokenizer
from safetensors.torch import load_file
from settings import Settings
from speft.torch import SparseAdapter


def verify(settings: Settings, name: str) -> None:
    use_reproducible_arithmetic(settings)
    dataset = load_dataset(settings)
    tokenizer = load_tokenizer(settings.model)
    model = load_classifier(settings.model, len(dataset.label_names), settings.seed)
    directory = settings.method_directory(name)

    adapter = SparseAdapter.load(directory / "adapter.safetensors", model)
    logits, _ = predict(model, Batches(dataset.part(settings.evaluate_on), tokenizer, settings.max_tokens))
    trained = load_file(directory / "logits.safetensors")["logits"]
    adapter.unmerge()
    answers = {
        "reload_identical": same_bits(logits, trained),
        "unmerge_bit_exact": has_pretrained_bits(model, settings),
    }
    (directory / "verified.json").write_text(json.dumps(answers, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    with one_line_errors(speft.Error):
        verify(Settings.read(sys.argv[1]), sys.argv[2])
