"""Where adapters live: a device, its stream, its threads; and which backends there are."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from . import _capi
from ._call import call, code_of, integer, make
from ._errors import InvalidState, Unavailable
from ._options import LOG_LEVELS, linear_options, name_of
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
    found = []
    for index in range(_capi.speft_count_backends()):
        info = make(_capi.speft_backend_info)
        call(_capi.speft_describe_backend, index, info)
        found.append(Backend(info.name, bool(info.available), info.version, info.reason))
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


class Context:
    """One device, one stream, its threads. Adapters live in one, and keep it alive.

    A context and its adapters may be used from any thread, one call at a time; a call that meets another
    raises `Busy` and does nothing. Different contexts run side by side.

    Args:
        backend: ``"cpu"``, ``"cuda"``, or ``"auto"`` for the best one on this machine.
        threads: CPU threads; 0 for as many as the process may run on. Results do not depend on it.
        device: which device of the backend, from 0.
        stream: the address of a CUDA stream, or None for the default one; None on the CPU.
        log: called with (level, message), from any thread; levels are ``"debug"``, ``"info"`` and
            ``"warning"``.
        log_level: the least level that `log` gets.
        backend_path: a folder to look for backends in first.
        openmp: whether CPU work runs on the OpenMP threads of this process, PyTorch's say, instead of threads
            of the library's own: at most `threads` of them, and at most as many as OpenMP's own setting,
            ``torch.set_num_threads``, allows at the time.

    Raises:
        Unavailable: no such backend can run here; the message has every attempt and its reason. Or `openmp`,
            and no OpenMP runtime is loaded for all of the process, as PyTorch loads it.
    """

    def __init__(
        self,
        backend: str = "auto",
        *,
        threads: int = 0,
        device: int = 0,
        stream: int | None = None,
        log: Callable[[str, str], object] | None = None,
        log_level: str = "info",
        backend_path: str | None = None,
        openmp: bool = False,
    ):
        logger = None if log is None else _make_logger(log, log_level)
        options = make(
            _capi.speft_context_options,
            backend=backend,
            threads=integer("threads", threads),
            device=integer("device", device),
            stream=stream,
            logger=logger,
            parallel_for=_openmp_loop(threads) if openmp else None,
            backend_path=backend_path,
        )
        self._owned: Any = call(_capi.speft_create_context, options)
        if logger is not None:
            _capi.keep_reference(logger.borrowed["user"])  # until the library calls drop_reference

    @property
    def handle(self) -> Any:
        """The C handle, for this package's own use. Raises `InvalidState` after `close`."""
        if self._owned is None:
            raise InvalidState("the context has been closed")
        return self._owned

    @property
    def backend(self) -> str:
        """The name of the backend that runs here."""
        name: str = _capi.speft_get_context_backend(self.handle)
        return name

    def synchronize(self) -> None:
        """Waits until all that was enqueued has run. At once on the CPU."""
        call(_capi.speft_synchronize, self.handle)

    def set_stream(self, stream: int | None) -> None:
        """From now on work is enqueued on the CUDA stream at this address. The CPU accepts only None."""
        call(_capi.speft_set_stream, self.handle, stream)

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
        call(_capi.speft_quantize, self.handle, borrow("weights", weights), into.to_native(writable=True))

    def dequantize(self, quantized: QuantizedTensor, out: TensorLike) -> None:
        """Writes quantized weights into `out`: float32, bfloat16 or float16, of the weight's shape."""
        call(_capi.speft_dequantize, self.handle, quantized.to_native(), borrow("out", out, writable=True))

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
        views = [borrow(name, tensor) for name, tensor in given.items()] + [borrow("out", out, writable=True)]
        call(function, self.handle, quantized.to_native(), options, *views)

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
