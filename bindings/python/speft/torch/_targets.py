"""Which parameters of a model are trained: patterns over names, and what is known of each match."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

import torch
from torch import nn

from .._errors import InvalidArgument
from .._quantization import QuantizedTensor
from ._quantized import read_quantized


class SparseValues(nn.Parameter):
    """The k deltas of one target, as the optimizer's groups hold them.

    ``.data`` is the library's memory, to be read. ``.grad`` is the sparse gradient, the library's memory too:
    what is done to it in place (clipping, unscaling, all-reduce) is done to what the next step uses.
    """


@dataclass(eq=False)
class Target:
    """A parameter of the model that is trained: some of its scalars, or all of them.

    A tied parameter is one target; `places` are all the (module, attribute) where the model has it, and its
    name is the first of its names. Where it lies is remembered, to notice when the host moves it.

    Of a layer with quantized weights `weight` holds the codes, for which autograd has no gradients: `handle`
    stands for them in its graph.
    """

    name: str
    weight: nn.Parameter
    places: list[tuple[nn.Module, str]]
    dense: bool
    index: int = -1
    values: SparseValues | None = None
    gradient: torch.Tensor | None = None
    received: bool = False  # whether `gradient` has been accumulated by the library since the last clear
    quantized: QuantizedTensor | None = field(init=False, default=None)
    handle: torch.Tensor = field(init=False)
    address: int = field(init=False)
    device: torch.device = field(init=False)
    dtype: torch.dtype = field(init=False)
    shape: torch.Size = field(init=False)

    def __post_init__(self) -> None:
        self.device, self.dtype, self.shape = self.weight.device, self.weight.dtype, self.weight.shape
        self.address = self.weight.data_ptr()
        self.handle = self.weight

    def find_quantized(self) -> None:
        """Looks whether the layers have quantized weights, once all places are known, and again when moved.

        Raises:
            InvalidArgument: they have, in a form that is not known; the message names it.
        """
        module, attribute = self.places[0]
        self.quantized = read_quantized(self.name, module, attribute)
        self.address = self.weight.data_ptr()
        if self.quantized is not None and self.handle is self.weight:
            self.handle = torch.zeros(0, device=self.device, requires_grad=True)

    @property
    def binding(self) -> torch.Tensor | QuantizedTensor:
        """What the library computes with."""
        return self.weight.detach() if self.quantized is None else self.quantized

    def has_moved(self) -> bool:
        """Whether the host has moved the weight to other memory of the same device.

        Raises:
            InvalidArgument: it is no longer the tensor that the adapter was made for.
        """
        for module, attribute in self.places:
            if module._parameters.get(attribute) is not self.weight:
                raise InvalidArgument(
                    f"parameter {self.name!r} of the model has been replaced by another tensor"
                )
        kept = [("device", self.device, self.weight.device), ("type", self.dtype, self.weight.dtype)]
        if self.quantized is None:  # codes are packed this way or that
            kept.append(("shape", tuple(self.shape), tuple(self.weight.shape)))
        for what, expected, actual in kept:
            if expected != actual:
                raise InvalidArgument(
                    f"parameter {self.name!r} must keep its {what} while an adapter trains it: "
                    f"expected {expected}, got {actual}"
                )
        return self.weight.data_ptr() != self.address


def resolve(model: nn.Module, sparse: str | Sequence[str], dense: str | Sequence[str]) -> list[Target]:
    """The parameters that the patterns name, the sparse ones first, each kind in the model's order.

    Raises:
        InvalidArgument: a pattern matches nothing, or one parameter is matched as sparse and as dense.
    """
    found = find_parameters(model)
    chosen: list[Target] = []
    for role, patterns in (("targets", sparse), ("dense", dense)):
        patterns = [patterns] if isinstance(patterns, str) else list(patterns)
        for pattern in patterns:
            if not any(fnmatchcase(name, pattern) for names, _ in found for name in names):
                raise InvalidArgument(f"{role}: the pattern {pattern!r} matches no parameter of the model")
        for names, target in found:
            if not any(fnmatchcase(name, pattern) for name in names for pattern in patterns):
                continue
            if any(target is other for other in chosen):
                raise InvalidArgument(
                    f"parameter {target.name!r} is matched by targets and by dense: leave one of them"
                )
            target.dense = role == "dense"
            chosen.append(target)
    if not chosen:
        raise InvalidArgument("targets: at least one pattern is needed, there or in dense")
    examine(chosen)
    return chosen


def find_parameters(model: nn.Module) -> list[tuple[list[str], Target]]:
    """All parameters of the model with all of their names, each tied one once."""
    found: dict[int, tuple[list[str], Target]] = {}
    for name, weight in model.named_parameters(remove_duplicate=False):
        if isinstance(weight, SparseValues):
            continue
        path, _, attribute = name.rpartition(".")
        names, target = found.setdefault(id(weight), ([], Target(name, weight, [], dense=False)))
        names.append(name)
        target.places.append((model.get_submodule(path), attribute))
    return list(found.values())


def examine(targets: Iterable[Target]) -> None:
    """Finds out which of the chosen ones are quantized."""
    for target in targets:
        target.find_quantized()
        if target.quantized is not None and target.dense:
            raise InvalidArgument(f"parameter {target.name!r} is quantized: it cannot be trained in full")


def device_of(targets: Iterable[Target]) -> torch.device:
    """The one device where all targets lie."""
    first, *rest = targets
    for target in rest:
        if target.device != first.device:
            raise InvalidArgument(
                f"all trained parameters must lie on one device: "
                f"{first.name!r} is on {first.device}, {target.name!r} on {target.device}"
            )
    return first.device
