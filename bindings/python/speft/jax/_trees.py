"""The leaves of a tree of parameters by their names: which are trained, and that they are what they were."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import jax

from .._errors import InvalidArgument, Unsupported
from .._options import Parameter
from .._tensor import SCALARS

Patterns = str | Sequence[str]


def leaves_of(params: Any) -> dict[str, Any]:
    """The leaves by their paths: ``"encoder/0/kernel"``."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(params)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def replace_leaves(params: Any, changed: Mapping[str, Any]) -> Any:
    """The same tree with other leaves at some of its paths."""
    leaves, structure = jax.tree_util.tree_flatten_with_path(params)
    names = (jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in leaves)
    return jax.tree.unflatten(
        structure, [changed.get(name, leaf) for name, (_, leaf) in zip(names, leaves, strict=True)]
    )


def choose(params: Any, targets: Patterns, dense: Patterns) -> list[Parameter]:
    """The parameters that the patterns name, the sparse ones first, each kind in the tree's order.

    Raises:
        InvalidArgument: a pattern matches nothing, a leaf is matched as sparse and as dense, or its type
            cannot be trained.
        Unsupported: a leaf lies where this version cannot train it.
    """
    leaves = leaves_of(params)
    chosen: dict[str, Parameter] = {}
    for argument, role, patterns in (("targets", "sparse", targets), ("dense", "dense", dense)):
        patterns = [patterns] if isinstance(patterns, str) else list(patterns)
        for pattern in patterns:
            if not any(fnmatchcase(name, pattern) for name in leaves):
                raise InvalidArgument(
                    f"{argument}: the pattern {pattern!r} matches no leaf of params ({', '.join(leaves)})"
                )
        for name, leaf in leaves.items():
            if not any(fnmatchcase(name, pattern) for pattern in patterns):
                continue
            if name in chosen:
                raise InvalidArgument(
                    f"parameter {name!r} is matched by targets and by dense: leave one of them"
                )
            if str(leaf.dtype) not in SCALARS:
                raise InvalidArgument(
                    f"the dtype of {name!r} must be one of {', '.join(SCALARS)}; got {leaf.dtype}"
                )
            refuse_placement(name, leaf)
            shape = tuple(int(size) for size in leaf.shape)
            chosen[name] = Parameter(name, shape, str(leaf.dtype), role, group=int(role == "dense"))
    if not chosen:
        raise InvalidArgument("targets: at least one pattern is needed, there or in dense")
    return list(chosen.values())


def find(params: Any, parameters: Sequence[Parameter], what: str = "params") -> list[Any]:
    """The leaves of `params` that an adapter trains, in its order, as the parameters are declared.

    Raises:
        InvalidArgument: one is missing, or has another shape or type.
    """
    leaves = leaves_of(params)
    found = []
    for parameter in parameters:
        leaf = leaves.get(parameter.name)
        if leaf is None:
            raise InvalidArgument(
                f"{what} must have the leaf {parameter.name!r}; got {', '.join(leaves) or 'none'}"
            )
        shape, dtype = tuple(leaf.shape), str(leaf.dtype)
        if what == "params" and (shape, dtype) != (parameter.shape, parameter.dtype):
            raise InvalidArgument(
                f"{what}: {parameter.name!r} must be {parameter.dtype} {list(parameter.shape)}, "
                f"got {dtype} {list(shape)}"
            )
        if shape != parameter.shape:
            raise InvalidArgument(
                f"{what}: {parameter.name!r} must have the shape {list(parameter.shape)}, got {list(shape)}"
            )
        refuse_placement(parameter.name, leaf)
        found.append(leaf)
    return found


def refuse_placement(name: str, leaf: Any) -> None:
    """Refuses an array that does not lie on JAX's first CPU device as a whole."""
    if not isinstance(leaf, jax.Array) or is_traced(leaf):
        return
    if leaf.is_deleted():
        raise InvalidArgument(f"{name!r} has been donated to another call: use what that call has returned")
    devices = sorted(leaf.devices(), key=lambda device: device.id)
    if len(devices) > 1:
        raise Unsupported(
            f"{name!r} is spread over {len(devices)} devices: this version trains arrays on one"
        )
    if devices[0].platform != "cpu" or devices[0].id != 0:
        raise Unsupported(f"{name!r} is on {devices[0]}: this version trains on JAX's first CPU device alone")


def is_traced(leaf: Any) -> bool:
    """Whether a leaf is a value of a program that is being traced."""
    return isinstance(leaf, jax.core.Tracer)
