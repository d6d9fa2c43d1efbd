"""Layers with quantized weights: bitsandbytes' own, and those that `quantize_layers` puts in place of others."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable

from .._context import Context
from .._errors import InvalidArgument, Unsupported
from .._quantization import QuantizedTensor, new_quantized
from ._device import make_context


class QuantizedLinear(nn.Module):
    """A linear layer with quantized weights, y = x Wᵀ + b, that computes without a dense W.

    Its state is that of bitsandbytes' layers: ``weight``, ``weight.absmax`` and so on, which either loads.
    Gradients go through to its input and its bias. `SparseAdapter` trains deltas beside its weights.

    Args:
        quantized: W [out, in], over PyTorch tensors or NumPy arrays, whose memory is shared.
        bias: [out], or None.
    """

    def __init__(self, quantized: QuantizedTensor, bias: torch.Tensor | None = None):
        super().__init__()
        if len(quantized.shape) != 2:
            raise InvalidArgument(f"quantized has shape {list(quantized.shape)}: a layer has 2 axes")
        self.out_features, self.in_features = quantized.shape
        self._set(quantized)
        self.bias = None if bias is None else nn.Parameter(bias)

    @property
    def quantized(self) -> QuantizedTensor:
        """W, over this layer's memory."""
        return replace(self._scales, codes=self.weight.detach())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """y, of x's type."""
        y: torch.Tensor = Product.apply(x, None, _Plain(self))
        return y if self.bias is None else y + self.bias.to(y.dtype)

    def extra_repr(self) -> str:
        scales = self._scales
        twice = "" if scales.absmax_absmax is None else ", double_quant"
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}, {scales.kind}, block={scales.block}{twice}"
        )

    def _set(self, quantized: QuantizedTensor) -> None:
        tensors = _map_tensors(quantized, torch.as_tensor)
        self.weight = nn.Parameter(tensors.codes, requires_grad=False)
        self._scales = tensors

    # PyTorch's own ways to move, save and load a module.

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> QuantizedLinear:
        super()._apply(fn, recurse)
        # Scales keep their types, whatever the model computes in.
        self._scales = _map_tensors(self._scales, lambda scale: scale.to(fn(scale).device))
        return self

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        device = self.weight.device
        on_host = _map_tensors(self.quantized, lambda tensor: tensor.cpu())
        for name, array in on_host.state_dict(prefix + "weight").items():
            destination[name] = torch.from_numpy(array).to(device)
        if self.bias is not None:
            destination[prefix + "bias"] = self.bias if keep_vars else self.bias.detach()

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        name = prefix + "weight"
        if name not in state_dict:
            missing_keys.append(name)
        else:
            try:
                on_host = {
                    key: value.cpu() if torch.is_tensor(value) else value
                    for key, value in state_dict.items()
                    if key.startswith(prefix)
                }
                loaded = QuantizedTensor.from_state_dict(on_host, name)
                if loaded.shape != (self.out_features, self.in_features):
                    raise InvalidArgument(
                        f"{name} is quantized from shape {list(loaded.shape)}; this layer has "
                        f"{[self.out_features, self.in_features]}"
                    )
                device = self.weight.device
                self._set(_map_tensors(loaded, lambda tensor: torch.as_tensor(tensor).clone().to(device)))
            except InvalidArgument as error:
                error_msgs.append(str(error))
        if self.bias is not None:
            if prefix + "bias" not in state_dict:
                missing_keys.append(prefix + "bias")
            else:
                with torch.no_grad():
                    self.bias.copy_(state_dict[prefix + "bias"])


