"""Where adapters live: a device, its stream, its threads; and which backends there are."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from . import _capi
from ._call import call, code_of, integer, make
from ._errors import InvalidState, Unavailable
from ._options import LOG_LEVELS, linear_options, name_of
from ._plugins import find_cuda_backend
from ._quantization import QuantizedTensor
from ._tensor import TensorLike, borrow


@dataclass(frozen=True)
class Backend:
    """A backend that this release knows of.

    Attributes:
        name: ``"cpu"``, ``"cuda"``.
        available: whether a context can be made on it.
        version: its version, or ``""`` when it could not be loaded.
        reason: why it is not available, or ``""``.
    """

    name: str
    available: bool
    version: str
    reason: str


def backends() -> list[Backend]:
    """All backends that this release knows of, and why those that are not available are not."""
    folder, remedy = find_cuda_backend()
    found = []
    for index in range(_capi.speft_count_backends()):
        info = make(_capi.speft_backend_info, backend_path=folder)
        call(_capi.speft_describe_backend, index, info)
        reason = info.reason
        if info.name == "cuda" and reason and remedy:
            reason = f"{reason}; {remedy}"
        found.append(Backend(info.name, bool(info.available), info.version, reason))
    return found


def operations() -> list[str]:
    """The operations that backends implement; see `Context.implementations`."""
    names: list[str] = []
    while (name := _capi.speft_get_operation_name(len(names))) is not None:
        names.append(name)
    return names


def has_openmp() -> bool:
    """Whether an OpenMP runtime is loaded for all of this process, as PyTorch loads its own."""
    return bool(_capi.has_openmp())


class Allocator(Protocol):
    """Device memory of the host's own, for a `Context`. Both are called during calls into the context."""

    def allocate(self, bytes: int, alignment: int, stream: int) -> int | None:
        """The address of new memory, for use on this stream (0: the default one); None where there is none.

        What it raises comes out of the call that needed the memory.
        """

    def deallocate(self, address: int, bytes: int, stream: int) -> None:
        """Takes memory back whose last use is enqueued on this stream."""


