"""One method in a process of its own: `python train.py SETTINGS.json METHOD`, started by main.py.

Leaves in the method's directory what was trained (adapter.safetensors), the figures (result.json), all
losses (losses.json), and the logits on the evaluated rows (logits.safetensors), for verify.py to compare.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Iterator

import speft
import torch
from data import Batch, Batches, load_dataset
from errors import one_line_errors
from evaluate import has_pretrained_bits, predict, scores, use_reproducible_arithmetic
from methods import Method, Sparse, make_method
from model import Classifier, load_classifier, load_tokenizer
from progress import Progress, peak_memory
from safetensors.torch import save_file
from settings import Settings
from torch.nn.functional import cross_entropy


def train(settings: Settings, name: str) -> None:
    use_reproducible_arithmetic(settings)
    dataset = load_dataset(settings)
    tokenizer = load_tokenizer(settings.model)
    model = load_classifier(settings.model, len(dataset.label_names), settings.seed)
    method = make_method(name, model, settings)

    def batches(purpose: str, count: int) -> Iterator[Batch]:
        rows = Batches(dataset.train, tokenizer, settings.max_tokens)
        return rows.shuffled(count, settings.batch_size, seed=f"{purpose} {settings.seed}")

    started = time.perf_counter()
    method.prepare(losses(model, batches("salience", settings.salience_batches)))
    seconds_preparing = time.perf_counter() - started
    progress = Progress(name, settings.steps)
    training_losses = run_steps(method, losses(model, batches("training", settings.steps)), progress)
    seconds_stepping, peak_rss = progress.seconds, peak_memory()

    evaluated = Batches(dataset.part(settings.evaluate_on), tokenizer, settings.max_tokens)
    logits, labels = predict(model, evaluated)
    directory = settings.method_directory(name)
    adapter = directory / "adapter.safetensors"
    method.save(adapter)
    save_file({"logits": logits}, directory / "logits.safetensors")
    result = {
        "name": name,
        **scores(logits, labels),
        "trained": method.trained,
        "density": method.density,
        "adapter_bytes": adapter.stat().st_size,
        "seconds_preparing": seconds_preparing,
        "seconds_per_step": seconds_stepping / settings.steps,
        "peak_rss_bytes": peak_rss,
    }
    if isinstance(method, Sparse):
        result["placement"] = method.placement()
        method.adapter.unmerge()
        result["unmerge_bit_exact"] = has_pretrained_bits(model, settings)
    (directory / "losses.json").write_text(json.dumps(training_losses) + "\n", encoding="utf-8")
    (directory / "result.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def losses(model: Classifier, batches: Iterable[Batch]) -> Iterator[torch.Tensor]:
    return (cross_entropy(model(batch.inputs), batch.labels) for batch in batches)


def run_steps(method: Method, losses: Iterable[torch.Tensor], progress: Progress) -> list[float]:
    """Takes one step for each loss, and returns them; the learning rate falls linearly to zero."""
    taken = []
    schedule = torch.optim.lr_scheduler.LambdaLR(method.optimizer, lambda step: 1 - step / progress.total)
    for loss in losses:
        loss.backward()
        method.optimizer.step()
        method.optimizer.zero_grad()
        schedule.step()
        taken.append(loss.item())
        progress.advance(taken[-1])
    return taken


if __name__ == "__main__":
    with one_line_errors(speft.Error):
        train(Settings.read(sys.argv[1]), sys.argv[2])