def quantize_layers(
    model: nn.Module,
    targets: str | Sequence[str],
    kind: str = "nf4",
    *,
    block: int = 64,
    double_quant: bool = True,
) -> list[str]:
    """Puts a `QuantizedLinear` in place of each ``torch.nn.Linear`` whose weight the patterns name. ::

        speft.torch.quantize_layers(model, "encoder.*.weight")
        adapter = SparseAdapter(model, targets="encoder.*.query.weight", density=0.01)

    Args:
        model: changed in place; each layer on the device where it is.
        targets: patterns (``fnmatch``) over the names in ``model.named_parameters()``; what they match that
            is no weight of a linear layer stays.
        kind, block, double_quant: see `speft.quantize`.

    Returns:
        The names of the weights.

    Raises:
        speft.InvalidArgument: a pattern matches no linear layer, or a weight is not finite. Nothing is
            replaced then.
    """
    patterns = [targets] if isinstance(targets, str) else list(targets)
    layers = {
        f"{path}.weight" if path else "weight": (path, module)
        for path, module in model.named_modules(remove_duplicate=False)
        if path and isinstance(module, nn.Linear) and type(module).forward is nn.Linear.forward
    }
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in layers):
            raise InvalidArgument(f"targets: the pattern {pattern!r} matches the weight of no linear layer")
    chosen = [name for name in layers if any(fnmatchcase(name, pattern) for pattern in patterns)]
    made: dict[int, QuantizedLinear] = {}  # a layer that stands in several places stays one
    for name in chosen:
        module = layers[name][1]
        if id(module) in made:
            continue
        try:
            quantized = _quantize(module.weight.detach(), kind, block, double_quant)
        except InvalidArgument as error:
            raise InvalidArgument(f"{name}: {error}") from None
        bias = None if module.bias is None else module.bias.detach()
        made[id(module)] = QuantizedLinear(quantized, bias).train(module.training)
    for name in chosen:
        path, module = layers[name]
        parent, _, attribute = path.rpartition(".")
        setattr(model.get_submodule(parent), attribute, made[id(module)])
    return chosen


def _quantize(weight: torch.Tensor, kind: str, block: int, double_quant: bool) -> QuantizedTensor:
    target = new_quantized(weight, kind, block=block, double_quant=double_quant)
    target = _map_tensors(target, lambda array: torch.as_tensor(array).to(weight.device))
    _context(weight.device).quantize(weight, target)
    return target


def read_quantized(name: str, module: nn.Module, attribute: str) -> QuantizedTensor | None:
    """The quantized weight of a layer, over its memory; None where it is dense.

    Raises:
        InvalidArgument: it is quantized in a form that is not known; the message names it.
    """
    if attribute != "weight":
        return None
    if isinstance(module, QuantizedLinear):
        return module.quantized
    theirs = sys.modules.get("bitsandbytes.nn")
    try:
        if theirs is not None and isinstance(module.weight, theirs.Params4bit):
            return _read_4bit(module)
        if theirs is not None and isinstance(module.weight, theirs.Int8Params):
            return _read_int8(module)
    except InvalidArgument as error:
        raise InvalidArgument(f"target {name!r}: {error}") from None
    return None


def _read_4bit(module: Any) -> QuantizedTensor:
    state = module.weight.quant_state
    if state is None:
        raise InvalidArgument("the layer is not quantized yet: move it to its device first")
    if getattr(state, "packing_format_for_cpu", False):
        module.state_dict()  # its own way back from the order of its CPU kernel
        state = module.weight.quant_state
    codes = module.weight.detach()
    if codes.dtype != torch.uint8:
        codes = codes.contiguous().view(torch.uint8)
    twice = state.state2
    return QuantizedTensor(
        state.quant_type,
        codes=codes.contiguous(),
        absmax=state.absmax,
        block=state.blocksize,
        levels=state.code.float(),
        absmax_absmax=None if twice is None else twice.absmax,
        absmax_levels=None if twice is None else twice.code.float(),
        absmax_offset=None if twice is None else state.offset.reshape(1),
        absmax_block=0 if twice is None else twice.blocksize,
        shape=tuple(state.shape),
        dtype=str(state.dtype).removeprefix("torch."),
    )


def _read_int8(module: Any) -> QuantizedTensor:
    if module.weight.dtype != torch.int8:
        raise InvalidArgument("the layer keeps weights of 16 bits (has_fp16_weights), or is not quantized yet")
    scales = module.weight.SCB if module.weight.SCB is not None else module.state.SCB
    return QuantizedTensor(
        "int8",
        codes=module.weight.detach(),
        absmax=scales,
        block=0,
        shape=tuple(module.weight.shape),
        dtype="float16",  # which they are quantized from
    )


