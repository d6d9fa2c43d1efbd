"""One contribution to a parameter's gradient, in whichever form the host has it."""

from __future__ import annotations

from typing import Any

from . import _capi
from ._call import code_of, make
from ._errors import InvalidArgument
from ._options import LAYOUTS
from ._tensor import TensorLike, borrow


def gradient_of(
    *,
    dense: TensorLike | None = None,
    x: TensorLike | None = None,
    dy: TensorLike | None = None,
    values: TensorLike | None = None,
    layout: str = "out_in",
    scale: float = 1.0,
    observed: bool = False,
    stream: int | None = None,
    example_offsets: TensorLike | None = None,
) -> Any:
    """The C struct for the one form that is given. See `Adapter.accumulate` and `Adapter.observe`."""
    tensors = {"dense": dense, "x": x, "dy": dy, "values": values}
    given = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    kind = _KINDS.get(tuple(given))
    if observed and tuple(given) == ("x",):  # all that Wanda needs
        kind = _capi.SPEFT_GRADIENT_ACTIVATIONS
    if kind is None:
        raise InvalidArgument(
            "a gradient is given as dense=, as x= and dy=, or as values=; "
            f"got {' and '.join(given) or 'none of them'}"
        )
    if scale == 0:
        raise InvalidArgument("scale must not be 0")
    if example_offsets is not None:
        given["example_offsets"] = example_offsets
    return make(
        _capi.speft_gradient,
        kind=kind,
        layout=code_of("layout", layout, LAYOUTS),
        scale=scale,
        **{name: borrow(name, tensor, stream=stream) for name, tensor in given.items()},
    )


_KINDS: dict[tuple[str, ...], int] = {
    ("dense",): _capi.SPEFT_GRADIENT_DENSE,
    ("x", "dy"): _capi.SPEFT_GRADIENT_ACTIVATIONS,
    ("values",): _capi.SPEFT_GRADIENT_VALUES,
}
