"""Quantized base weights: codes and scales in bitsandbytes' layout, and weights to them and back."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import _capi
from ._call import code_of, integer, make
from ._errors import InvalidArgument
from ._options import WEIGHTS
from ._tensor import SCALARS, TensorLike, borrow, describe

if TYPE_CHECKING:
    from ._context import Context

_PACKED = "quant_state.bitsandbytes__"
# The state's numbers and names, which bitsandbytes packs as JSON; the latter where the scales are quantized.
_FIELDS = {"quant_type", "blocksize", "dtype", "shape"}
_NESTED_FIELDS = {"nested_blocksize", "nested_dtype", "nested_offset"}
_NESTED_TENSORS = {"nested_absmax", "nested_quant_map"}


@dataclass(frozen=True, eq=False)
class QuantizedTensor:
    """A quantized weight in bitsandbytes' layout: made by `quantize`, read from a state, or over any memory.

    `Adapter.bind_weights` takes it: its deltas are trained beside it. ::

        adapter = speft.Adapter(context, [speft.Parameter("w", base.shape, base.dtype)], density=0.01)
        adapter.bind_weights("w", base)
        adapter.select()
        adapter.linear_forward("w", x, y)               # x (W+Δ)ᵀ; linear_backward for its gradient

    Attributes:
        kind: ``"nf4"``, ``"fp4"`` or ``"int8"``.
        codes: uint8 [ceil(N / 2)], the first of two codes in the upper half of a byte; int8 of the weight's
            shape.
        absmax: float32 [ceil(N / block)], a scale for each block ([rows] of int8, a row being what the last
            axis holds), or uint8 where the scales are quantized themselves.
        block: scalars that share one scale: a power of 2 between 32 and 4,096; 0 of int8.
        levels: float32 [16], the value of each code; None for the kind's own table.
        absmax_absmax, absmax_levels, absmax_offset, absmax_block: the second quantization, where there is
            one: float32 [ceil(scales / absmax_block)], [256] (None for bitsandbytes' own) and [1].
        shape: of the weight.
        dtype: of the weight that was quantized, ``"float32"``, ``"bfloat16"`` or ``"float16"``: what
            bitsandbytes dequantizes to.
    """

    kind: str
    codes: TensorLike
    absmax: TensorLike
    block: int = 64
    levels: TensorLike | None = None
    absmax_absmax: TensorLike | None = None
    absmax_levels: TensorLike | None = None
    absmax_offset: TensorLike | None = None
    absmax_block: int = 0
    shape: tuple[int, ...] = ()
    dtype: str = "float32"

    def dequantize(self, *, context: Context | None = None) -> Any:
        """The weight, a NumPy array of float32. `Context.dequantize` writes other types, into any memory."""
        import numpy as np

        out = np.empty(self.shape, np.float32)
        _context(context).dequantize(self, out)
        return out

    def state_dict(self, name: str = "weight") -> dict[str, Any]:
        """What bitsandbytes' layers have in their state: NumPy arrays, ``weight``, ``weight.absmax``, ...

        Args:
            name: of the weight, ``"model.layers.0.mlp.up_proj.weight"`` say. Of int8 it has to end in
                ``weight``.
        """
        import numpy as np

        def array(tensor: TensorLike) -> Any:
            return np.from_dlpack(tensor)  # type: ignore[arg-type]

        if self.kind == "int8":
            layer = _layer_of(name)
            return {
                name: array(self.codes),
                f"{layer}SCB": array(self.absmax),
                f"{layer}weight_format": np.zeros((), np.uint8),  # row-major
            }
        levels = _own_levels(self.kind) if self.levels is None else array(self.levels)
        state = {name: array(self.codes), f"{name}.absmax": array(self.absmax), f"{name}.quant_map": levels}
        fields: dict[str, Any] = {
            "quant_type": self.kind,
            "blocksize": self.block,
            "dtype": self.dtype,
            "shape": list(self.shape),
        }
        if self.absmax_absmax is not None:
            if self.absmax_offset is None or self.absmax_levels is None:
                raise InvalidArgument("absmax_offset and absmax_levels must be given where absmax_absmax is")
            state[f"{name}.nested_absmax"] = array(self.absmax_absmax)
            state[f"{name}.nested_quant_map"] = array(self.absmax_levels)
            fields["nested_blocksize"] = self.absmax_block
            fields["nested_dtype"] = "float32"
            fields["nested_offset"] = float(array(self.absmax_offset).reshape(()))
        state[f"{name}.{_PACKED}{self.kind}"] = np.frombuffer(bytearray(json.dumps(fields).encode()), np.uint8)
        return state

    @classmethod
    def from_state_dict(cls, state: Mapping[str, TensorLike], name: str = "weight") -> QuantizedTensor:
        """What a state of bitsandbytes' layers holds under `name`, sharing its memory.

        Raises:
            InvalidArgument: a key below `name` is missing, unknown, or does not hold what it should.
        """
        import numpy as np

        if name not in state:
            raise InvalidArgument(f"the state has no {name!r}")
        stored = describe(name, state[name])[1]
        if stored not in ("uint8", "int8"):  # bitsandbytes can store the bytes as another type
            raise InvalidArgument(f"{name} must be uint8, or int8; got {stored}: view its bytes as uint8")
        codes = np.from_dlpack(state[name])  # type: ignore[arg-type]
        if codes.dtype == np.int8:
            return cls._from_int8(state, name, codes)
        prefix = f"{name}."
        below = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
        packed = [key for key in below if key.startswith(_PACKED)]
        if len(packed) != 1:
            raise InvalidArgument(f"the state must have one {name}.{_PACKED}…; got {sorted(below)}")
        kind = packed[0].removeprefix(_PACKED)
        if kind not in ("nf4", "fp4"):
            raise InvalidArgument(f"{name}.{packed[0]}: kind must be nf4 or fp4; got {kind!r}")
        where = f"{name}.{packed[0]}"
        fields = _read_fields(where, np.from_dlpack(below.pop(packed[0])), kind)  # type: ignore[arg-type]
        twice = "nested_offset" in fields
        expected = {"absmax", "quant_map"} | (_NESTED_TENSORS if twice else set())
        if set(below) != expected:
            raise InvalidArgument(f"below {name} there must be {sorted(expected)}; got {sorted(below)}")
        size = math.prod(fields["shape"])
        scales = -(-size // fields["blocksize"])
        _check_size(name, codes, -(-size // 2))
        _check_size(f"{name}.absmax", below["absmax"], scales)
        _check_size(f"{name}.quant_map", below["quant_map"], 16)
        if twice:
            _check_size(f"{name}.nested_absmax", below["nested_absmax"], -(-scales // fields["nested_blocksize"]))
            _check_size(f"{name}.nested_quant_map", below["nested_quant_map"], 256)
        return cls(
            kind,
            codes=codes,
            absmax=below["absmax"],
            block=fields["blocksize"],
            levels=below["quant_map"],
            absmax_absmax=below.get("nested_absmax"),
            absmax_levels=below.get("nested_quant_map"),
            absmax_offset=np.array([fields["nested_offset"]], np.float32) if twice else None,
            absmax_block=fields.get("nested_blocksize", 0),
            shape=tuple(fields["shape"]),
            dtype=fields["dtype"],
        )

    @classmethod
    def _from_int8(cls, state: Mapping[str, TensorLike], name: str, codes: Any) -> QuantizedTensor:
        import numpy as np

        layer = _layer_of(name)
        if f"{layer}SCB" not in state:
            raise InvalidArgument(f"the state has no {layer}SCB: the scales of int8 codes")
        form = state.get(f"{layer}weight_format")
        if form is not None and int(np.from_dlpack(form)) != 0:  # type: ignore[arg-type]
            raise InvalidArgument(f"{layer}weight_format must be 0, row-major; got {form}")
        _check_size(f"{layer}SCB", state[f"{layer}SCB"], math.prod(codes.shape[:-1]))
        return cls("int8", codes=codes, absmax=state[f"{layer}SCB"], block=0, shape=codes.shape)

    def to_native(self, *, stream: int | None = None, writable: bool = False) -> Any:
        """The C struct; `stream` as for `borrow`."""

        def lend(argument: str, tensor: TensorLike | None, *, written: bool = False) -> Any:
            return None if tensor is None else borrow(argument, tensor, stream=stream, writable=written)

        return make(
            _capi.speft_weights,
            kind=code_of("kind", self.kind, WEIGHTS),
            data=lend("codes", self.codes, written=writable),
            quantization=make(
                _capi.speft_quantization,
                block=self.block,
                absmax=lend("absmax", self.absmax, written=writable),
                levels=lend("levels", self.levels),
                absmax_absmax=lend("absmax_absmax", self.absmax_absmax, written=writable),
                absmax_levels=lend("absmax_levels", self.absmax_levels),
                absmax_offset=lend("absmax_offset", self.absmax_offset, written=writable),
                absmax_block=self.absmax_block,
            ),
        )


def quantize(
    weights: TensorLike,
    kind: str = "nf4",
    *,
    block: int = 64,
    double_quant: bool = True,
    context: Context | None = None,
) -> QuantizedTensor:
    """Quantizes a weight in host memory. Needs NumPy. ::

        quantized = speft.quantize(weights)              # 4 bits a scalar, and 1/8 for the scales
        safetensors.numpy.save_file(quantized.state_dict(), "layer.safetensors")
        weights = quantized.dequantize()

    Codes and scales are bitsandbytes' own, bit for bit; with `double_quant` each scale gets the nearest of
    256 values. (On a CPU bitsandbytes rounds it to one of 65,536 equal steps first.)

    Args:
        weights: float32, bfloat16 or float16, all finite.
        kind: ``"nf4"`` or ``"fp4"`` (4 bits), or ``"int8"`` with a scale a row.
        block: scalars that share one scale: a power of 2 between 32 and 4,096. Not of int8.
        double_quant: whether the scales become 8 bits, in blocks of 256 of them. Not of int8.
        context: on the CPU; None for one of its own.
    """
    target = new_quantized(weights, kind, block=block, double_quant=double_quant)
    _context(context).quantize(weights, target)
    return target


def new_quantized(weights: TensorLike, kind: str, *, block: int, double_quant: bool) -> QuantizedTensor:
    """What `weights` can be quantized into, NumPy arrays: only tables are filled in."""
    import numpy as np

    shape, dtype = describe("weights", weights)
    code_of("kind", kind, WEIGHTS)
    if dtype not in SCALARS:
        raise InvalidArgument(f"weights must be {', '.join(SCALARS)}; got {dtype}")
    size = math.prod(shape)
    if kind == "int8":
        rows = math.prod(shape[:-1])
        return QuantizedTensor(
            kind, np.empty(shape, np.int8), np.empty(rows, np.float32), block=0, shape=shape, dtype=dtype
        )
    block = integer("block", block)
    if block < 1:
        raise InvalidArgument(f"block must be a power of 2 between 32 and 4096; got {block}")
    blocks = -(-size // block)
    codes = np.empty((-(-size // 2), 1), np.uint8)
    levels = _own_levels(kind)
    if not double_quant:
        absmax = np.empty(blocks, np.float32)
        return QuantizedTensor(kind, codes, absmax, block, levels, shape=shape, dtype=dtype)
    return QuantizedTensor(
        kind,
        codes,
        np.empty(blocks, np.uint8),
        block,
        levels,
        absmax_absmax=np.empty(-(-blocks // 256), np.float32),
        absmax_levels=_dynamic_levels(),
        absmax_offset=np.empty(1, np.float32),
        absmax_block=256,
        shape=shape,
        dtype=dtype,
    )


def _context(given: Context | None) -> Context:
    from ._context import Context

    return Context("cpu") if given is None else given


def _layer_of(name: str) -> str:
    if not name.endswith("weight"):
        raise InvalidArgument(f"the name of an int8 weight must end in 'weight'; got {name!r}")
    return name.removesuffix("weight")


def _read_fields(where: str, packed: Any, kind: str) -> dict[str, Any]:
    """The packed part of a state, checked."""
    try:
        fields = json.loads(packed.tobytes())
    except ValueError as error:
        raise InvalidArgument(f"{where} must hold JSON: {error}") from None
    if not isinstance(fields, dict) or set(fields) not in (_FIELDS, _FIELDS | _NESTED_FIELDS):
        raise InvalidArgument(f"{where} must have the fields {sorted(_FIELDS)}, and maybe "
                              f"{sorted(_NESTED_FIELDS)}; got {fields!r}")  # fmt: skip

    def check(field: str, holds: bool) -> None:
        if not holds:
            raise InvalidArgument(f"{where}: {field} cannot be {fields[field]!r}")

    check("quant_type", fields["quant_type"] == kind)
    check("blocksize", type(fields["blocksize"]) is int and fields["blocksize"] > 0)
    check("dtype", fields["dtype"] in SCALARS)
    shape = fields["shape"]
    check("shape", isinstance(shape, list) and all(type(extent) is int and extent >= 0 for extent in shape))
    if "nested_offset" in fields:
        check("nested_blocksize", type(fields["nested_blocksize"]) is int and fields["nested_blocksize"] > 0)
        check("nested_dtype", fields["nested_dtype"] == "float32")
        check("nested_offset", type(fields["nested_offset"]) in (int, float))
    return fields


def _check_size(name: str, tensor: TensorLike, expected: int) -> None:
    shape = describe(name, tensor)[0]
    if math.prod(shape) != expected:
        raise InvalidArgument(f"{name} must have {expected} elements; got shape {list(shape)}")


def _own_levels(kind: str) -> Any:
    """The table of a kind, dequantized from one block of all codes."""
    import numpy as np

    codes = np.arange(16, dtype=np.uint8)
    packed = codes[::2] << 4 | codes[1::2]
    return QuantizedTensor(kind, packed, np.ones(1, np.float32), shape=(16,)).dequantize()


def _dynamic_levels() -> Any:
    """The table of quantized scales: those of 256 blocks of 64 ones."""
    import numpy as np

    table = QuantizedTensor(
        "nf4",
        np.full(256 * 32, 0xFF, np.uint8),
        np.arange(256, dtype=np.uint8),
        absmax_absmax=np.ones(1, np.float32),
        absmax_offset=np.zeros(1, np.float32),
        absmax_block=256,
        shape=(256, 64),
    )
    return np.ascontiguousarray(table.dequantize()[:, 0])
