"""Compare what a compiled caller relies on with the recorded baseline: constants, structs, functions.

    layout.py --headers capi/include --compiler cc --baseline layout.txt [--write]

A C program prints each constant's value and each field's place, as the compiler sees them; types are compared
as they are written. `--write` records the baseline anew, in a commit that explains the change in CHANGELOG.md.
"""

from __future__ import annotations

import argparse
import difflib
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "checks"))
from declarations import Header, Struct, read_headers  # noqa: E402


def print_struct(struct: Struct) -> list[str]:
    """The statements that print one struct: its size, and where each field lies."""
    name = struct.name
    return [f'printf("struct {name} size %zu align %zu\\n", sizeof({name}), _Alignof({name}));'] + [
        f'printf("    %zu+%zu {field.declaration}\\n", '
        f"offsetof({name}, {field.name}), sizeof((({name} *)0)->{field.name}));"
        for field in struct.fields
    ]


def make_program(headers: list[Header]) -> str:
    """A C program that prints the baseline, header by header."""
    statements: list[str] = []
    for header in headers:
        printed = [f'printf("constant {name} %lld\\n", (long long){name});' for name in header.constants]
        for struct in header.structs:
            printed += print_struct(struct)
        printed += [f'printf("function {function}\\n");' for function in header.functions]
        if printed:
            statements += [f'printf("# {header.path.name}\\n");', *printed]
    includes = ["#include <stddef.h>", "#include <stdio.h>"]
    includes += [f'#include "speft/{header.path.name}"' for header in headers]
    return "\n".join([*includes, "int main(void) {", *statements, "return 0;", "}", ""])


def print_layout(folder: Path, compiler: str) -> str:
    """What the compiled program says of the headers in `folder`/speft."""
    with tempfile.TemporaryDirectory() as scratch:
        source, program = Path(scratch, "layout.c"), Path(scratch, "layout")
        source.write_text(make_program(read_headers(folder / "speft")), encoding="utf-8")
        subprocess.run([compiler, "-std=c11", f"-I{folder}", "-o", program, source], check=True)
        return subprocess.run([program], check=True, capture_output=True, text=True).stdout


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--headers", type=Path, required=True, help="the folder that has speft/*.h")
    parser.add_argument("--compiler", default="cc")
    parser.add_argument("--baseline", type=Path, required=True)
    parser.add_argument("--write", action="store_true", help="record the baseline anew")
    arguments = parser.parse_args()

    layout = print_layout(arguments.headers, arguments.compiler)
    if arguments.write:
        arguments.baseline.write_text(layout, encoding="utf-8")
        return 0
    recorded = arguments.baseline.read_text(encoding="utf-8")
    if layout == recorded:
        return 0
    before, after = recorded.splitlines(True), layout.splitlines(True)
    sys.stderr.writelines(difflib.unified_diff(before, after, "recorded", "the headers", n=1))
    print("The binary interface has changed: run layout.py with --write, and explain it in CHANGELOG.md",
          file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
