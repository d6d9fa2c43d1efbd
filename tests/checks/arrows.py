"""Check which way the folders look: every #include must follow an arrow of the design.

    bindings     -> the public headers
    capi/include -> itself
    capi/src     -> core, the public headers
    core/base    -> the public headers
    core         -> core, the public headers
    backends/x   -> core/base, the public headers, itself
    tests/capi   -> the public headers that users have (not backend.h)

Run it as `arrows.py ROOT`. Tests other than tests/capi may look anywhere.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

SOURCES = {".c", ".h", ".cc", ".cpp", ".hpp", ".cu", ".cuh", ".i", ".inc"}
INCLUDE = re.compile(r'^[ \t]*[#%][ \t]*(?:include|import)[ \t]*([<"])([^>"]+)[>"]', re.MULTILINE)

PUBLIC = "capi/include/speft"
LOOKING = ("bindings", "capi", "core", "backends", "tests/capi")
"""The folders that are read."""

FOREIGN = re.compile(r"(cuda|cublas|cu\w*blas|nccl|dnnl|oneapi|torch|Python|jni)")
"""Libraries that one folder alone may know: backends know devices, bindings know languages."""


def find_target(root: Path, source: Path, name: str) -> str | None:
    """The file that `name` means in `source`, relative to the root; None when there is none here."""
    for base in (source.parent, root / "capi/include", root):
        target = (base / name).resolve()
        if target.is_file() and target.is_relative_to(root):
            return target.relative_to(root).as_posix()
    return None


def allowed_targets(source: str) -> tuple[str, ...]:
    """The path prefixes that `source` may include."""
    parts = source.split("/")
    if source.startswith("capi/include/"):
        return ("capi/include/",)
    if source.startswith("capi/swig/"):
        return (f"{PUBLIC}/", "capi/swig/")
    if source.startswith("capi/"):
        return (f"{PUBLIC}/", "capi/src/", "core/")
    if source.startswith("core/base/"):
        return (f"{PUBLIC}/", "core/base/")
    if source.startswith("core/"):
        return (f"{PUBLIC}/", "core/")
    if source.startswith("backends/"):
        return (f"{PUBLIC}/", "core/base/", "/".join(parts[:2]) + "/")
    if source.startswith("bindings/"):
        return (f"{PUBLIC}/", "capi/swig/", "/".join(parts[:2]) + "/")
    return (f"{PUBLIC}/", "tests/capi/")


def may_be_foreign(source: str) -> bool:
    return source.startswith(("backends/", "bindings/"))


def check_file(root: Path, source: Path) -> list[str]:
    """One line for each include of `source` that follows no arrow."""
    name = source.relative_to(root).as_posix()
    failures: list[str] = []
    text = source.read_text(encoding="utf-8")
    for found in INCLUDE.finditer(text):
        bracket, wanted = found.groups()
        here = f"{name}:{text.count(chr(10), 0, found.start(2)) + 1}"
        target = find_target(root, source, wanted)
        if target is None:
            if bracket == '"' and not name.startswith("bindings/"):
                failures.append(f"{here}: '{wanted}' is no file of this repository; others go in <>")
            elif FOREIGN.match(wanted) and not may_be_foreign(name):
                failures.append(f"{here}: <{wanted}> belongs to a backend or a binding")
        elif not target.startswith(allowed_targets(name)):
            failures.append(f"{here}: must not look at {target}")
        elif target == f"{PUBLIC}/backend.h" and name.startswith(("tests/capi/", "bindings/")):
            failures.append(f"{here}: backend.h is for authors of backends")
    return failures


def check_tree(root: Path) -> list[str]:
    root = root.resolve()
    sources = [
        path
        for folder in LOOKING
        for path in sorted((root / folder).rglob("*"))
        if path.suffix in SOURCES and path.is_file()
    ]
    if not sources:
        return [f"{root}: there is no source to check"]
    return [failure for source in sources for failure in check_file(root, source)]


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print("usage: arrows.py ROOT", file=sys.stderr)
        return 2
    failures = check_tree(Path(arguments[0]))
    for failure in failures:
        print(failure, file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
