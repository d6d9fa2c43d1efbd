"""Writes what the Python demo makes of the reviews, for the Java tests: `python reference.py FILE`."""

import dataclasses
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[5] / "python" / "sentiment"))

from data import Batches, load_dataset
from evaluate import predict
from model import linear_weights, load_classifier, load_tokenizer
from settings import Settings

SETTINGS = Settings(max_rows=1000)


def main(path: str) -> None:
    everything = load_dataset(Settings())
    dataset = load_dataset(SETTINGS)
    tokenizer = load_tokenizer(None)
    tokens = [
        tokenizer(rows.texts, truncation=True, max_length=SETTINGS.max_tokens)["input_ids"]
        for rows in (everything.train, everything.held_out)
    ]
    training = Batches(dataset.train, tokenizer, SETTINGS.max_tokens)
    held_out = Batches(dataset.held_out, tokenizer, SETTINGS.max_tokens)
    model = load_classifier(None, len(dataset.label_names), SETTINGS.seed)
    logits, _ = predict(model, held_out)
    content = {
        "train": {**dataclasses.asdict(everything.train), "tokens": tokens[0]},
        "held_out": {**dataclasses.asdict(everything.held_out), "tokens": tokens[1]},
        "max_rows": SETTINGS.max_rows,
        "few_train": dataset.train.texts,
        "few_held_out": dataset.held_out.texts,
        # More batches than one round through the rows has.
        "shuffled": [batch.positions for batch in training.shuffled(50, 32, "training 0")],
        "in_order": [batch.positions for batch in held_out.in_order_of_length(64)],
        "head": {name: tensor.flatten().tolist() for name, tensor in model.head.state_dict().items()},
        "targets": linear_weights(model),
        "logits": logits.tolist(),
    }
    Path(path).write_text(json.dumps(content), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
