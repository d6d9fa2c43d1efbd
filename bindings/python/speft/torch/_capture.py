"""Gradients on their way from PyTorch's backward pass into the library, without a dense weight gradient kept.

`capture_layers` taps linear layers for their input X and output gradient dY, of which dW = dYᵀX is the
product. `hook_gradient` hands over the dense dW that PyTorch has made, and drops it.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import nn
from torch.autograd.function import once_differentiable

from .._errors import InvalidArgument
from ._quantized import Multiplier, Product, QuantizedLinear
from ._targets import Target


class Receiver(Protocol):
    """Who takes the gradients."""

    @property
    def capturing(self) -> bool:
        """Whether it does, now."""

    @property
    def taking_dense(self) -> bool:
        """Whether dense gradients are taken as they arrive."""

    def multiplying(self, target: Target) -> bool:
        """Whether the target's layers compute by `multiply` now."""

    def multiply(self, target: Target, inputs: torch.Tensor, *, layout: str, forward: bool) -> torch.Tensor:
        """The product of [tokens, features] with the target's weight and its delta."""

    def receive(self, target: Target, examples: int | None = None, **gradient: Any) -> None:
        """Takes one contribution, in a form that `speft.Adapter.accumulate` knows.

        `examples` is the size of the first axis of the layer's input.
        """


def layout_of(module: nn.Module) -> str | None:
    """How the weight of a linear layer lies, or None when the module is not one."""
    conv1d = getattr(sys.modules.get("transformers.pytorch_utils"), "Conv1D", None)
    quantized = sys.modules.get("bitsandbytes.nn")
    of_4bits, of_int8 = (getattr(quantized, name, None) for name in ("Linear4bit", "Linear8bitLt"))
    kinds = (nn.Linear, QuantizedLinear, of_4bits, of_int8)
    for kind, layout in (*((kind, "out_in") for kind in kinds), (conv1d, "in_out")):
        # A subclass that computes something else is no linear layer.
        if kind is not None and isinstance(module, kind) and type(module).forward is kind.forward:
            return layout
    return None


class CapturedForward:
    """The forward of a linear layer, and a tap on its gradient. Same result, to the bit.

    A copy or a pickle of the layer gets its ordinary forward.
    """

    def __init__(self, module: nn.Module, target: Target, layout: str, receiver: Receiver):
        self.module = module
        self.target = target
        self.layout = layout
        self._receiver = weakref.ref(receiver)

    @property
    def receiver(self) -> Receiver | None:
        """Who takes the gradients; None when it is gone or has been closed."""
        receiver = self._receiver()
        return receiver if receiver is not None and receiver.capturing else None

    def __call__(self, *arguments: torch.Tensor, **named: torch.Tensor) -> torch.Tensor:
        weight = self.module.weight
        receiver = self._receiver()
        if receiver is not None and receiver.multiplying(self.target):
            (x,) = (*arguments, *named.values())
            y: torch.Tensor = Product.apply(x, self.target.handle, _Layer(self, receiver))
            bias = self.module.bias
            return y if bias is None else y + bias.to(y.dtype)
        if not (torch.is_grad_enabled() and weight.requires_grad) or self.receiver is None:
            return self.compute(*arguments, **named)
        (x,) = (*arguments, *named.values())
        return _Capture.apply(x, weight, self.module.bias, self)

    def compute(self, *arguments: torch.Tensor, **named: torch.Tensor) -> torch.Tensor:
        """The layer's own forward."""
        return type(self.module).forward(self.module, *arguments, **named)

    def __reduce__(self) -> tuple[Any, ...]:
        return getattr, (self.module, "forward")  # taken of the copy before it has attributes of its own


def capture_layers(target: Target, receiver: Receiver) -> Callable[[], None]:
    """Puts a tap on every layer that has the target as its weight; returns what takes them off again."""
    layers: list[tuple[nn.Module, CapturedForward]] = []
    for module, attribute in target.places:
        layout = layout_of(module)
        if layout is None or attribute != "weight":
            raise InvalidArgument(
                f"target {target.name!r} must be the weight of a torch.nn.Linear (or transformers' Conv1D), "
                f"it is {attribute!r} of a {type(module).__name__}: use gradient='dense', or leave it out"
            )
        if "forward" in vars(module):
            raise InvalidArgument(
                f"the layer of target {target.name!r} has its forward replaced already (by another adapter?):"
                " close that one, or use gradient='dense'"
            )
        if all(module is not layer for layer, _ in layers):
            layers.append((module, CapturedForward(module, target, layout, receiver)))
    for module, forward in layers:
        module.forward = forward

    def restore() -> None:
        for module, forward in layers:
            if vars(module).get("forward") is forward:
                del module.forward

    return restore


def hook_gradient(target: Target, receiver: Receiver) -> Callable[[], None]:
    """Hands every dense gradient of the target over while its receiver takes them; returns what ends that."""
    if target.quantized is not None:
        raise InvalidArgument(
            f"target {target.name!r} is quantized, and has no dense gradient: use gradient='activations'"
        )
    reference = weakref.ref(receiver)

    def hand_over(weight: torch.Tensor) -> None:
        taker = reference()
        if taker is not None and taker.taking_dense and weight.grad is not None:
            taker.receive(target, dense=weight.grad.contiguous())
            weight.grad = None

    handle = target.weight.register_post_accumulate_grad_hook(hand_over)
    return lambda: handle.remove()


class _Capture(torch.autograd.Function):
    """A linear layer whose weight is an input, so that it is part of the graph, and gets no gradient."""

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        layer: CapturedForward,
    ) -> torch.Tensor:
        y = layer.compute(x)
        ctx.layer = layer
        ctx.input_dtype = x.dtype
        ctx.save_for_backward(x.to(y.dtype), weight)  # as autocast has cast it
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        layer = ctx.layer
        tokens = dy.detach().reshape(-1, dy.shape[-1]).contiguous()
        receiver = layer.receiver
        if receiver is not None and ctx.needs_input_grad[1]:
            inputs = x.detach().reshape(-1, x.shape[-1]).contiguous()
            examples = x.shape[0] if x.ndim > 1 else 1
            receiver.receive(layer.target, x=inputs, dy=tokens, layout=layer.layout, examples=examples)
        dx = bias_gradient = None
        if ctx.needs_input_grad[0]:
            matrix = weight.to(dy.dtype)
            matrix = matrix if layer.layout == "out_in" else matrix.t()
            dx = (tokens @ matrix).view(x.shape).to(ctx.input_dtype)
        if ctx.needs_input_grad[2]:
            bias_gradient = tokens.sum(0).to(layer.module.bias.dtype)
        return dx, None, bias_gradient, None


class _Layer(Multiplier):
    """A layer whose products are the library's: its delta is not in its weight, or its weight is quantized."""

    def __init__(self, layer: CapturedForward, receiver: Receiver):
        self._layer = layer
        self._receiver = receiver

    def multiply(self, inputs: torch.Tensor, *, forward: bool) -> torch.Tensor:
        return self._receiver.multiply(self._layer.target, inputs, layout=self._layer.layout, forward=forward)

    def receive(self, x: torch.Tensor, dy: torch.Tensor, examples: int) -> None:
        if self._receiver.capturing:
            self._receiver.receive(self._layer.target, x=x, dy=dy, layout=self._layer.layout, examples=examples)

    @property
    def watched(self) -> torch.Tensor:
        return self._layer.target.weight
