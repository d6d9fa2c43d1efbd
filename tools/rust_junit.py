"""Turns what `cargo test` printed into a JUnit file: `rust_junit.py LOG RESULTS`, which tools/summary.py adds up.

The log is that of `cargo test -- --show-output`. A test that prints a line `skipped: why` is a skipped one.
"""

from __future__ import annotations

import re
import sys
import xml.etree.ElementTree as xml
from pathlib import Path

PROGRAM = re.compile(r"^\s+(?:Running (?:unittests )?(\S+)|Doc-tests (\S+))")
RESULT = re.compile(r"^test (.+?)(?: - should panic| - compile(?: fail)?)? \.\.\. (ok|FAILED|ignored)")
OUTPUT = re.compile(r"^---- (.+) stdout ----$")
SKIPPED = re.compile(r"^skipped: (.+)$", re.MULTILINE)
END = re.compile(r"^(successes|failures):$|^test result: ")


def main(log: str, results: str) -> int:
    suite = xml.Element("testsuite", name="rust")
    program, cases, outputs, output = "", {}, {}, None
    for line in Path(log).read_text(errors="replace").splitlines():
        if match := PROGRAM.match(line):
            program, output = match[1] or f"{match[2]} documentation", None
        elif match := RESULT.match(line):
            cases[program, match[1]] = match[2]
        elif match := OUTPUT.match(line):
            output = outputs.setdefault((program, match[1]), [])
        elif END.match(line):
            output = None
        elif output is not None:
            output.append(line)
    for (program, name), answer in cases.items():
        case = xml.SubElement(suite, "testcase", classname=program, name=name)
        printed = "\n".join(outputs.get((program, name), []))
        skipped = SKIPPED.search(printed)
        if answer == "FAILED":
            xml.SubElement(case, "failure", message=f"{name} failed").text = printed
        elif answer == "ignored" or skipped:
            xml.SubElement(case, "skipped", message=skipped[1] if skipped else "ignored")
    suite.set("tests", str(len(cases)))
    xml.ElementTree(suite).write(results)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
