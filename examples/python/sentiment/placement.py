"""Where the selected scalars lie: how densely each matrix is trained, compared with all of them together."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

MOST_NUMBERED_LAYERS = 12  # with more, a picture has no room for a number in each cell

# Kinds of matrices as people say them, by the ends of their names; any other keeps its name.
WORDS = {
    "attention.self.query": "query",
    "attention.self.key": "key",
    "attention.self.value": "value",
    "attention.output.dense": "attention output",
    "intermediate.dense": "feed-forward up",
    "output.dense": "feed-forward down",
    "self_attn.q_proj": "query",
    "self_attn.k_proj": "key",
    "self_attn.v_proj": "value",
    "self_attn.o_proj": "attention output",
    "mlp.gate_proj": "feed-forward gate",
    "mlp.up_proj": "feed-forward up",
    "mlp.down_proj": "feed-forward down",
    "mlp.c_fc": "feed-forward up",
    "mlp.c_proj": "feed-forward down",
}


def describe_placement(shapes: Mapping[str, tuple[int, ...]], selected: Mapping[str, int]) -> list[dict]:
    """For each matrix its layer, its kind, its scalars, the selected ones, and its relative density.

    That is the matrix's density over the density of all: 1 where a matrix has just its share.
    """
    density = sum(selected.values()) / sum(map(prod, shapes.values()))
    kinds = name_kinds(list(shapes))
    return [
        {
            "name": name,
            "layer": split_name(name)[0],
            "kind": kinds[name],
            "scalars": prod(shape),
            "selected": selected[name],
            "relative_density": selected[name] / prod(shape) / density,
        }
        for name, shape in shapes.items()
    ]


def split_name(name: str) -> tuple[int | None, tuple[str, ...]]:
    """The layer is the first part of a name that is a number, the kind all the others."""
    parts = name.removesuffix(".weight").split(".")
    at = next((place for place, part in enumerate(parts) if part.isdecimal()), None)
    if at is None:
        return None, tuple(parts)
    return int(parts[at]), (*parts[:at], *parts[at + 1 :])


def name_kinds(names: list[str]) -> dict[str, str]:
    """Each matrix's kind without what all kinds begin with."""
    kinds = {name: split_name(name)[1] for name in names}
    shared = 0
    while shared + 1 < min(map(len, kinds.values())) and len({kind[shared] for kind in kinds.values()}) == 1:
        shared += 1
    return {name: ".".join(kind[shared:]) for name, kind in kinds.items()}


def in_words(kind: str) -> str:
    return WORDS.get(kind, kind)


def rows_and_columns(matrices: list[dict]) -> tuple[list[str], list[int | None]]:
    """The kinds and the layers in the model's order, as the pictures have them."""
    return list(dict.fromkeys(m["kind"] for m in matrices)), list(dict.fromkeys(m["layer"] for m in matrices))


def say_what_is_seen(matrices: list[dict]) -> str:
    """The picture of one method in a few words."""
    most = max(matrices, key=lambda matrix: matrix["relative_density"])
    least = min(matrices, key=lambda matrix: matrix["relative_density"])
    if most["relative_density"] < 1.25 and least["relative_density"] > 0.8:
        return f"even: {least['relative_density']:.2f}× to {most['relative_density']:.2f}×"
    where = "" if most["layer"] is None else f" of layer {most['layer']}"
    return f"most in {in_words(most['kind'])}{where}: {times(most['relative_density'])}"


def times(relative: float) -> str:
    return f"{write_relative(relative)}×"


def write_relative(relative: float) -> str:
    """Two digits or so; 0 is nothing at all, and a little is not written as 0."""
    if relative == 0:
        return "0"
    if relative < 0.095:
        return f"{relative:.2f}" if relative >= 0.005 else "<.01"
    return f"{relative:.1f}" if relative < 9.95 else f"{relative:.0f}"
