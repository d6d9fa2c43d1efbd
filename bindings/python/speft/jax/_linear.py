"""A linear layer whose backward pass hands its input and output gradient over: no dense dW is formed.

Where the delta of its weight is beside it, in a basis, the library's product with that is added to XLA's.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero

from .._call import code_of
from .._errors import InvalidArgument
from .._options import LAYOUTS
from ._native import ADD_DELTA, ADD_GRADIENT

TAP_LENGTH = 8


def make_tap(number: int, position: int, beside: bool) -> np.ndarray:
    """What tells a layer whose parameter it is: as data, in digits that bfloat16 holds exactly.

    A tap of a delta that is beside its weight is one digit longer: that is another program, and a shape is
    all that is known when one is made.
    """
    digits = [*number.to_bytes(4, "little"), *position.to_bytes(3, "little")]
    return np.array([*digits, (sum(digits) + 7) % 256, *([0] if beside else [])], np.float32)


@functools.partial(jax.tree_util.register_dataclass, data_fields=["weight", "tap"], meta_fields=[])
@dataclass(frozen=True)
class Tapped:
    """A target's weight within a loss, to be given to `linear`; its ``weight`` alone is the bare array.

    What is computed from ``weight`` directly does not reach the adapter.
    """

    weight: Any
    tap: Any

    @property
    def shape(self) -> tuple[int, ...]:
        """The weight's."""
        return tuple(self.weight.shape)

    @property
    def ndim(self) -> int:
        """The weight's."""
        return int(self.weight.ndim)

    @property
    def dtype(self) -> Any:
        """The weight's."""
        return self.weight.dtype

    def __jax_array__(self) -> NoReturn:
        raise TypeError(
            f"a target of shape {self.shape} must be used by speft.jax.linear, which hands its gradient over "
            "to the adapter; for a model that uses it otherwise make the adapter with gradient='dense'"
        )


def linear(x: Any, weight: Any, bias: Any = None, *, layout: str = "in_out", tap: Any = None) -> jax.Array:
    """x·weight + bias, a linear layer; of a `Tapped` weight the gradient goes to its adapter.

    An adapter's `value_and_grad` passes its targets as `Tapped`; a plain weight has an ordinary gradient, so
    that one model serves training and inference. Works under jit, scan, remat (`jax.checkpoint`) and vmap, in
    reverse mode; a weight may be used several times.

    Args:
        x: [..., in]; float32, bfloat16 or float16.
        weight: an array or a `Tapped` one, [in, out] or [out, in] as `layout` says.
        bias: [out], or None.
        layout: ``"in_out"``, as flax's kernels lie; ``"out_in"``, as PyTorch's do.
        tap: one of `SparseAdapter.taps`, with a plain weight: what `Tapped` holds, passed by hand. The
            cotangent of the weight is then 0, and that of the tap is what `SparseAdapter.step` takes. With
            ``"sparsegrad"`` the result is that of W + VᵀΔU; without its tap of W alone.

    Returns:
        [..., out].

    Raises:
        speft.InvalidArgument: the shapes do not fit; the message has both.
    """
    code = code_of("layout", layout, LAYOUTS)
    if isinstance(weight, Tapped):
        weight, tap = weight.weight, weight.tap
    contracted = 0 if layout == "in_out" else 1
    if jnp.ndim(weight) != 2 or jnp.ndim(x) < 1 or x.shape[-1] != weight.shape[contracted]:
        raise InvalidArgument(
            f"x must be [..., in] and weight {layout.replace('_', ', ').join('[]')}; "
            f"got shapes {tuple(jnp.shape(x))} and {tuple(jnp.shape(weight))}"
        )
    if tap is None:
        y = _multiply(x, weight, contracted)
    else:
        tap = jnp.asarray(tap, jnp.float32)
        beside = tap.shape[-1] > TAP_LENGTH
        y = _tapped(code, contracted, beside, x, weight, tap[:TAP_LENGTH])
    return y if bias is None else y + bias


def _multiply(x: Any, weight: Any, contracted: int) -> jax.Array:
    return jnp.matmul(x, weight if contracted == 0 else weight.T)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def _tapped(code: int, contracted: int, beside: bool, x: Any, weight: Any, tap: Any) -> jax.Array:
    return _forward_product(code, contracted, beside, x, weight, tap)[0]


def _forward_product(
    code: int, contracted: int, beside: bool, x: Any, weight: Any, tap: Any
) -> tuple[jax.Array, Any]:
    y = _multiply(x, weight, contracted)
    return _add_delta(code, x, y, tap, backward=False) if beside else (y, tap)


def _forward(
    code: int, contracted: int, beside: bool, x: Any, weight: Any, tap: Any
) -> tuple[jax.Array, Any]:
    y, passed = _forward_product(code, contracted, beside, x.value, weight.value, tap.value)
    return y, (x.value, weight.value, passed, () if x.perturbed else None)


def _backward(code: int, contracted: int, beside: bool, saved: Any, dy: Any) -> tuple[Any, None, Any]:
    x, weight, tap, wanted = saved
    if isinstance(dy, SymbolicZero):
        dy = jnp.zeros(dy.shape, dy.dtype)
    dx = None
    if wanted is not None:
        dx = _multiply(dy, weight, 1 - contracted)
        # The delta is that of this step: who takes the next one runs after the tap has come out of here.
        dx, tap = _add_delta(code, dy, dx, tap, backward=True) if beside else (dx, tap)
        dx = dx.astype(x.dtype)
    tokens = math.prod(x.shape[:-1])
    hand_over = jax.ffi.ffi_call(
        ADD_GRADIENT,
        jax.ShapeDtypeStruct((TAP_LENGTH,), jnp.float32),
        has_side_effect=True,
        vmap_method="broadcast_all",
    )
    # The cotangent of the tap: zeros, and the proof that the gradient was handed over before who needs them.
    received = hand_over(
        tap,
        x.reshape(tokens, x.shape[-1]),
        dy.reshape(tokens, dy.shape[-1]),
        layout=np.int32(code),
        examples=np.int64(x.shape[0] if x.ndim > 1 else 1),
    )
    return dx, None, received


_tapped.defvjp(_forward, _backward, symbolic_zeros=True)


def _add_delta(code: int, inputs: Any, product: Any, tap: Any, *, backward: bool) -> tuple[jax.Array, Any]:
    """The layer's product with a delta added to that with its weight; and the tap, once that is done.

    The delta is no operand. The weight is one of its product, and comes from the step before, so that step
    has been taken.
    """
    tokens = math.prod(inputs.shape[:-1])
    add = jax.ffi.ffi_call(
        ADD_DELTA,
        [
            jax.ShapeDtypeStruct((tokens, product.shape[-1]), product.dtype),
            jax.ShapeDtypeStruct((TAP_LENGTH,), jnp.float32),
        ],
        vmap_method="broadcast_all",
        input_output_aliases={2: 0},
    )
    outputs, passed = add(
        tap,
        inputs.reshape(tokens, inputs.shape[-1]),
        product.reshape(tokens, product.shape[-1]),
        layout=np.int32(code),
        backward=np.int32(backward),
    )
    return outputs.reshape(product.shape), passed
