"""One method in a process of its own: `python train.py SETTINGS.json METHOD`, started by main.py.

Leaves in the method's directory the adapter (adapter.safetensors), the figures (result.json), and the logits
on the held-out rows (logits.npy), for verify.py to compare.
"""

from __future__ import annotations

import functools
import json
import sys
import time
from collections.abc import Iterator
from typing import Any

import jax
import minilm
import numpy as np
from predict import has_pretrained_bits, predict, scores
from texts import load_batches

from speft.jax import SparseAdapter

# isort: split
from errors import one_line_errors
from progress import Progress, peak_memory
from settings import Settings

# Those of the PyTorch example, which were chosen on its validation split.
LEARNING_RATES = {"head-only": 2e-2, "random": 1e-2, "gradient": 4e-3, "spiel-ag": 1e-2}

Params = dict[str, jax.Array]


def make_adapter(params: Params, name: str, settings: Settings) -> SparseAdapter:
    """The head is trained in full; beside it a share of the encoder's matrices, chosen as `name` says."""
    moves = name == "spiel-ag"
    sparse: dict[str, Any] = {
        "targets": minilm.TARGETS,
        "selection": name,
        "density": settings.density,
        "scope": "per-tensor" if moves else "global",  # SpIEL starts with the same share of each matrix
        "total_steps": settings.steps if moves else None,
        "seed": settings.seed,
    }
    chosen = {"targets": (), "selection": "random"} if name == "head-only" else sparse
    learning_rate = settings.learning_rate or LEARNING_RATES[name]
    return SparseAdapter(params, dense=minilm.HEAD, lr=learning_rate, threads=settings.threads, **chosen)


def train(settings: Settings, name: str) -> None:
    dataset, training, evaluated = load_batches(settings)
    labels = len(dataset.label_names)
    params = minilm.load_params(labels, settings.seed)
    adapter = make_adapter(params, name, settings)

    def batches(purpose: str, count: int) -> Iterator[dict[str, np.ndarray]]:
        shuffled = training.shuffled(count, settings.batch_size, seed=f"{purpose} {settings.seed}")
        return (batch for _, batch in shuffled)

    started = time.perf_counter()
    if name == "gradient":
        adapter.estimate(minilm.cross_entropy, params, batches("salience", settings.salience_batches))
    params = adapter.select(params)
    seconds_preparing = time.perf_counter() - started

    @functools.partial(jax.jit, donate_argnums=0)
    def train_step(params: Params, batch: dict[str, jax.Array], lr: jax.Array) -> tuple[Params, jax.Array]:
        loss, gradients = adapter.value_and_grad(minilm.cross_entropy)(params, batch)
        return adapter.step(gradients, params, lr=lr), loss

    # One program a length of texts: compiled beforehand, so that a step's time is its own.
    started = time.perf_counter()
    programs: dict[int, Any] = {}
    for batch in batches("training", settings.steps):
        length = batch["ids"].shape[1]
        if length not in programs:
            programs[length] = train_step.lower(params, batch, np.float32(0)).compile()
    seconds_compiling = time.perf_counter() - started

    progress = Progress(name, settings.steps)
    learning_rate = settings.learning_rate or LEARNING_RATES[name]
    for number, batch in enumerate(batches("training", settings.steps)):
        rate = np.float32(learning_rate * (1 - number / settings.steps))  # falls linearly to zero
        params, loss = programs[batch["ids"].shape[1]](params, batch, rate)
        progress.advance(float(loss))
    seconds_stepping, peak_rss = progress.seconds, peak_memory()

    logits, expected = predict(params, evaluated)
    directory = settings.method_directory(name)
    adapter.save(directory / "adapter.safetensors")
    np.save(directory / "logits.npy", logits)
    state, moves = adapter.info, adapter.history
    params = adapter.unmerge(params)
    result = {
        "name": name,
        **scores(logits, expected),
        "trained": state.trained_scalars,
        "density": state.selected_scalars / state.targeted_scalars if state.targeted_scalars else 0.0,
        "adapter_bytes": (directory / "adapter.safetensors").stat().st_size,
        "seconds_preparing": seconds_preparing,
        "seconds_compiling": seconds_compiling,
        "seconds_per_step": seconds_stepping / settings.steps,
        "peak_rss_bytes": peak_rss,
        "reselections": len(moves),
        "unmerge_bit_exact": has_pretrained_bits(params, labels, settings.seed),
    }
    (directory / "result.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    with one_line_errors():
        train(Settings.read(sys.argv[1]), sys.argv[2])
