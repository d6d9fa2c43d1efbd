"""Arrays in a backend's own memory, by its table (speft/backend.h): what a host with a GPU brings to the library."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import numpy as np
from speft import _capi

_POINTER, _STATUS = ctypes.c_void_p, ctypes.c_int32
_TO_DEVICE, _TO_HOST = 0, 1


class _Options(ctypes.Structure):
    _fields_ = [
        ("struct_size", ctypes.c_uint32),
        ("device", ctypes.c_int32),
        ("threads", ctypes.c_int32),
        ("stream", _POINTER),
        ("parallel_for", _POINTER),
    ]


class _Failure(ctypes.Structure):
    _fields_ = [("native_code", ctypes.c_int64), ("message", ctypes.c_char * 512)]


class _Table(ctypes.Structure):
    _fields_ = [
        ("struct_size", ctypes.c_uint32),
        ("abi_version", ctypes.c_uint32),
        ("name", ctypes.c_char_p),
        ("version", ctypes.c_char_p),
        ("device_type", ctypes.c_int32),
        ("reserved", ctypes.c_int32),
        ("score", ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.POINTER(ctypes.c_char_p))),
        ("create_device", ctypes.CFUNCTYPE(_STATUS, _POINTER, _POINTER, _POINTER)),
        ("destroy_device", ctypes.CFUNCTYPE(None, _POINTER)),
        ("set_stream", ctypes.CFUNCTYPE(_STATUS, _POINTER, _POINTER, _POINTER)),
        ("synchronize", ctypes.CFUNCTYPE(_STATUS, _POINTER, _POINTER)),
        ("allocate", ctypes.CFUNCTYPE(_POINTER, _POINTER, ctypes.c_uint64)),
        ("deallocate", ctypes.CFUNCTYPE(None, _POINTER, _POINTER, ctypes.c_uint64)),
        (
            "copy",
            ctypes.CFUNCTYPE(_STATUS, _POINTER, _POINTER, _POINTER, ctypes.c_uint64, ctypes.c_int32, _POINTER),
        ),
    ]


class Memory:
    """That of device 0 of a plug-in."""

    def __init__(self, plugin: Path, abi_version: int):
        self._library = ctypes.CDLL(str(plugin))
        enter = self._library.speft_backend_main
        enter.restype = ctypes.POINTER(_Table)
        self.table = enter(ctypes.c_uint32(abi_version)).contents
        self._device, options = _POINTER(), _Options(struct_size=ctypes.sizeof(_Options))
        self._check(self.table.create_device, ctypes.byref(options), ctypes.byref(self._device))

    def _check(self, function: Any, *arguments: Any) -> None:
        failure = _Failure()
        if function(*arguments, ctypes.byref(failure)):
            raise RuntimeError(failure.message.decode())

    def place(self, array: np.ndarray) -> DeviceArray:
        """A copy of it on the device."""
        return DeviceArray(self, np.ascontiguousarray(array))

    def copy(self, target: int, source: int, size: int, direction: int) -> None:
        self._check(self.table.copy, self._device, target, source, size, direction)

    def allocate(self, size: int) -> int:
        address: int | None = self.table.allocate(self._device, size)
        if address is None:
            raise MemoryError(size)
        return address

    def deallocate(self, address: int, size: int) -> None:
        self.table.deallocate(self._device, address, size)


class DeviceArray:
    """An array that the host cannot look into; the library takes it as any tensor with ``__dlpack__``."""

    def __init__(self, memory: Memory, array: np.ndarray):
        self._memory, self._dtype, self._shape, self._size = memory, array.dtype, array.shape, array.nbytes
        self._address = memory.allocate(array.nbytes)
        memory.copy(self._address, array.ctypes.data, array.nbytes, _TO_DEVICE)

    def __del__(self) -> None:
        if hasattr(self, "_address"):
            self._memory.deallocate(self._address, self._size)

    def host(self) -> np.ndarray:
        """A copy of it in host memory."""
        array = np.empty(self._shape, self._dtype)
        self._memory.copy(array.ctypes.data, self._address, self._size, _TO_HOST)
        return array

    def __dlpack__(self, **_: Any) -> Any:
        bytes_there = (ctypes.c_uint8 * self._size).from_address(self._address)
        capsule = np.frombuffer(bytes_there, self._dtype).reshape(self._shape).__dlpack__(max_version=(1, 0))
        _capi.view_tensor(capsule).device.type = self._memory.table.device_type
        return capsule

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._memory.table.device_type, 0
