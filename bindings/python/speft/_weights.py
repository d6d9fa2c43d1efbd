"""Base weights as they lie in the host's memory: dense, or quantized."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from . import _capi
from ._call import code_of, make
from ._options import WEIGHTS
from ._tensor import TensorLike, borrow


@dataclass(frozen=True)
class Quantized:
    """A quantized base weight in bitsandbytes' layout. Every use of one is `Unsupported` in this version.

    Attributes:
        kind: ``"nf4"``, ``"fp4"`` or ``"int8"``.
        codes: uint8 or int8.
        absmax: float32 [ceil(N / block)], or uint8 when the scales are quantized themselves.
        block: scalars that share one scale.
        levels: float32, the value of each code; None for the kind's own table.
        absmax_absmax, absmax_levels, absmax_block, absmax_offset: the second quantization, when there is one.
    """

    kind: str
    codes: TensorLike
    absmax: TensorLike
    block: int = 64
    levels: TensorLike | None = None
    absmax_absmax: TensorLike | None = None
    absmax_levels: TensorLike | None = None
    absmax_block: int = 0
    absmax_offset: float = 0.0

    def to_native(self, *, writable: bool = False) -> Any:
        """The C struct."""

        def optional(argument: str, tensor: TensorLike | None) -> Any:
            return None if tensor is None else borrow(argument, tensor)

        return make(
            _capi.speft_weights,
            kind=code_of("kind", self.kind, WEIGHTS),
            data=borrow("codes", self.codes, writable=writable),
            quantization=make(
                _capi.speft_quantization,
                block=self.block,
                absmax=borrow("absmax", self.absmax, writable=writable),
                levels=optional("levels", self.levels),
                absmax_absmax=optional("absmax_absmax", self.absmax_absmax),
                absmax_levels=optional("absmax_levels", self.absmax_levels),
                absmax_block=self.absmax_block,
                absmax_offset=self.absmax_offset,
            ),
        )
