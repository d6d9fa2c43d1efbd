"""Check that a built library needs nothing at run time but the C library's own parts.

    dependencies.py build/lib/libspeft.so
"""

from __future__ import annotations

import re
import subprocess
import sys

ALLOWED = re.compile(r"(libc|libm|libpthread|libdl|ld-linux[\w-]*)\.so\.\d+")
NEEDED = re.compile(r"\(NEEDED\)[^\[]*\[([^\]]+)\]")


def read_needed(library: str) -> list[str]:
    command = ["readelf", "--dynamic", "--wide", library]
    listing = subprocess.run(command, check=True, capture_output=True, text=True)
    return NEEDED.findall(listing.stdout)


def main(libraries: list[str]) -> int:
    if not libraries:
        print("usage: dependencies.py LIBRARY...", file=sys.stderr)
        return 2
    failures = [
        f"{library}: needs {needed}; allowed are libc, libm, libpthread, libdl and the dynamic linker"
        for library in libraries
        for needed in read_needed(library)
        if not ALLOWED.fullmatch(needed)
    ]
    for failure in failures:
        print(failure, file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
