"""Tensors that cross the boundary without a copy: the host's coming in, the library's going out.

Whatever has ``__dlpack__`` comes in: NumPy, PyTorch, JAX, CuPy. What goes out has it too.
"""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Protocol

from . import _capi
from ._call import int64s, make
from ._errors import InvalidArgument

if TYPE_CHECKING:
    from ._context import Context

READ_ONLY = 1
COPIED = 2

# DLPack's code and width of the element types: of parameters and gradients, and of indices.
SCALARS: dict[str, tuple[int, int]] = {
    "float32": (_capi.SPEFT_CODE_FLOAT, 32),
    "bfloat16": (_capi.SPEFT_CODE_BFLOAT, 16),
    "float16": (_capi.SPEFT_CODE_FLOAT, 16),
}
DTYPES = {**SCALARS, "int64": (_capi.SPEFT_CODE_INT, 64)}


class TensorLike(Protocol):
    """Anything that lends its memory by DLPack: ``numpy.ndarray``, ``torch.Tensor``, a JAX or CuPy array, ...

    Row-major contiguous, or it is refused. NumPy has no bfloat16: see `bfloat16`.
    """

    def __dlpack__(self) -> Any: ...

    def __dlpack_device__(self) -> tuple[int, int]: ...


class bfloat16:
    """A ``uint16`` array whose elements are the bits of bfloat16 numbers.

    ``adapter.bind_weights("w", speft.bfloat16(bits))`` shares the array's memory.
    """

    def __init__(self, bits: TensorLike):
        dtype = describe("bits", bits)[1]
        if dtype != "uint16":
            raise InvalidArgument(f"bits must be uint16, got {dtype}")
        self.bits = bits

    def __dlpack__(self, **options: Any) -> Any:
        capsule = self.bits.__dlpack__(**options)
        _capi.view_tensor(capsule).dtype.code = _capi.SPEFT_CODE_BFLOAT
        return capsule

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.bits.__dlpack_device__()


