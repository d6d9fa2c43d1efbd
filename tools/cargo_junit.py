"""Passes on what `cargo test` says, and writes it as a JUnit file: `cargo test 2>&1 | cargo_junit.py FILE`.

cargo's own JUnit output is not in its stable releases. Fails when no test has run, or one has failed.
"""

import re
import sys
import xml.etree.ElementTree as ElementTree

SUITE = re.compile(r"^\s+(?:Running (?:unittests )?(?P<file>\S+)|Doc-tests (?P<crate>\S+))")
TEST = re.compile(r"^test (?P<name>.+) \.\.\. (?P<outcome>ok|FAILED|ignored)")


def main(path: str) -> int:
    root = ElementTree.Element("testsuites")
    suite = None
    failed = False
    for line in sys.stdin:
        print(line, end="", flush=True)
        if found := SUITE.match(line):
            suite = ElementTree.SubElement(root, "testsuite", name=found["file"] or found["crate"])
        elif (found := TEST.match(line)) and suite is not None:
            case = ElementTree.SubElement(suite, "testcase", classname=suite.get("name"), name=found["name"])
            if found["outcome"] == "FAILED":
                failed = True
                ElementTree.SubElement(case, "failure", message="its panic is in the output of cargo test")
            elif found["outcome"] == "ignored":
                ElementTree.SubElement(case, "skipped")
    ElementTree.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)
    return 1 if failed or root.find(".//testcase") is None else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
