"""The generated layer, which only this package uses: SWIG gives it no types."""

from typing import Any

def __getattr__(name: str) -> Any: ...