class Tensor:
    """Memory of the library, lent: ``numpy.from_dlpack`` and ``torch.from_dlpack`` share it, without a copy.

    It stays valid as long as any such array lives, whatever becomes of the adapter it came from.

    Attributes:
        shape: a tuple of ints.
        dtype: ``"float32"``, ``"bfloat16"`` or ``"int64"``.
        read_only: whether consumers are told not to write to it.
    """

    def __init__(
        self, view: Any, owner: object, *, context: Context | None = None, read_only: bool = False
    ):
        self._view = view
        self._owner = owner
        self._context = context  # whose work on the memory a consumer has to wait for
        self.shape: tuple[int, ...] = view.shape
        self.dtype = dtype_name(view.dtype)
        self.read_only = read_only

    def __dlpack__(
        self,
        *,
        stream: Any = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        versioned = max_version is not None and max_version[0] >= 1
        if self.read_only and not versioned:
            raise BufferError("this tensor is read-only, which only DLPack 1.0 and later can say")
        if copy:
            raise BufferError("this tensor is lent, not copied: copy it on the side of the consumer")
        if dl_device is not None and tuple(map(int, dl_device)) != self.__dlpack_device__():
            raise BufferError(
                f"this tensor lies on device {self.__dlpack_device__()}, not {tuple(dl_device)}"
            )
        if self._context is not None:
            self._context.precede(stream)
        return _capi.lend_tensor(self._view, self._owner, self.read_only, versioned)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._view.device.type, self._view.device.id

    @property
    def bits(self) -> TensorLike:
        """The same memory as uint16, for consumers without bfloat16: ``numpy.from_dlpack(deltas.bits)``.

        Raises:
            InvalidArgument: for elements that are not of 16 bits.
        """
        if self._view.dtype.bits != 16:
            raise InvalidArgument(f"bits are those of 16-bit elements; this tensor is {self.dtype}")
        return _Bits(self)

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        return f"speft.Tensor(shape={self.shape}, dtype={self.dtype!r}, read_only={self.read_only})"


class _Bits:
    """A lent tensor with another element type of the same size."""

    def __init__(self, lender: Tensor):
        self.lender = lender

    def __dlpack__(self, **options: Any) -> Any:
        capsule = self.lender.__dlpack__(**options)
        _capi.view_tensor(capsule).dtype.code = _capi.SPEFT_CODE_UINT
        return capsule

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.lender.__dlpack_device__()


def borrow(
    argument: str, tensor: TensorLike, *, stream: int | None = None, writable: bool = False
) -> Any:
    """The DLPack capsule of a tensor: a view on its memory, valid as long as the capsule is kept.

    `stream` is `Context.dlpack_stream` of whoever is to use it.
    """
    capsule = _export(argument, tensor, stream)
    if writable:
        _require_writable(argument, tensor, capsule)
    return capsule


def describe(argument: str, tensor: TensorLike) -> tuple[tuple[int, ...], str]:
    """Shape and element type of a tensor."""
    capsule = _export(argument, tensor, -1)
    view = _capi.view_tensor(capsule)
    return view.shape, dtype_name(view.dtype)


def lent(capsule: Any) -> Tensor:
    """The memory that a DLPack capsule of the library's stands for, which nobody is to consume."""
    return Tensor(
        _capi.view_tensor(capsule), capsule, read_only=bool(_capi.get_tensor_flags(capsule) & READ_ONLY)
    )


def new_indices(count: int) -> Tensor:
    """A tensor of `count` zeros, int64, in host memory."""
    memory, shape = bytearray(8 * count), int64s("count", [count])
    view = make(_capi.speft_tensor, data=memory, shape=shape, ndim=1)
    view.device.type = _capi.SPEFT_DEVICE_CPU
    set_dtype(view.dtype, "int64")
    return Tensor(view, view)


def set_dtype(dtype: Any, name: str) -> None:
    """Fills in a C `speft_dtype`."""
    dtype.code, dtype.bits = DTYPES[name]
    dtype.lanes = 1


def dtype_name(dtype: Any) -> str:
    """The name of a C `speft_dtype`."""
    for name, code in DTYPES.items():
        if code == (dtype.code, dtype.bits):
            return name
    kinds = {_capi.SPEFT_CODE_INT: "int", _capi.SPEFT_CODE_UINT: "uint", _capi.SPEFT_CODE_FLOAT: "float"}
    return f"{kinds.get(dtype.code, f'DLPack code {dtype.code}, ')}{dtype.bits}"


def _export(argument: str, tensor: TensorLike, stream: int | None) -> Any:
    export = getattr(tensor, "__dlpack__", None)
    if export is None:
        raise TypeError(
            f"{argument} must be a tensor with __dlpack__ (NumPy, PyTorch, JAX, ...), got {type(tensor)}"
        )
    options = {}
    current: AbstractContextManager[Any] = nullcontext()
    if stream is not None:
        kind, index = tensor.__dlpack_device__()
        if kind == _capi.SPEFT_DEVICE_CUDA:
            options["stream"] = stream
            current = _on_device(tensor, index)
    with current:
        try:
            return export(max_version=(1, 0), **options)
        except TypeError:  # a producer older than DLPack 1.0
            return export(**options)


def _on_device(tensor: TensorLike, index: int) -> AbstractContextManager[Any]:
    """PyTorch lends memory of its current GPU alone."""
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(tensor, torch.Tensor):
        return nullcontext()
    device: AbstractContextManager[Any] = torch.cuda.device(index)
    return device


def _require_writable(argument: str, tensor: TensorLike, capsule: Any) -> None:
    flags = _capi.get_tensor_flags(capsule)
    if flags < 0:
        # NumPy refuses to lend a read-only array without a version, and PyTorch has none; others do not tell.
        source = tensor.bits if isinstance(tensor, bfloat16) else tensor
        if type(source).__module__.partition(".")[0] not in ("numpy", "torch"):
            raise InvalidArgument(
                f"{argument} must be writable; {type(source).__name__} does not tell whether it is "
                "(its DLPack is older than 1.0)"
            )
    elif flags & READ_ONLY:
        raise InvalidArgument(f"{argument} must be writable, got a read-only {type(tensor).__name__}")
    elif flags & COPIED:
        raise InvalidArgument(f"{argument} must lend its own memory, got a copy from {type(tensor).__name__}")
