"""Sums up the JUnit files of one run of the tests: 'N passed, N failed, N skipped'. Fails when a test has."""

import sys
import xml.etree.ElementTree
from pathlib import Path


def count(path: Path) -> tuple[int, int, int]:
    """Passed, failed and skipped test cases of one file (CTest's or pytest's)."""
    cases = list(xml.etree.ElementTree.parse(path).iter("testcase"))
    failed = sum(case.find("failure") is not None or case.find("error") is not None for case in cases)
    skipped = sum(case.find("skipped") is not None for case in cases)
    return len(cases) - failed - skipped, failed, skipped


def main(folder: str) -> int:
    passed, failed, skipped = (sum(column) for column in zip(*map(count, sorted(Path(folder).glob("*.xml")))))
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
