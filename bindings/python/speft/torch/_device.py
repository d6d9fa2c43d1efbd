"""The library's contexts on PyTorch's devices: on its streams, in its memory."""

from __future__ import annotations

import sys
from collections.abc import Callable

import torch

from .._context import Context, has_openmp
from .._errors import InvalidArgument

# The library's backends, by PyTorch's names of device types.
_BACKENDS = {"cpu": "cpu", "cuda": "cuda"}


def make_context(device: torch.device, backend: str = "auto", threads: int = 0) -> Context:
    """A context on a device of PyTorch's.

    On a GPU its calls work on the stream that is current there when they come, in memory of PyTorch's own pool.
    """
    if device.type not in _BACKENDS:
        raise InvalidArgument(f"the model must be on one of {', '.join(_BACKENDS)}; it is on {device}")
    name = _BACKENDS[device.type]
    if backend in _BACKENDS.values() and backend != name:
        raise InvalidArgument(f"backend must be {name!r} or 'auto' for a model on {device}; got {backend!r}")
    if backend not in ("auto", name):
        return Context(backend)  # which says what there is
    if device.type == "cuda":
        index = torch.cuda.current_device() if device.index is None else device.index
        return Context(name, device=index, stream=_stream_of(index), allocator=PooledMemory(index))
    # PyTorch's workers spin between its loops: threads of another pool would wait for a core.
    return Context(name, threads=threads, openmp=threads == 0 and has_openmp())


class PooledMemory:
    """GPU memory from PyTorch's caching allocator: one pool for the host and the library."""

    def __init__(self, index: int):
        self._index = index
        self._held: dict[int, torch.Tensor] = {}

    def allocate(self, bytes: int, alignment: int, stream: int) -> int:
        """Memory of the pool of a stream."""
        with torch.cuda.stream(self._named(stream)):
            memory = torch.empty(bytes, dtype=torch.uint8, device=f"cuda:{self._index}")
        address = memory.data_ptr()
        self._held[address] = memory
        return address

    def deallocate(self, address: int, bytes: int, stream: int) -> None:
        """Gives it back: to be used again once the stream has come this far, on whatever stream it was made."""
        if sys.is_finalizing():  # it goes with the process
            return
        self._held.pop(address).record_stream(self._named(stream))

    def _named(self, stream: int) -> torch.cuda.Stream:
        if stream == 0:
            return torch.cuda.default_stream(self._index)
        return torch.cuda.ExternalStream(stream, device=self._index)


def _stream_of(index: int) -> Callable[[], int]:
    def current() -> int:
        address: int = torch.cuda.current_stream(index).cuda_stream
        return address

    return current
