"""What the Python example makes of the same settings, as JSON on stdout, for src/against_python.rs to compare with."""

import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve()
sys.path.insert(0, str(HERE.parents[3] / "python" / "sentiment"))

import torch
from data import Batches, load_dataset
from model import checkpoint_directory, linear_weights, load_classifier, load_tokenizer
from settings import Settings

TEXTS_COMPARED = 8

settings = Settings(max_rows=400)
dataset = load_dataset(settings)
tokenizer = load_tokenizer(None)
batches = Batches(dataset.train, tokenizer, settings.max_tokens)
model = load_classifier(None, len(dataset.label_names), settings.seed)
batch = next(batches.shuffled(1, TEXTS_COMPARED, seed="training 0"))
logits = model(batch.inputs)
torch.nn.functional.cross_entropy(logits, batch.labels).backward()

json.dump(
    {
        "model": checkpoint_directory(None),
        "train": [dataset.train.texts, dataset.train.labels],
        "held_out": [dataset.held_out.texts, dataset.held_out.labels],
        "label_names": dataset.label_names,
        "batches": [b.positions for b in batches.shuffled(20, 32, seed="training 0")],
        "tokens": batch.inputs["input_ids"].tolist(),
        "head": model.head.weight.flatten().tolist() + model.head.bias.tolist(),
        "logits": logits.flatten().tolist(),
        "gradient_norms": [[name, model.get_parameter(name).grad.norm().item()] for name in linear_weights(model)],
        "head_gradient": model.head.weight.grad.flatten().tolist(),
    },
    sys.stdout,
)