class Context:
    """One device, one stream, its threads. Adapters live in one, and keep it alive.

    A context and its adapters may be used from any thread, one call at a time; a call that meets another
    raises `Busy` and does nothing. Different contexts run side by side.

    Args:
        backend: ``"cpu"``, ``"cuda"``, or ``"auto"`` for the best one on this machine.
        threads: CPU threads; 0 for as many as the process may run on. Results do not depend on it.
        device: which device of the backend, from 0.
        stream: the address of a CUDA stream, or None for the default one; None on the CPU. Or a function that
            returns the one that is current in the host's framework, where calls then enqueue their work:
            ``lambda: torch.cuda.current_stream().cuda_stream``.
        allocator: gives the device memory for all that the library keeps; None: its own. See `Allocator`.
        log: called with (level, message), from any thread; levels are ``"debug"``, ``"info"`` and
            ``"warning"``.
        log_level: the least level that `log` gets.
        backend_path: a folder to look for backends in first.
        openmp: whether CPU work runs on the OpenMP threads of this process, PyTorch's say, instead of threads
            of the library's own: at most `threads` of them, and at most as many as OpenMP's own setting,
            ``torch.set_num_threads``, allows at the time.

    Raises:
        Unavailable: no such backend can run here; the message says why. Or `openmp`, and no OpenMP runtime is
            loaded for all of the process, as PyTorch loads it.
    """

    def __init__(
        self,
        backend: str = "auto",
        *,
        threads: int = 0,
        device: int = 0,
        stream: int | Callable[[], int | None] | None = None,
        allocator: Allocator | None = None,
        log: Callable[[str, str], object] | None = None,
        log_level: str = "info",
        backend_path: str | None = None,
        openmp: bool = False,
    ):
        self._current_stream = stream if callable(stream) else None
        self._stream = (stream() or None) if callable(stream) else stream
        remedy = ""
        if backend != "cpu" and backend_path is None:
            backend_path, remedy = find_cuda_backend()
        callbacks = {
            "logger": None if log is None else _make_logger(log, log_level),
            "allocator": None if allocator is None else _make_allocator(allocator),
        }
        options = make(
            _capi.speft_context_options,
            backend=backend,
            threads=integer("threads", threads),
            device=integer("device", device),
            stream=self._stream,
            parallel_for=_openmp_loop(threads) if openmp else None,
            backend_path=backend_path,
            **callbacks,
        )
        try:
            self._owned: Any = call(_capi.speft_create_context, options)
        except Unavailable as error:
            if backend != "cuda" or not remedy:
                raise
            raise Unavailable(f"{error}; {remedy}", backend=error.backend) from None
        for callback in callbacks.values():
            if callback is not None:
                _capi.keep_reference(callback.borrowed["user"])  # until the library calls drop_reference
        self._kept: Any = self._owned
        self._on_cuda = self.backend == "cuda"

    @property
    def handle(self) -> Any:
        """The C handle, for this package's own use. Raises `InvalidState` after `close`."""
        if self._owned is None:
            raise InvalidState("the context has been closed")
        self.follow()
        return self._owned

    def follow(self) -> None:
        """Goes over to the host's current stream, where it told how to find it. For this package's own use."""
        if self._current_stream is None:
            return
        stream = self._current_stream() or None
        if stream != self._stream:
            call(_capi.speft_set_stream, self._kept, stream)
            self._stream = stream

    @property
    def dlpack_stream(self) -> int | None:
        """The stream that producers of tensors make wait for them, as DLPack counts; None on the CPU."""
        if not self._on_cuda:
            return None
        if self._current_stream is not None:  # the producer's own
            return -1
        return self._stream or 1  # the default one

    def precede(self, stream: int | None) -> None:
        """Makes a stream, as DLPack counts, wait for all that was enqueued here. For this package's own use."""
        if not self._on_cuda or stream == -1:
            return
        consumer = None if stream in (None, 0, 1) else stream
        if consumer != self._stream:
            call(_capi.speft_set_stream, self._kept, consumer)
            call(_capi.speft_set_stream, self._kept, self._stream)

    @property
    def backend(self) -> str:
        """The name of the backend that runs here."""
        name: str = _capi.speft_get_context_backend(self.handle)
        return name

    def synchronize(self) -> None:
        """Waits until all that was enqueued has run. At once on the CPU."""
        call(_capi.speft_synchronize, self.handle)

    def set_stream(self, stream: int | None) -> None:
        """From now on work is enqueued on the CUDA stream at this address. The CPU accepts only None.

        The one before must still exist. Where the host told how to find its current stream, that holds again
        from the next call on.
        """
        call(_capi.speft_set_stream, self.handle, stream)
        self._stream = stream or None

    def implementations(self, operation: str) -> list[str]:
        """The implementations of one of `operations`. The first that accepts a case runs it."""
        names: list[str] = []
        while (name := self._implementation_name(operation, len(names))) is not None:
            names.append(name)
        return names

    def implementation(self, operation: str) -> str | None:
        """The implementation that ran `operation` last in this context, or None."""
        name: str | None = call(_capi.speft_get_implementation, self.handle, operation)
        return name

    def set_implementation(self, operation: str, name: str | None) -> None:
        """Runs `operation` with this implementation only, or `Unsupported`; None: chooses again."""
        call(_capi.speft_set_implementation, self.handle, operation, name)

    def quantize(self, weights: TensorLike, into: QuantizedTensor) -> None:
        """Writes codes and scales of `weights` into the caller's tensors, but for levels, which are read.

        `speft.quantize` makes the tensors too, of weights in host memory.
        """
        view = borrow("weights", weights, stream=self.dlpack_stream)
        native = into.to_native(stream=self.dlpack_stream, writable=True)
        call(_capi.speft_quantize, self.handle, view, native)

    def dequantize(self, quantized: QuantizedTensor, out: TensorLike) -> None:
        """Writes quantized weights into `out`: float32, bfloat16 or float16, of the weight's shape."""
        view = borrow("out", out, stream=self.dlpack_stream, writable=True)
        call(_capi.speft_dequantize, self.handle, quantized.to_native(stream=self.dlpack_stream), view)

    def quantized_forward(
        self,
        quantized: QuantizedTensor,
        x: TensorLike,
        out: TensorLike,
        *,
        layout: str = "out_in",
        accumulate: bool = False,
    ) -> None:
        """out = x Wᵀ, of which no dense W is made. A layer that an adapter trains: `Adapter.linear_forward`.

        Args:
            quantized: W.
            x, out: [tokens, in] and [tokens, out], float32, bfloat16 or float16.
            layout: of W: ``"out_in"`` or ``"in_out"``.
            accumulate: added to what `out` holds.

        Raises:
            InvalidArgument: shapes or types do not fit.
        """
        self._multiply(_capi.speft_quantized_forward, quantized, layout, accumulate, {"x": x}, out)

    def quantized_backward(
        self,
        quantized: QuantizedTensor,
        dy: TensorLike,
        out: TensorLike,
        *,
        layout: str = "out_in",
        accumulate: bool = False,
    ) -> None:
        """out = dy W: dy [tokens, out], out [tokens, in]; otherwise as `quantized_forward`."""
        self._multiply(_capi.speft_quantized_backward, quantized, layout, accumulate, {"dy": dy}, out)

    def close(self) -> None:
        """Lets go of the context; its adapters keep what they need. Twice is fine."""
        self._owned = None
        if not self._on_cuda:  # where they go on to follow the host from stream to stream
            self._kept = None

    def __enter__(self) -> Context:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return "speft.Context(closed)" if self._owned is None else f"speft.Context(backend={self.backend!r})"

    def _multiply(
        self,
        function: Callable[..., Any],
        quantized: QuantizedTensor,
        layout: str,
        accumulate: bool,
        given: dict[str, TensorLike],
        out: TensorLike,
    ) -> None:
        options = linear_options(layout, accumulate)
        stream = self.dlpack_stream
        views = [borrow(name, tensor, stream=stream) for name, tensor in given.items()]
        views.append(borrow("out", out, stream=stream, writable=True))
        call(function, self.handle, quantized.to_native(stream=stream), options, *views)

    def _implementation_name(self, operation: str, index: int) -> str | None:
        name: str | None = call(_capi.speft_get_implementation_name, self.handle, operation, index)
        return name


def _openmp_loop(threads: int) -> Any:
    if not has_openmp():
        raise Unavailable("openmp needs an OpenMP runtime that is loaded for all of the process; there is none")
    return make(
        _capi.speft_parallel_for,
        threads=threads or len(os.sched_getaffinity(0)),
        run=_capi.run_on_openmp,
    )


def _make_logger(log: Callable[[str, str], object], level: str) -> Any:
    def write(code: int, message: str) -> None:
        log(name_of(code, LOG_LEVELS), message)

    return make(
        _capi.speft_logger,
        level=code_of("log_level", level, LOG_LEVELS),
        user=write,
        log=_capi.write_log,
        release=_capi.drop_reference,
    )


def _make_allocator(allocator: Allocator) -> Any:
    return make(
        _capi.speft_allocator,
        user=allocator,
        allocate=_capi.allocate_memory,
        deallocate=_capi.deallocate_memory,
        release=_capi.drop_reference,
    )
