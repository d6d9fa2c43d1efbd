"""The native module: XLA's handlers, registered, and the numbers by which they know adapters."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import jax

from .. import _capi
from .._errors import OutOfMemory, make_error

ADD_DELTA = "speft_jax_add_delta"
ADD_GRADIENT = "speft_jax_add_gradient"
MOVE_WEIGHTS = "speft_jax_move_weights"

_path = Path(__file__).with_name("libspeft_jax.so")
if not _path.exists():
    raise ImportError(
        "this package was built without speft.jax: XLA's headers, which come with jaxlib, were not there"
    )
_library = ctypes.CDLL(str(_path))
_library.speft_jax_open.argtypes = [ctypes.c_void_p]
_library.speft_jax_open.restype = ctypes.c_uint32
for _name in ("speft_jax_close", "speft_jax_begin", "speft_jax_end"):
    _function = getattr(_library, _name)
    _function.argtypes, _function.restype = [ctypes.c_uint32], None
_library.speft_jax_take_moves.argtypes = [ctypes.c_uint32, ctypes.POINTER(ctypes.c_int64), ctypes.c_int64]
_library.speft_jax_take_moves.restype = ctypes.c_int64
_library.speft_jax_set_basis.argtypes = [ctypes.c_uint32, ctypes.c_int64, ctypes.c_void_p]
_library.speft_jax_set_basis.restype = ctypes.c_int32
_library.speft_jax_take_arrival.argtypes = [ctypes.c_uint32, ctypes.c_int64]
_library.speft_jax_take_arrival.restype = ctypes.c_int32

for _name in (ADD_DELTA, ADD_GRADIENT, MOVE_WEIGHTS):
    jax.ffi.register_ffi_target(_name, jax.ffi.pycapsule(getattr(_library, _name)), platform="cpu")

_NO_MEMORY = "there is not enough memory on the host"

_pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
_pointer_of.argtypes, _pointer_of.restype = [ctypes.py_object, ctypes.c_char_p], ctypes.c_void_p


def open_host(handle: Any) -> int:
    """The number of an adapter, by its handle, which has to live until `close_host`."""
    number: int = _library.speft_jax_open(_pointer_of(handle, b"speft_adapter"))
    if number == 0:
        raise OutOfMemory(_NO_MEMORY)
    return number


def close_host(number: int) -> None:
    """Waits for what runs; programs that come later are refused."""
    _library.speft_jax_close(number)


@contextmanager
def turn(number: int) -> Iterator[None]:
    """Keeps programs that run from calling the adapter, until the block ends."""
    _library.speft_jax_begin(number)
    try:
        yield
    finally:
        _library.speft_jax_end(number)


def take_moves(number: int) -> list[tuple[int, ...]]:
    """(step, dropped, grown, settled, selected) of reselections that steps have made since the last call."""
    room = 0
    while True:
        moves = (ctypes.c_int64 * (5 * room))()
        count = _library.speft_jax_take_moves(number, moves, room)
        if count <= room:
            return [tuple(moves[5 * i : 5 * i + 5]) for i in range(count)]
        room = count


def set_basis(number: int, position: int, basis: Any) -> None:
    """Sends gradients of a parameter to a basis, by its handle, which has to live until None unsets it."""
    pointer = None if basis is None else _pointer_of(basis, b"speft_basis")
    if not _library.speft_jax_set_basis(number, position, pointer):
        raise OutOfMemory(_NO_MEMORY)


def take_arrival(number: int, position: int) -> bool:
    """Whether a gradient of a parameter has reached its basis since the last call."""
    return bool(_library.speft_jax_take_arrival(number, position))


def wait_for_programs() -> None:
    """Until all programs that this thread has started, and that call an adapter, have ended."""
    # The failure of one is told to whoever asks for its results.
    with suppress(jax.errors.JaxRuntimeError):
        jax.effects_barrier()


_FAILURE = re.compile(r"libspeft ([A-Z_]+)(?: \[(\w*) (-?\d+)\])?: ([^\n]*)")


@contextmanager
def speft_errors() -> Iterator[None]:
    """Makes a `speft.Error` of the failure of a compiled program, where libspeft has refused something in it.

    A program that fails tells so when its results are asked for, by ``jax.errors.JaxRuntimeError``, which has
    libspeft's message in its own; other errors pass through. ::

        with speft.jax.speft_errors():
            params = jax.block_until_ready(train_step(params, batch))
    """
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        found = _FAILURE.search(str(error))
        if found is None:
            raise
        status, backend, native_code, message = found.groups()
        code = getattr(_capi, f"SPEFT_{status}", -1)
        raise make_error(code, message, backend or "", int(native_code or 0)) from error
