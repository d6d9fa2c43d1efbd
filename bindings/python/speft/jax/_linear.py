"""A linear layer whose backward pass hands its input and output gradient over: no dense dW is formed."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
import numpy as np

from .._call import code_of
from .._errors import InvalidArgument
from .._options import LAYOUTS
from ._native import ADD_GRADIENT

TAP_LENGTH = 8


def make_tap(number: int, position: int) -> np.ndarray:
    """What tells a backward pass where its gradient goes: as data, in digits that bfloat16 holds exactly."""
    digits = [*number.to_bytes(4, "little"), *position.to_bytes(3, "little")]
    return np.array([*digits, (sum(digits) + 7) % 256], np.float32)


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
            cotangent of the weight is then 0, and that of the tap is what `SparseAdapter.step` takes.

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
        y = _tapped(code, contracted, x, weight, jnp.asarray(tap, jnp.float32))
    return y if bias is None else y + bias


def _multiply(x: Any, weight: Any, contracted: int) -> jax.Array:
    return jnp.matmul(x, weight if contracted == 0 else weight.T)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _tapped(code: int, contracted: int, x: Any, weight: Any, tap: Any) -> jax.Array:
    return _multiply(x, weight, contracted)


def _forward(code: int, contracted: int, x: Any, weight: Any, tap: Any) -> tuple[jax.Array, Any]:
    return _multiply(x, weight, contracted), (x, weight, tap)


def _backward(code: int, contracted: int, saved: Any, dy: Any) -> tuple[Any, None, Any]:
    x, weight, tap = saved
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
    dx = _multiply(dy, weight, 1 - contracted).astype(x.dtype)
    return dx, None, received


_tapped.defvjp(_forward, _backward)
