"""Where the CUDA backend lies: a package of its own has it, which this one finds and does not import."""

from __future__ import annotations

import os
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from . import _capi

_PACKAGE = "speft_cu13"
_DISTRIBUTION = "speft-cu13"
_LIBRARY = "libspeft_cuda.so"


def find_cuda_backend() -> tuple[str | None, str]:
    """The folder of the package's library; where there is none, what brings one.

    A library that libspeft finds by itself comes before the package: neither is told then.
    """
    listed = os.environ.get("SPEFT_BACKEND_PATH", "").split(":")
    own = [*filter(None, listed), os.path.dirname(__file__)]
    if any(Path(folder, _LIBRARY).exists() for folder in own):
        return None, ""
    spec = find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        return None, f"the package {_DISTRIBUTION} has it"
    ours, theirs = _capi.speft_version(), _installed_version()
    if theirs != ours:
        return None, f"{_DISTRIBUTION} is of version {theirs}, and speft {ours}: install the same of both"
    return next(iter(spec.submodule_search_locations)), ""


def _installed_version() -> str:
    try:
        return metadata.version(_DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return "unknown"
