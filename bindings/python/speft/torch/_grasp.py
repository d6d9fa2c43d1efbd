"""GRaSP's products: of the loss's Hessian and the mean gradient, by differentiating twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from .._errors import InvalidState


def hessian_products(
    weights: Mapping[str, torch.Tensor],
    loss: Callable[[Any], torch.Tensor],
    batches: list[tuple[Any, float]],
) -> Iterator[tuple[float, list[torch.Tensor]]]:
    """For each batch and its weight: that weight, and H_b ḡ for each of `weights`.

    ḡ is the weighted mean of the gradients of all batches: it takes a float32 number a scalar. Each product
    takes what the backward pass of a backward pass takes.
    """
    tensors = list(weights.values())
    mean = [torch.zeros_like(weight, dtype=torch.float32) for weight in tensors]
    total = sum(weight for _, weight in batches)
    for batch, weight in batches:
        gradients = torch.autograd.grad(loss(batch), tensors, allow_unused=True)
        for name, sum_, gradient in zip(weights, mean, gradients, strict=True):
            if gradient is None:
                raise InvalidState(f"no gradient of {name!r} has arrived: the loss does not depend on it")
            sum_.add_(gradient, alpha=weight / total)
    for batch, weight in batches:
        with sdpa_kernel(SDPBackend.MATH):  # the fused ones have no second derivative
            gradients = torch.autograd.grad(loss(batch), tensors, create_graph=True)
            pairs = zip(gradients, mean, strict=True)
            product = torch.stack([(gradient * part).sum() for gradient, part in pairs]).sum()
            if product.requires_grad:
                products = list(torch.autograd.grad(product, tensors, materialize_grads=True))
            else:  # the loss is linear in all of them
                products = [torch.zeros_like(weight) for weight in tensors]
        yield weight, products
