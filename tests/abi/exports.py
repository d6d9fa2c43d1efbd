"""Compare the symbols that a built library exports with a recorded list, and the list with the headers.

    exports.py build/lib/libspeft.so --expected exports.txt --headers capi/include/speft
    exports.py build/lib/libspeft_cpu.so --only speft_backend_main

Of an archive it is the symbols that another object can be linked to.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "checks"))
from declarations import read_headers  # noqa: E402


def read_symbols(library: Path) -> set[str]:
    """What the linker can find in `library`: the dynamic one, or of an archive the static one."""
    which = "--extern-only" if library.suffix == ".a" else "--dynamic"
    command = ["nm", which, "--defined-only", "--format=posix", library]
    listing = subprocess.run(command, check=True, capture_output=True, text=True)
    symbols = [line.split() for line in listing.stdout.splitlines()]
    return {words[0].split("@")[0] for words in symbols if len(words) > 1}  # one word: a member's name


def compare(actual: set[str], expected: set[str], here: str, there: str) -> list[str]:
    """One line for each name that only one side has."""
    return [f"{name}: in {here}, not in {there}" for name in sorted(actual - expected)] + [
        f"{name}: in {there}, not in {here}" for name in sorted(expected - actual)
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("library", type=Path)
    parser.add_argument("--expected", type=Path, help="a file with one symbol a line, sorted")
    parser.add_argument("--headers", type=Path, help="the folder whose SPEFT_API functions the list must be")
    parser.add_argument("--only", action="append", default=[], help="a symbol, in place of a file")
    arguments = parser.parse_args()

    lines = arguments.expected.read_text(encoding="utf-8").split() if arguments.expected else arguments.only
    expected = set(lines)
    library = arguments.library
    differences = compare(read_symbols(library), expected, library.name, "the recorded list")
    if lines != sorted(lines):
        differences.append(f"{arguments.expected}: not sorted")
    if arguments.headers:
        headers = read_headers(arguments.headers)
        declared = {function.name for header in headers for function in header.functions}
        differences += compare(declared, expected, "the headers", "the recorded list")
    for difference in differences:
        print(difference, file=sys.stderr)
    if differences:
        print("What is exported has changed: record it, and explain it in CHANGELOG.md", file=sys.stderr)
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
