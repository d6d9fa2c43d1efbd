"""What can go wrong: one exception class for each status of the C library."""

from __future__ import annotations

from . import _capi


class Error(Exception):
    """A call of libspeft that failed; nothing was changed by it.

    Attributes:
        status: the C library's status, an ``int`` that is never renumbered.
        backend: the backend in which it happened, ``"cpu"`` say, or ``""`` above the backends.
        native_code: the ``errno``, ``cudaError_t`` or the like behind it, or 0.
    """

    status: int = -1
    backend: str = ""
    native_code: int = 0

    def __init__(self, message: str, *, status: int | None = None, backend: str = "", native_code: int = 0):
        super().__init__(message)
        if status is not None:
            self.status = status
        self.backend = backend
        self.native_code = native_code

    @property
    def status_name(self) -> str:
        """The status as the C header calls it: ``"INVALID_ARGUMENT"``, say."""
        return _capi.speft_get_status_name(self.status)


class InvalidArgument(Error, ValueError):
    """An argument has a wrong value, shape, type or device: the message has what was expected, what came."""

    status = _capi.SPEFT_INVALID_ARGUMENT


class OutOfMemory(Error, MemoryError):
    """There is not enough memory on the host or on the device."""

    status = _capi.SPEFT_OUT_OF_MEMORY


class Unsupported(Error, NotImplementedError):
    """The request is well formed, but this version or this backend has no code for it."""

    status = _capi.SPEFT_UNSUPPORTED


class Unavailable(Error):
    """A backend, device or driver is not there; the message has every attempt and its reason."""

    status = _capi.SPEFT_UNAVAILABLE


class InvalidState(Error, RuntimeError):
    """The call comes at the wrong time: a step before the selection, or anything after ``close()``."""

    status = _capi.SPEFT_INVALID_STATE


class Busy(Error, RuntimeError):
    """Another call runs on the same context, or this one comes from inside a callback. Nothing was done."""

    status = _capi.SPEFT_BUSY


class IOFailure(Error, OSError):
    """The operating system refused a read or a write; ``errno`` says why."""

    status = _capi.SPEFT_IO

    def __init__(self, message: str, *, status: int | None = None, backend: str = "", native_code: int = 0):
        super().__init__(message, status=status, backend=backend, native_code=native_code)
        self.errno = native_code


class Corrupt(Error, ValueError):
    """A file is damaged or is not what it says."""

    status = _capi.SPEFT_CORRUPT


class DeviceFailure(Error, RuntimeError):
    """The device failed; the context can no longer be used."""

    status = _capi.SPEFT_DEVICE


class Cancelled(Error):
    """A progress callback asked to stop."""

    status = _capi.SPEFT_CANCELLED


class Internal(Error, RuntimeError):
    """A defect of libspeft. Please report the message."""

    status = _capi.SPEFT_INTERNAL


_BY_STATUS: dict[int, type[Error]] = {kind.status: kind for kind in Error.__subclasses__()}


def make_error(status: int, message: str, backend: str, native_code: int) -> Error:
    """The exception for a failed call. A status that a later version has added is a plain `Error`."""
    kind = _BY_STATUS.get(status, Error)
    return kind(message, status=status, backend=backend, native_code=native_code)
