"""Check that no file of the repository names a package registry's address or a place on one machine.

    names.py ROOT

Packages are asked for by name through their ordinary clients, and paths are relative to the repository.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

FORBIDDEN = {
    "a registry's address": re.compile(
        r"\bpypi\.org|pythonhosted\.org|crates\.io/|repo1?\.maven(?:\.apache)?\.org|proxy\.golang\.org"
        r"|registry\.npmjs\.org|deb\.debian\.org"
    ),
    "a place on one machine": re.compile(
        r"(?<![\w.}])/(?:home|root|Users|work|tmp/venv)/\w|\b[A-Z]:\\+Users\b"
    ),
}


def list_files(root: Path) -> list[Path]:
    """What git tracks, and what it would: new files are checked before they are committed."""
    listing = subprocess.run(
        ["git", "-C", root, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        check=True,
        capture_output=True,
    )
    names = listing.stdout.decode("utf-8").split("\0")
    return [root / name for name in names if name and (root / name).is_file()]


def check_text(name: str, text: str) -> list[str]:
    """One line for each forbidden name in `text`."""
    return [
        f"{name}:{number}: {what}: {found.group()}"
        for number, line in enumerate(text.splitlines(), 1)
        for what, pattern in FORBIDDEN.items()
        for found in pattern.finditer(line)
    ]


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print("usage: names.py ROOT", file=sys.stderr)
        return 2
    root = Path(arguments[0]).resolve()
    files = list_files(root)
    failures = [] if files else [f"{root}: git knows no file here"]
    for path in files:
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # a picture, say
        failures += check_text(path.relative_to(root).as_posix(), text)
    for failure in failures:
        print(failure, file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
