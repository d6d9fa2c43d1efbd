"""Which functions of the C API a language's tests have not called: see README.md.

Run it as `called.py NAME FOLDER EXPORTS RESULTS`: what the tests are called, the folder that `libcalls.so` wrote into,
the list of the C API's functions, and the JUnit file to write. Fails when one is missing.
"""

from __future__ import annotations

import sys
import xml.etree.ElementTree as xml
from pathlib import Path

UNREACHABLE = {"speft_destroy_basis", "speft_fit_basis", "speft_get_basis", "speft_observe_basis"}
"""They take a basis, and as long as creating one is UNSUPPORTED there is none: tests/capi/unsupported.c sees to that."""


def main(name: str, folder: str, exports: str, results: str) -> int:
    called = {line for path in Path(folder).iterdir() for line in path.read_text().split()}
    missing = sorted(set(Path(exports).read_text().split()) - called - UNREACHABLE)
    suite = xml.Element("testsuite", name="calls", tests="1", failures=str(int(bool(missing))))
    case = xml.SubElement(suite, "testcase", classname=name, name="every_function_of_the_c_api_is_called")
    if missing:
        message = f"the tests of {name} never call {', '.join(missing)}"
        xml.SubElement(case, "failure", message=message)
        print(message, file=sys.stderr)
    xml.ElementTree(suite).write(results)
    return bool(missing)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
