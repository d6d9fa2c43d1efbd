"""Check that a built library needs nothing at run time but the C library's own parts.

    dependencies.py build/lib/libspeft.so build/lib/libspeft.a

A shared library names the libraries it needs. An archive does not: each symbol that it leaves undefined has to be in one
of this machine's own. GCC's unwinder is inside of either.
"""

from __future__ import annotations

import platform
import re
import subprocess
import sys

ALLOWED = re.compile(r"(libc|libm|libpthread|libdl|ld-linux[\w-]*)\.so\.\d+")
FROM_THE_LINK = {"__dso_handle", "_GLOBAL_OFFSET_TABLE_"}
"""What the linker or the C library's start files define in every program."""
LOADERS = {"x86_64": "ld-linux-x86-64.so.2", "aarch64": "ld-linux-aarch64.so.1"}
NEEDED = re.compile(r"\(NEEDED\)[^\[]*\[([^\]]+)\]")


def read_needed(library: str) -> list[str]:
    command = ["readelf", "--dynamic", "--wide", library]
    listing = subprocess.run(command, check=True, capture_output=True, text=True)
    return NEEDED.findall(listing.stdout)


def read_undefined(archive: str) -> set[str]:
    command = ["nm", "--undefined-only", "--format=posix", archive]
    listing = subprocess.run(command, check=True, capture_output=True, text=True)
    symbols = [line.split() for line in listing.stdout.splitlines()]
    return {words[0] for words in symbols if len(words) > 1}  # one word: a member's name


def read_provided() -> set[str]:
    """What the C library's own parts define, where the compiler finds them."""
    provided = set(FROM_THE_LINK)
    for name in ("libc.so.6", "libm.so.6", "libpthread.so.0", "libdl.so.2", LOADERS[platform.machine()]):
        command = ["cc", f"-print-file-name={name}"]
        path = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
        command = ["nm", "--dynamic", "--defined-only", "--format=posix", path]
        listing = subprocess.run(command, check=True, capture_output=True, text=True)
        provided |= {line.split()[0].split("@")[0] for line in listing.stdout.splitlines()}
    return provided


def check(library: str) -> list[str]:
    """One line for each thing that `library` needs and must not."""
    allowed = "allowed are libc, libm, libpthread, libdl and the dynamic linker"
    if library.endswith(".a"):
        foreign = sorted(read_undefined(library) - read_provided())
    else:
        foreign = [needed for needed in read_needed(library) if not ALLOWED.fullmatch(needed)]
    return [f"{library}: needs {name}; {allowed}" for name in foreign]


def main(libraries: list[str]) -> int:
    if not libraries:
        print("usage: dependencies.py LIBRARY...", file=sys.stderr)
        return 2
    failures = [failure for library in libraries for failure in check(library)]
    for failure in failures:
        print(failure, file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
