"""The marked examples of the READMEs run as they stand, Python in a fresh interpreter, C on an installed libspeft."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
README = REPOSITORY / "README.md"
READMES = [README, REPOSITORY / "bindings" / "python" / "README.md"]
MARKED = re.compile(
    r"^<!-- test: (?P<name>[\w-]+) -->\n```(?P<language>\w+)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL
)
TEXT = README.read_text(encoding="utf-8")


def find_examples(language: str) -> dict[str, str]:
    texts = [path.read_text(encoding="utf-8") for path in READMES]
    found = [match for text in texts for match in MARKED.finditer(text) if match["language"] == language]
    return {match["name"]: match["code"] for match in found}


# That of JAX runs with the tests of speft.jax, where JAX is.
PYTHON_EXAMPLES = {name: code for name, code in find_examples("python").items() if name != "jax-example"}
C_EXAMPLE = find_examples("c")["c-example"]


def test_the_first_examples_are_there_and_short() -> None:
    assert all(len(PYTHON_EXAMPLES[name].splitlines()) <= 16 for name in ("python-example", "numpy-example"))
    assert len(C_EXAMPLE.splitlines()) <= 25


@pytest.mark.parametrize("name", PYTHON_EXAMPLES)
def test_python_example_runs(name: str, tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", "-c", PYTHON_EXAMPLES[name]]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


def test_c_example_prints_what_the_readme_says(prefix: Path, tmp_path: Path) -> None:
    source = tmp_path / "example.c"
    source.write_text(C_EXAMPLE, encoding="utf-8")
    library = prefix / "lib"
    strict = ["-std=c11", "-Wall", "-Wextra", "-pedantic", "-Werror"]
    where = [f"-I{prefix / 'include'}", f"-L{library}", f"-Wl,-rpath,{library}"]
    command = ["cc", *strict, *where, source, "-lspeft", "-o", tmp_path / "example"]
    compilation = subprocess.run(command, capture_output=True, text=True, check=False)
    assert compilation.returncode == 0, compilation.stderr
    run = subprocess.run([tmp_path / "example"], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout.split()) == (0, ["0.50", "-0.25"])
    assert "It prints `0.50 -0.25`." in TEXT
