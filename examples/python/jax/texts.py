"""The PyTorch example's texts, split and ordered as there, in batches of NumPy arrays."""

from __future__ import annotations

import minilm
import numpy as np
import sentiment_example  # noqa: F401
from tokenizers import Tokenizer

# isort: split
import data
from settings import Settings

# Texts are padded to a multiple of it: each length is a program of its own.
LENGTH_UNIT = 8


class Batches(data.Batches):
    """Tokenized rows, from which batches are cut: ids and mask, rows × length, and one label a row."""

    def __init__(self, rows: data.Rows, max_tokens: int) -> None:
        tokenizer = Tokenizer.from_file(str(minilm.DIRECTORY / "tokenizer.json"))
        tokenizer.no_padding()
        tokenizer.enable_truncation(max_tokens)
        self._tokens = [encoding.ids for encoding in tokenizer.encode_batch(rows.texts)]
        self._labels = rows.labels

    def _batch(self, rows: list[int]) -> tuple[list[int], dict[str, np.ndarray]]:
        longest = max(map(self._length, rows))
        length = -(-longest // LENGTH_UNIT) * LENGTH_UNIT
        batch = {name: np.zeros((len(rows), length), np.int32) for name in ("ids", "mask")}
        for number, row in enumerate(rows):
            batch["ids"][number, : self._length(row)] = self._tokens[row]
            batch["mask"][number, : self._length(row)] = 1
        return rows, {**batch, "labels": np.array([self._labels[row] for row in rows], np.int32)}


def load_batches(settings: Settings) -> tuple[data.Dataset, Batches, Batches]:
    """The data set, and the batches to train on and to evaluate on."""
    dataset = data.load_dataset(settings)
    parts = (dataset.train, dataset.part(settings.evaluate_on))
    train, evaluated = (Batches(part, settings.max_tokens) for part in parts)
    return dataset, train, evaluated
