"""The adapters of the Java test's short run, put onto the same model by Python."""

import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[5] / "python" / "sentiment"))

import pytest
import torch
from data import Batches, load_dataset
from evaluate import has_pretrained_bits, predict
from model import load_classifier, load_tokenizer
from settings import Settings
from speft.torch import SparseAdapter

RUN = Path(os.environ["JAVA_DEMO_RUN"])


@pytest.mark.parametrize("name", ["random", "gradient", "spiel-ag"])
def test_an_adapter_from_java_predicts_the_same_in_python(name: str) -> None:
    report = json.loads((RUN / "report.json").read_text(encoding="utf-8"))
    settings = Settings(max_rows=report["settings"]["max_rows"])
    dataset = load_dataset(settings)
    model = load_classifier(None, len(dataset.label_names), settings.seed)
    adapter = SparseAdapter.load(RUN / name / "adapter.safetensors", model)

    logits, _ = predict(model, Batches(dataset.held_out, load_tokenizer(None), settings.max_tokens))
    java = torch.frombuffer(bytearray((RUN / name / "logits.bin").read_bytes()), dtype=torch.float32)
    # Another version of PyTorch and another form of attention: six layers of float32 sums in other orders.
    torch.testing.assert_close(java.view_as(logits), logits, rtol=0, atol=1e-4)
    adapter.unmerge()
    assert has_pretrained_bits(model, settings)
