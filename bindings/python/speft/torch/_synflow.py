"""SynFlow's gradients: of the sum of the outputs of a network made linear, with absolute weights.

R = 1ᵀ ∏|θ_l| 1 is defined for a chain of matrices. What the other parts of a model become here:

- all floating parameters are replaced by their absolute values, and biases are left out;
- activations and dropout pass their input on, so that a gated unit is the product of its two halves;
- a softmax is uniform, so that attention is the mean of the values over the keys, and what makes queries and
  keys alone gets scores of 0;
- a normalization divides by the root mean square of its input, held constant, and multiplies by |γ|, which
  keeps numbers finite; so does a hand-written one that uses ``rsqrt``;
- embeddings are ones, and so are all floating inputs of the model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

from .._errors import InvalidArgument
from ._targets import SparseValues

Tensors = Sequence[torch.Tensor]


def flow_gradients(model: nn.Module, weights: Tensors, forward: Callable[[], object]) -> list[torch.Tensor]:
    """∂R/∂|θ| of each of `weights`, R being the sum of what `model` puts out when `forward` first calls it.

    The model's parameters are as before, to the bit, when this returns or raises.
    """
    outputs: list[torch.Tensor] = []

    def keep(module: nn.Module, arguments: object, output: object) -> None:
        if not outputs:
            outputs.append(_main_tensor(output))

    hooks = [
        model.register_forward_pre_hook(_with_ones, with_kwargs=True),
        model.register_forward_hook(keep),
        *(
            module.register_forward_hook(lambda module, arguments, output: arguments[0])
            for module in model.modules()
            # Compositions of several functions, which would not become linear one by one.
            if type(module).__module__ == "transformers.activations"
        ),
    ]
    try:
        with _absolute(model), torch.enable_grad():
            with _Linear():
                forward()
            if not outputs:
                raise InvalidArgument("loss must call the model, of whose outputs synflow takes the sum")
            total = outputs[0].sum(dtype=torch.float32)
            if not torch.isfinite(total):
                raise InvalidArgument(
                    f"synflow: the sum of the model's outputs over absolute weights must be finite, got "
                    f"{total.item()}: are all weights, and is their type wide enough?"
                )
            if not total.requires_grad:
                raise InvalidArgument("synflow: the model's outputs must depend on a target")
            found = torch.autograd.grad(total, weights, allow_unused=True)
    finally:
        for hook in hooks:
            hook.remove()
    return [
        torch.zeros_like(weight) if gradient is None else gradient
        for weight, gradient in zip(weights, found, strict=True)
    ]


def _with_ones(module: nn.Module, arguments: Any, named: Any) -> Any:
    def one(leaf: Any) -> Any:
        return torch.ones_like(leaf) if torch.is_tensor(leaf) and leaf.is_floating_point() else leaf

    return tree_map(one, arguments), tree_map(one, named)


def _main_tensor(output: object) -> torch.Tensor:
    for name in ("logits", "last_hidden_state"):
        if torch.is_tensor(getattr(output, name, None)):
            return getattr(output, name)
    for leaf in tree_leaves(output):
        if torch.is_tensor(leaf) and leaf.is_floating_point():
            return leaf
    raise InvalidArgument(f"the model must put out a tensor for synflow, got {type(output).__name__}")


# ---- absolute values ----

_BITS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


@contextmanager
def _absolute(model: nn.Module) -> Iterator[None]:
    """Clears the sign bits of all floating parameters, and puts them back: those of zeros and NaN too."""
    changed: list[tuple[torch.Tensor, torch.Tensor]] = []
    try:
        for parameter in model.parameters():
            if parameter.is_floating_point() and not isinstance(parameter, SparseValues):
                bits = parameter.detach().view(_BITS[parameter.element_size()])
                negative = bits < 0
                changed.append((bits, negative))
                bits.bitwise_and_(torch.iinfo(bits.dtype).max)
        yield
    finally:
        for bits, negative in reversed(changed):  # parameters may overlap
            bits.bitwise_or_(negative.to(bits.dtype).mul_(torch.iinfo(bits.dtype).min))


# ---- the linear network ----


class _Linear(TorchFunctionMode):
    """Functions become what the head of this file says."""

    def __torch_function__(self, function: Any, types: Any, arguments: Any = (), named: Any = None) -> Any:
        return _REPLACED.get(function, function)(*arguments, **(named or {}))


def _identity(input: torch.Tensor, *arguments: Any, **named: Any) -> torch.Tensor:
    return input


def _uniform(
    input: torch.Tensor, dim: int = -1, *arguments: Any, dtype: torch.dtype | None = None, **named: Any
) -> torch.Tensor:
    return torch.full_like(input, 1 / input.shape[dim], dtype=dtype)


def _attend(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *arguments: Any, **named: Any
) -> Any:
    mean = value.mean(-2, keepdim=True)
    if query.ndim >= 3 and mean.shape[-3] != query.shape[-3]:  # heads that share their keys and values
        mean = mean.repeat_interleave(query.shape[-3] // mean.shape[-3], -3)
    return mean.expand(*mean.shape[:-2], query.shape[-2], mean.shape[-1])


def _attend_heads(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: torch.Tensor | None,
    in_proj_bias: torch.Tensor | None,
    bias_k: torch.Tensor | None,
    bias_v: torch.Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: torch.Tensor,
    out_proj_bias: torch.Tensor | None,
    *arguments: Any,
    v_proj_weight: torch.Tensor | None = None,
    **named: Any,
) -> tuple[torch.Tensor, None]:
    """torch.nn.MultiheadAttention: [tokens, ...], all heads of the values at once."""
    if v_proj_weight is None:
        assert in_proj_weight is not None
        v_proj_weight = in_proj_weight.chunk(3)[2]
    mean = F.linear(F.linear(value, v_proj_weight).mean(0, keepdim=True), out_proj_weight)
    return mean.expand(query.shape[0], *mean.shape[1:]), None


def _divide(input: torch.Tensor, weight: torch.Tensor | None, axes: tuple[int, ...]) -> torch.Tensor:
    square = input.detach().float().square().mean(axes, keepdim=True)
    # Where all inputs are 0 there is nothing to divide.
    output = input * square.where(square > 0, 1).rsqrt().to(input.dtype)
    return output if weight is None else output * weight.to(output.dtype)


def _normalize(
    input: torch.Tensor, shape: Any, weight: torch.Tensor | None = None, *arguments: Any, **named: Any
) -> torch.Tensor:
    return _divide(input, weight, tuple(range(-len(shape), 0)))


def _normalize_batch(
    input: torch.Tensor,
    running_mean: torch.Tensor | None = None,
    running_var: torch.Tensor | None = None,
    weight: torch.Tensor | None = None,
    *arguments: Any,
    **named: Any,
) -> torch.Tensor:
    axes = (0, *range(2, input.ndim))
    return _divide(input, None if weight is None else weight.view(-1, *(1,) * (input.ndim - 2)), axes)


def _hold(input: torch.Tensor, *arguments: Any, **named: Any) -> torch.Tensor:
    return input.detach().rsqrt()


def _ones(input: torch.Tensor, weight: torch.Tensor, *arguments: Any, **named: Any) -> torch.Tensor:
    return torch.ones(*input.shape, weight.shape[1], dtype=weight.dtype, device=weight.device)


def _gate(input: torch.Tensor, dim: int = -1) -> torch.Tensor:
    first, second = input.chunk(2, dim)
    return first * second


def _product(input: torch.Tensor, mat1: torch.Tensor, mat2: torch.Tensor, **named: Any) -> torch.Tensor:
    return mat1 @ mat2


def _unbiased(function: Any) -> Any:
    def compute(
        input: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None = None,
        *arguments: Any,
        **named: Any,
    ) -> torch.Tensor:
        return function(input, weight, None, *arguments, **named)

    return compute


_PASSED_ON = """
    celu celu_ elu elu_ gelu hardsigmoid hardswish hardtanh hardtanh_ leaky_relu leaky_relu_
    logsigmoid mish prelu relu relu6 relu_ rrelu rrelu_ selu selu_ sigmoid sigmoid_ silu softplus
    softsign tanh tanh_ tanhshrink threshold threshold_ alpha_dropout dropout dropout_ dropout1d
    dropout2d dropout3d feature_alpha_dropout
"""


def _named(*names: str) -> Iterator[Any]:
    """The functions of these names, wherever PyTorch has them."""
    for place in (F, torch, torch.Tensor):
        for name in names:
            if hasattr(place, name):
                yield getattr(place, name)


_REPLACED: dict[Any, Any] = {
    **dict.fromkeys(_named(*_PASSED_ON.split()), _identity),
    **dict.fromkeys(_named("softmax"), _uniform),
    **dict.fromkeys(_named("rsqrt"), _hold),
    **dict.fromkeys(_named("layer_norm", "rms_norm"), _normalize),
    **dict.fromkeys(_named("addmm"), _product),
    F.embedding: _ones,
    F.batch_norm: _normalize_batch,
    F.glu: _gate,
    F.scaled_dot_product_attention: _attend,
    F.multi_head_attention_forward: _attend_heads,
    **{
        function: _unbiased(function)
        for function in _named(
            "linear",
            *(f"conv{axes}d" for axes in (1, 2, 3)),
            *(f"conv_transpose{axes}d" for axes in (1, 2, 3)),
        )
    },
}
