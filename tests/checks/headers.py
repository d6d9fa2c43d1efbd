"""Check the public headers: each compiles alone, in C and C++; types have a width; comments tell of all.

    headers.py capi/include --cc cc --cxx c++
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

from declarations import FUNCTION, STRUCT, strip

FLAGS = ["-pedantic", "-Wall", "-Wextra", "-Werror", "-fsyntax-only"]
LANGUAGES = {"c": "c11", "c++": "c++17"}

INCLUDE = re.compile(r'^#include\s+([<"][^>"]+[>"])', re.MULTILINE)
STANDARD = {"<stdint.h>"}

LOOSE = re.compile(r"\b(bool|_Bool|short|int|long|unsigned|signed|size_t|ptrdiff_t|wchar_t|enum\s+\w+)\b")
"""Types whose width is a matter of the platform or the compiler."""

STRANGER = re.compile(r"\b(std\s*::|template|namespace|class|cuda\w*|CU\w+|cublas\w*|dnnl\w*|Py\w+|JNI\w*)")


FIXED = {"speft_tensor", "speft_device", "speft_dtype"}
"""Structs that are DLPack's, and never grow."""


def compile_alone(header: str, folder: Path, compilers: dict[str, str]) -> list[str]:
    """A program of this header, included twice, and one declaration: C knows no empty program."""
    program = f'#include "{header}"\n' * 2 + "extern int alone;\n"
    failures = []
    for language, standard in LANGUAGES.items():
        command = [compilers[language], f"-std={standard}", *FLAGS, f"-I{folder}", "-x", language, "-"]
        run = subprocess.run(command, input=program, capture_output=True, text=True)
        if run.returncode:
            failures.append(f"{header}: does not compile alone as {standard}:\n{run.stderr.strip()}")
    return failures


def find_untold(text: str) -> list[str]:
    """The functions and structs that no comment tells of, in their paragraph before them, or inside a struct.

    An `_init` is told in speft.h, once for all.
    """
    untold = []
    for found in [*FUNCTION.finditer(text), *STRUCT.finditer(text)]:
        is_function = found.re is FUNCTION
        name = found.group(2 if is_function else 1)
        paragraph = text[: found.start()].rsplit("\n\n", 1)[-1]
        told = "/*" in paragraph or (not is_function and "/*" in found.group())
        if not told and not name.endswith("_init"):
            untold.append(name)
    return untold


def check_shape(text: str) -> list[str]:
    """What binds every function: a status comes with an error at the end."""
    return [
        f"{name} returns a status, and its last parameter is not `speft_error **error`"
        for result, name, parameters in FUNCTION.findall(text)
        if result.strip() == "speft_status"
        and not parameters.rstrip().endswith("speft_error **error")
        and parameters != "const speft_error *error"
    ] + [
        f"struct {name} does not begin with `uint32_t struct_size`"
        for name, body in STRUCT.findall(text)
        if name not in FIXED and not body.lstrip().startswith("uint32_t struct_size;")
    ]


def check_text(header: str, text: str) -> list[str]:
    """What can be said without a compiler. `backend.h` has rules of its own: a version for all of it."""
    code = strip(text)
    failures = [
        f"includes {name}; public headers include each other and stdint.h"
        for name in INCLUDE.findall(text)
        if name not in STANDARD and not name.startswith('"')
    ]
    failures += [f"'{found}' has no fixed width" for found in LOOSE.findall(code)]
    failures += [f"'{found}' is no C of ours" for found in STRANGER.findall(code)]
    if header != "backend.h":
        failures += check_shape(code)
        failures += [f"no comment tells what {name} is" for name in find_untold(text) if name not in FIXED]
    return [f"{header}: {failure}" for failure in failures]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="the folder that has speft/*.h")
    parser.add_argument("--cc", default="cc")
    parser.add_argument("--cxx", default="c++")
    arguments = parser.parse_args()

    compilers = {"c": arguments.cc, "c++": arguments.cxx}
    headers = sorted(arguments.folder.glob("speft/*.h"))
    failures = [] if headers else [f"there is no header in {arguments.folder}/speft"]
    for path in headers:
        failures += check_text(path.name, path.read_text(encoding="utf-8"))
        failures += compile_alone(f"speft/{path.name}", arguments.folder, compilers)
    for failure in failures:
        print(failure, file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
