"""The way into the generated layer: structs filled in, failures raised."""

from __future__ import annotations

import operator
from array import array
from collections.abc import Callable, Iterable
from typing import Any

from . import _capi
from ._errors import InvalidArgument, make_error


def call(function: Callable[..., list[Any]], *arguments: Any) -> Any:
    """Calls a fallible C function: raises its failure, or returns its result, a list of several."""
    failure, *results = function(*arguments)
    if failure is not None:
        raise make_error(*failure)
    return results[0] if len(results) == 1 else results or None


def make(struct: Callable[[], Any], **fields: Any) -> Any:
    """A C struct with these fields. It keeps alive what they point to."""
    made = struct()
    for name, value in fields.items():
        try:
            setattr(made, name, value)
        except OverflowError:
            raise InvalidArgument(f"{name} is out of range: {value!r}") from None
        except TypeError:
            raise TypeError(f"{name} cannot be {value!r}") from None
        if hasattr(value, "thisown"):
            value.thisown = True  # SWIG takes a struct that is pointed to for given away, and would never free it
    made.borrowed = fields
    return made


def code_of(argument: str, value: str, codes: dict[str, int]) -> int:
    """The C constant that a name stands for."""
    try:
        return codes[value]
    except (KeyError, TypeError):
        raise InvalidArgument(f"{argument} must be one of {', '.join(codes)}; got {value!r}") from None


def integer(argument: str, value: Any) -> int:
    """Any integer, NumPy's too; a float is refused."""
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{argument} must be an integer, got {value!r}") from None


def int64s(argument: str, values: Iterable[Any]) -> array[int]:
    """A C array of int64."""
    return array("q", [integer(argument, value) for value in values])


class Pointers:
    """A C array of pointers to structs, which it keeps alive; None is NULL."""

    def __init__(self, structs: Iterable[Any]):
        self.structs = tuple(structs)
        self.addresses = array("Q", [0 if struct is None else int(struct.this) for struct in self.structs])

    def __len__(self) -> int:
        return len(self.structs)


def progress_of(report: Callable[[int, int], object] | None) -> Any:
    """The C struct for a progress callback, or None."""
    if report is None:
        return None
    if not callable(report):
        raise TypeError(f"progress must be callable with (done, total), got {report!r}")
    return make(_capi.speft_progress, user=report, report=_capi.report_progress)
