"""Check that every public function is called by the C tests, and name those that are not.

    callers.py capi/include/speft tests/capi
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from declarations import COMMENT, read_headers


def find_uncalled(functions: list[str], programs: str) -> list[str]:
    """The functions whose name is in no code of `programs`: neither called, nor passed to be called."""
    words = set(re.findall(r"\w+", COMMENT.sub("", programs)))
    return [name for name in functions if name not in words]


def main(arguments: list[str]) -> int:
    if len(arguments) != 2:
        print("usage: callers.py HEADERS TESTS", file=sys.stderr)
        return 2
    headers, tests = map(Path, arguments)
    functions = [function.name for header in read_headers(headers) for function in header.functions]
    programs = "\n".join(path.read_text(encoding="utf-8") for path in sorted(tests.glob("*.[ch]")))
    uncalled = find_uncalled(functions, programs)
    for name in uncalled:
        print(f"{name}: no program in {tests} calls it", file=sys.stderr)
    return 1 if uncalled else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
