"""Where a file goes and where it comes from: a path, an open file, or bytes in memory."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

from . import _capi
from ._call import code_of, make, progress_of
from ._options import FORMATS, score_of

Progress: TypeAlias = Callable[[int, int], object]


class Writable(Protocol):
    """A binary file to write to: ``open(path, "wb")``, ``io.BytesIO()``, a socket's file."""

    def write(self, data: Any, /) -> int | None: ...


class Readable(Protocol):
    """A binary file to read from."""

    def read(self) -> bytes: ...


Path: TypeAlias = str | os.PathLike[str]
Target: TypeAlias = Path | Writable
Source: TypeAlias = Path | Readable | bytes | bytearray | memoryview


def save_options(target: Target, format: str, progress: Progress | None) -> tuple[Any, str | None]:
    """The options of a C function that saves, and its path."""
    options = {"format": code_of("format", format, FORMATS), "progress": progress_of(progress)}
    if isinstance(target, (str, os.PathLike)):
        return make(_capi.speft_save_options, **options), os.fsdecode(target)
    writer = make(_capi.speft_writer, user=_writer_to(target), write=_capi.write_bytes)
    return make(_capi.speft_save_options, writer=writer, **options), None


def load_options(
    source: Source, progress: Progress | None, score: Any = None
) -> tuple[Any, str | None]:
    """The options of a C function that loads, and its path. Bytes are a file's content, never its name."""
    options = {"progress": progress_of(progress), "score": score_of(score)}
    if isinstance(source, (str, os.PathLike)):
        return make(_capi.speft_load_options, **options), os.fsdecode(source)
    content = memoryview(source.read() if hasattr(source, "read") else source)
    return make(_capi.speft_load_options, bytes=content, size=content.nbytes, **options), None


def _writer_to(target: Writable) -> Callable[[bytes], None]:
    """Writes all of what it is given; unbuffered files may take less at a time."""
    if not hasattr(target, "write"):
        raise TypeError(f"a file is saved to a path or to an object with write(), got {target!r}")

    def write(piece: bytes) -> None:
        rest = memoryview(piece)
        while rest:
            written = target.write(rest)
            rest = rest[len(rest) if written is None else written :]

    return write
