"""What an adapter changes on the host's model while it lives. Each function returns what takes it back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import nn
from torch.nn.parallel import DistributedDataParallel

from .._errors import InvalidArgument
from ._targets import SparseValues, Target

Undo = Callable[[], None]

_IGNORED = "_ddp_params_and_buffers_to_ignore"


def train_only(model: nn.Module, trained: Sequence[nn.Parameter]) -> Undo:
    """Freezes all other parameters."""
    before = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    chosen = {id(parameter) for parameter in trained}
    for parameter, _ in before:
        parameter.requires_grad_(id(parameter) in chosen)

    def restore() -> None:
        for parameter, required in before:
            parameter.requires_grad_(required)

    return restore


def name_of_values(attribute: str) -> str:
    """Under which name a target's values stand beside its weight."""
    return f"speft_{attribute}"


def expose_values(target: Target) -> Undo:
    """Registers a target's values on its module.

    ``model.parameters()`` finds them, as Trainer's clipping does; ``state_dict()`` and ``load_state_dict()``
    do not: the model's checkpoints stay ordinary ones.
    """
    module, attribute = target.places[0]
    name = name_of_values(attribute)
    module.register_parameter(name, target.values)
    hooks = (
        module.register_state_dict_post_hook(_leave_values_out),
        module.register_load_state_dict_post_hook(_do_not_miss_values),
    )

    def restore() -> None:
        module._parameters.pop(name, None)
        for hook in hooks:
            hook.remove()

    return restore


def ignore_in_data_parallel(model: nn.Module, targets: Sequence[Target]) -> Undo:
    """Keeps DistributedDataParallel, which may wrap the model later, from waiting for targets' gradients."""
    if isinstance(model, DistributedDataParallel):
        raise InvalidArgument(
            "model must not be wrapped in DistributedDataParallel yet: wrap it after the adapter is made"
        )
    before = getattr(model, _IGNORED, None)
    wanted = {id(target.weight) for target in targets}
    names = list(before or ())
    for name, weight in model.named_parameters(remove_duplicate=False):
        if id(weight) in wanted:
            path, dot, attribute = name.rpartition(".")
            names += [name, path + dot + name_of_values(attribute)]
    DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(model, names)

    def restore() -> None:
        if before is None:
            delattr(model, _IGNORED)
        else:
            setattr(model, _IGNORED, before)
        for target in targets:
            delattr(target.weight, "_ddp_ignored")

    return restore


# Hooks of modules, at the top of a file so that a model with an adapter can be pickled and copied.


def _values_of(module: nn.Module) -> list[str]:
    return [name for name, parameter in module._parameters.items() if isinstance(parameter, SparseValues)]


def _leave_values_out(
    module: nn.Module, state_dict: dict[str, Any], prefix: str, local_metadata: object
) -> None:
    for name in _values_of(module):
        state_dict.pop(prefix + name, None)


def _do_not_miss_values(module: nn.Module, incompatible_keys: Any) -> None:
    hidden = set(_values_of(module))
    missing = incompatible_keys.missing_keys
    missing[:] = [key for key in missing if key.rpartition(".")[2] not in hidden]
