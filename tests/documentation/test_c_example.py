"""The C example against an installed libspeft: the whole demo, a few rows under sanitizers, unusable files."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from safetensors.numpy import load_file

REPOSITORY = Path(__file__).resolve().parents[2]
SANITIZED = "-O1 -g -Wall -Wextra -pedantic -Werror -fsanitize=address,undefined -fno-sanitize-recover=all"
SPARSE_SCALARS = 16384 * 64 + 64 * 32
HEAD_SCALARS = 32


@pytest.fixture(scope="session")
def program(prefix: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example, compiled with sanitizers: it ends with an error where it misuses memory or leaks it."""
    program = tmp_path_factory.mktemp("example") / "sentiment"
    folder = REPOSITORY / "examples" / "c" / "sentiment"
    command = ["make", "-s", "-C", folder, f"SPEFT={prefix}", f"PROGRAM={program}", f"CFLAGS={SANITIZED}"]
    compilation = subprocess.run(command, capture_output=True, text=True, check=False)
    assert compilation.returncode == 0, compilation.stderr
    return program


@pytest.fixture(scope="session")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 reviews that one word decides, among some without polarity."""
    path = tmp_path_factory.mktemp("rows") / "rows.txt"
    rated = [("2.5", "good"), ("-1.25", "bad"), ("0.1", "odd")]
    lines = [f"{n}\t{rating}\tThe {n}th film – was {word}." for n in range(30) for rating, word in rated]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def run_program(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*map(str, arguments)], capture_output=True, text=True, check=False)


def read_accuracies(output: str) -> dict[str, float]:
    """The printed rows: how a model was trained, and its share of right predictions in percent."""
    row = re.compile(r"^(\S.*?) {2,}([\d.]+)% ", re.MULTILINE)
    return {match[1]: float(match[2]) for match in row.finditer(output)}


def test_the_demo_adapts_to_movie_reviews(tmp_path: Path) -> None:
    environment = {**os.environ, "OUT": str(tmp_path)}
    script = REPOSITORY / "tools" / "demo-c.sh"
    run = subprocess.run([script], env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    accuracies = read_accuracies(run.stdout)
    before, after = accuracies["trained on product reviews"], accuracies["fine-tuned: 1% and the head"]
    # On 2,014 reviews a difference has a standard error of at most 1.6 points: four of them.
    assert after - before > 6.4
    tensors = load_file(tmp_path / "adapter.safetensors")
    assert tensors["deltas"].size == SPARSE_SCALARS // 100
    assert tensors["head.values"].shape == (HEAD_SCALARS, 1)


def test_a_few_rows_live_the_whole_life(program: Path, rows: Path, tmp_path: Path) -> None:
    run = run_program(program, rows, rows, tmp_path / "adapter.safetensors", 50)
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("50 product reviews, 40 movie reviews; accuracy on 10 more movie reviews:\n")
    assert read_accuracies(run.stdout)["fine-tuned: 1% and the head"] == 100
    assert f" {SPARSE_SCALARS // 100 + HEAD_SCALARS} weights trained" in run.stdout
    assert "every prediction is the same" in run.stdout
    assert "every weight has the bits it had before" in run.stdout


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read (No such file or directory)"),
        ("", "expected reviews with clear ratings, got none"),
        ("1\t0.2\tneither\n", "expected reviews with clear ratings, got none"),
        ("1\t2\tgood\n2\tbad\n", "line 2: expected id, tab, rating, tab, text"),
        ("1\ttwo\tgood\n", "line 1: expected id, tab, rating, tab, text"),
        ("1\t2\tgood\n" * 4, "expected at least 5 reviews, got 4"),
    ],
)
def test_unusable_reviews_get_one_line(
    program: Path, rows: Path, content: str | None, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "reviews.txt"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    assert_one_line(run_program(program, rows, path, tmp_path / "adapter.safetensors"), message)


def test_errors_of_libspeft_and_wrong_counts_get_one_line(program: Path, rows: Path, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere" / "adapter.safetensors"
    assert_one_line(run_program(program, rows, rows, nowhere), "libspeft: IO: cannot write")
    assert_one_line(run_program(program, rows, rows, nowhere, "few"), "expected a number of reviews")
    assert_one_line(run_program(program, rows), "usage: ")


def assert_one_line(run: subprocess.CompletedProcess[str], message: str) -> None:
    assert run.returncode == 1
    assert run.stderr.startswith("error: ")
    assert message in run.stderr
    assert run.stderr.count("\n") == 1
