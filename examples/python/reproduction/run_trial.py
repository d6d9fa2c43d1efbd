"""Trains and evaluates one trial."""

from __future__ import annotations

import copy
import functools
import time
from collections.abc import Callable

import sentiment_example  # noqa: F401
import torch
from approaches import APPROACHES, Approach
from births import Births
from data import Batch, Batches, Dataset, Rows, load_dataset
from evaluate import predict, scores
from methods import Full, HeadOnly, Lora, Method, Sparse, lora_budget
from model import Classifier, linear_weights, load_classifier, load_tokenizer
from placement import in_words, name_kinds
from settings import Settings
from speft.torch import SparseAdapter, quantize_layers
from torch.nn.functional import cross_entropy
from trial import Scale, Trial

Loss = Callable[[Batch], torch.Tensor]


class Stock:
    """What trials share, loaded when the first one needs it."""

    def __init__(self) -> None:
        torch.set_num_threads(1)
        torch.use_deterministic_algorithms(True)
        self.tokenizer = functools.cache(load_tokenizer)
        self.dataset = functools.cache(lambda domain: load_dataset(Settings(domain=domain)))
        self.encoder = functools.cache(lambda model, layers: load_classifier(model, 1, 0, layers).encoder)
        self.batches = functools.cache(self._batches)

    def _batches(self, scale: Scale, domain: str, part: str) -> Batches:
        dataset: Dataset = self.dataset(domain)
        rows = dataset.train
        if part != "train":
            rows = dataset.part(part)
            rows = Rows(rows.texts[: scale.evaluated_rows], rows.labels[: scale.evaluated_rows])
        return Batches(rows, self.tokenizer(scale.model), scale.max_tokens)

    def model(self, trial: Trial) -> Classifier:
        """A copy of the pretrained encoder under a head that the seed decides."""
        encoder = copy.deepcopy(self.encoder(trial.scale.model, trial.scale.layers))
        torch.manual_seed(trial.seed)
        return Classifier(encoder, len(self.dataset(trial.domain).label_names)).eval()


def run_trial(trial: Trial, stock: Stock) -> dict:
    """Accuracy and loss on the evaluated rows, what was trained, and where its masks went."""
    started = time.perf_counter()
    scale = trial.scale
    training = stock.batches(scale, trial.domain, "train")
    model = stock.model(trial)
    approach = APPROACHES[trial.approach]
    method = make_method(approach, model, trial)

    def loss(batch: Batch) -> torch.Tensor:
        return cross_entropy(model(batch.inputs), batch.labels)

    def estimate(step: int) -> None:
        seed = f"estimation {trial.seed} {step}"
        method.adapter.estimate(
            loss, list(training.shuffled(scale.estimation_batches, scale.batch_size, seed))
        )

    births = None
    if isinstance(method, Sparse):
        estimate(0)
        method.adapter.select()
        births = Births(method.adapter) if approach.selection.startswith("spiel") else None
    schedule = torch.optim.lr_scheduler.LambdaLR(method.optimizer, lambda step: 1 - step / scale.steps)
    steps = training.shuffled(scale.steps, scale.batch_size, seed=f"training {trial.seed}")
    for step, batch in enumerate(steps, start=1):
        loss(batch).backward()
        method.optimizer.step()
        method.optimizer.zero_grad()
        schedule.step()
        if births:
            births.look(step)
        if approach.dynamic and step < scale.steps and method.adapter.reselection_due:
            estimate(step)
            method.adapter.reselect()
    if isinstance(method, Sparse):
        if not approach.quantized:  # deltas stay beside a base of 4 bits
            method.adapter.merge()  # SparseGrad's weights are not in the layers yet
    logits, labels = predict(model, stock.batches(scale, trial.domain, trial.evaluate_on))
    result = {**scores(logits, labels), "trained": method.trained, "density": method.density}
    if approach.dynamic:
        result["reselections"] = len(method.adapter.history)
    if births:
        result["grown_at"] = births.grown_at()
        result["replaced"] = births.replaced
    if isinstance(method, Sparse):
        method.adapter.close()
    return {**result, "seconds": time.perf_counter() - started}


def make_method(approach: Approach, model: Classifier, trial: Trial) -> Method:
    everything = linear_weights(model)
    measure = size(approach, model, everything, trial.density)  # while they are scalars and not codes
    if approach.quantized:
        quantize_layers(model, everything, approach.quantized)
    if approach.selection is None:
        kinds = {"head-only": HeadOnly, "lora": Lora, "full": Full}
        return kinds[approach.family](model, trial.learning_rate)
    kinds = name_kinds(everything)
    targets = [name for name in everything if not approach.kinds or in_words(kinds[name]) in approach.kinds]
    moves = {}
    if approach.dynamic:
        moves = {"reselect_every": -(-trial.scale.steps // 4)}  # three times before the last step
    elif approach.selection.startswith("spiel"):
        moves = {
            "total_steps": trial.scale.steps,
            "reselect_every": trial.reselect_every,
            "schedule": trial.schedule,
        }
    adapter = SparseAdapter(
        model,
        targets=targets,
        selection=approach.selection,
        scope=approach.scope,
        dense=["head.*"],
        lr=trial.learning_rate,
        seed=trial.seed,
        threads=1,
        **measure,
        **moves,
    )
    return Sparse(model, adapter, by_gradients=False)


def size(approach: Approach, model: Classifier, everything: list[str], density: float | None) -> dict:
    """As many scalars as LoRA trains on all targets, whatever the method's own are, or what is asked for."""
    density = density or approach.density
    if density is not None:
        return {"density": density}
    budget = lora_budget(model, everything)
    if approach.scope == "global":
        return {"budget": budget}
    return {"density": budget / sum(model.get_parameter(name).numel() for name in everything)}