class Multiplier:
    """What computes the products of a layer whose weights PyTorch cannot multiply with."""

    def multiply(self, inputs: torch.Tensor, *, forward: bool) -> torch.Tensor:
        """inputs Wᵀ, or inputs W of the backward pass: [tokens, …] of the inputs' type."""
        raise NotImplementedError

    def receive(self, x: torch.Tensor, dy: torch.Tensor, examples: int) -> None:
        """Takes what the gradient of the weights is made of: [tokens, in], [tokens, out]."""

    @property
    def watched(self) -> torch.Tensor:
        """Of a layer that is trained: what must not be written to between the forward and the backward pass."""
        raise NotImplementedError


class Product(torch.autograd.Function):
    """x Wᵀ by a multiplier. `handle` stands for the weights in the graph, where they are trained."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, handle: torch.Tensor | None, multiplier: Multiplier
    ) -> torch.Tensor:
        autocast = torch.is_autocast_enabled(x.device.type)
        dtype = torch.get_autocast_dtype(x.device.type) if autocast else x.dtype
        inputs = x.detach().to(dtype).reshape(-1, x.shape[-1]).contiguous()
        y = multiplier.multiply(inputs, forward=True)
        ctx.multiplier = multiplier
        ctx.input_shape, ctx.input_dtype = x.shape, x.dtype
        if handle is not None:
            ctx.save_for_backward(inputs, multiplier.watched)
        return y.view(*x.shape[:-1], y.shape[-1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        inputs, *_ = ctx.saved_tensors or (None,)  # which notices that a step has come between
        tokens = dy.detach().reshape(-1, dy.shape[-1]).contiguous()
        if ctx.needs_input_grad[1]:
            examples = ctx.input_shape[0] if len(ctx.input_shape) > 1 else 1
            ctx.multiplier.receive(inputs, tokens, examples)
        dx = None
        if ctx.needs_input_grad[0]:
            dx = ctx.multiplier.multiply(tokens, forward=False)
            dx = dx.view(ctx.input_shape).to(ctx.input_dtype)
        return dx, None, None


class _Plain(Multiplier):
    """A layer that nobody trains."""

    def __init__(self, layer: QuantizedLinear):
        self._layer = layer

    def multiply(self, inputs: torch.Tensor, *, forward: bool) -> torch.Tensor:
        context = _context(inputs.device)
        return multiply(context, self._layer.quantized, inputs, layout="out_in", forward=forward)


def multiply(
    context: Context, quantized: QuantizedTensor, inputs: torch.Tensor, *, layout: str, forward: bool
) -> torch.Tensor:
    """inputs Wᵀ, or inputs W, of the inputs' type."""
    axis = 0 if (layout == "out_in") == forward else 1
    outputs = torch.empty(inputs.shape[0], quantized.shape[axis], dtype=inputs.dtype, device=inputs.device)
    product = context.quantized_forward if forward else context.quantized_backward
    product(quantized, inputs, outputs, layout=layout)
    return outputs


_contexts = threading.local()


def _context(device: torch.device) -> Context:
    """One for each thread and device, since a context does one thing at a time."""
    if not hasattr(_contexts, "of"):
        _contexts.of = {}
    if device not in _contexts.of:
        _contexts.of[device] = make_context(device)
    context: Context = _contexts.of[device]
    return context


def _map_tensors(quantized: QuantizedTensor, change: Callable[[Any], torch.Tensor]) -> QuantizedTensor:
    """All that a quantized weight is made of, changed."""
    tensors = {
        field.name: getattr(quantized, field.name)
        for field in fields(quantized)
        if field.name == "codes" or field.name.startswith("absmax") or field.name == "levels"
    }
    return replace(
        quantized,
        **{
            name: change(tensor)
            for name, tensor in tensors.items()
            if tensor is not None and not isinstance(tensor, int)
        },
    )
