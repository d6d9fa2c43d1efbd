"""The example program on a user's own files: a small model and a few rows, and files that cannot be used."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import pytest
import torch
from transformers import BertConfig, BertModel, BertTokenizerFast

PROGRAM = Path(__file__).resolve().parents[2] / "examples" / "python" / "sentiment" / "main.py"
WORDS = ["good", "bad", "odd", "film", "book", "play", "the", "was"]


def example(name: str) -> ModuleType:
    """A file of the program, whose files find each other in their own folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(PROGRAM.parent)
        return importlib.import_module(name)


def run_program(*options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, PROGRAM, *map(str, options)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of two narrow layers with random weights, and a tokenizer that knows the words above."""
    directory = tmp_path_factory.mktemp("checkpoint")
    (directory / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]))
    BertTokenizerFast(vocab=str(directory / "vocab.txt")).save_pretrained(directory)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=32, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32
    )
    BertModel(config).save_pretrained(directory)
    return directory


@pytest.fixture(scope="session")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """126 rows with three labels, one of them with a space and a sign outside of ASCII."""
    labels = {"good": "yes", "bad": "no", "odd": "not sure – odd"}
    things = ["film", "book", "play"] * 14
    lines = [f"{label}\tthe {thing} was {word}" for thing in things for word, label in labels.items()]
    path = tmp_path_factory.mktemp("rows") / "rows.tsv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_own_data_and_model_give_the_same_report(checkpoint: Path, rows: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "folder with space"
    run = run_program(
        "--data", rows, "--model", checkpoint, "--out", out, "--steps", 3, "--batch-size", 8,
        "--salience-batches", 2, "--density", 0.05, "--methods", "head-only", "gradient",
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert report["reload_identical"] is True
    assert report["unmerge_bit_exact"] is True
    assert report["seconds_total"] > 0
    head_only, gradient = report["methods"]
    head = 3 * 16 + 3
    targeted = 2 * (4 * 16 * 16 + 2 * 16 * 32)
    selected = targeted * 5 // 100
    assert (head_only["name"], head_only["trained"], head_only["density"]) == ("head-only", head, 0)
    assert (gradient["name"], gradient["trained"]) == ("gradient", selected + head)
    assert gradient["density"] == selected / targeted
    for method in report["methods"]:
        assert 0 <= method["accuracy"] <= 1
        assert method["loss"] > 0
        assert method["seconds_per_step"] > 0
        assert method["peak_rss_bytes"] > method["adapter_bytes"]
        assert method["adapter_bytes"] == (out / method["name"] / "adapter.safetensors").stat().st_size
        assert len(json.loads((out / method["name"] / "losses.json").read_text())) == 3
    assert "placement" not in head_only
    check_placement(gradient["placement"], selected, targeted)
    for picture in ("report.png", "placement.png"):
        assert (out / picture).read_bytes().startswith(b"\x89PNG")
    assert str(out / "report.html") in run.stdout
    check_page((out / "report.html").read_text(encoding="utf-8"), report)


def test_each_steps_entries_are_of_the_feed_forward_matrices(
    checkpoint: Path, rows: Path, tmp_path: Path
) -> None:
    run = run_program(
        "--data", rows, "--model", checkpoint, "--out", tmp_path, "--steps", 2, "--batch-size", 8,
        "--salience-batches", 2, "--methods", "sparsegrad",
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert report["reload_identical"] is True
    assert report["unmerge_bit_exact"] is True
    (sparsegrad,) = report["methods"]
    assert [matrix["scalars"] for matrix in sparsegrad["placement"]] == [16 * 32] * 4
    # 1% at each of two steps: the second may select what the first has selected.
    assert all(5 <= matrix["selected"] <= 10 for matrix in sparsegrad["placement"])


def test_every_method_has_words_and_a_rate() -> None:
    settings = example("settings")
    kinds = {name.removesuffix(settings.AT_LORA_BUDGET) for name in settings.ALL_METHODS}
    assert example("page").DESCRIPTIONS.keys() == kinds
    assert example("methods").LEARNING_RATES.keys() == kinds


def test_feed_forward_matrices_are_told_by_their_names() -> None:
    model = example("model").Classifier(Encoder(), labels=2)
    assert example("model").feed_forward_weights(model) == ["encoder.h.0.mlp.c_fc.weight"]
    del model.encoder.h[0]["mlp"]
    with pytest.raises(importlib.import_module("errors").InputError, match="Encoder has no feed-forward"):
        example("model").feed_forward_weights(model)


class Encoder(torch.nn.Module):
    """One block as GPT-2 names it."""

    def __init__(self) -> None:
        super().__init__()
        self.config = BertConfig(hidden_size=4)
        attention = torch.nn.ModuleDict({"c_attn": torch.nn.Linear(4, 12)})
        feed_forward = torch.nn.ModuleDict({"c_fc": torch.nn.Linear(4, 16)})
        self.h = torch.nn.ModuleList([torch.nn.ModuleDict({"attn": attention, "mlp": feed_forward})])


def check_placement(matrices: list[dict], selected: int, targeted: int) -> None:
    """Each matrix is there once, by layer and kind, with its own share."""
    kinds = ["attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"]
    kinds += ["intermediate.dense", "output.dense"]
    assert [(m["layer"], m["kind"]) for m in matrices] == [
        (layer, kind) for layer in (0, 1) for kind in kinds
    ]
    assert [m["scalars"] for m in matrices] == [256, 256, 256, 256, 512, 512] * 2
    assert sum(m["selected"] for m in matrices) == selected
    for m in matrices:
        assert m["relative_density"] == pytest.approx(m["selected"] / m["scalars"] * targeted / selected)


@pytest.mark.parametrize(
    ("names", "layers", "kinds"),
    [
        (["h.0.attn.c_attn.weight", "h.11.mlp.c_fc.weight"], [0, 11], ["attn.c_attn", "mlp.c_fc"]),
        (["x.layers.3.w1.weight", "x.layers.3.w2.weight"], [3, 3], ["w1", "w2"]),
        (["m.2.experts.0.up.weight", "m.2.experts.1.up.weight"], [2, 2], ["0.up", "1.up"]),
        (["in.weight", "out.weight"], [None, None], ["in", "out"]),
        (["layer.5.dense.weight"], [5], ["dense"]),
    ],
)
def test_layer_and_kind_come_from_any_names(names: list[str], layers: list, kinds: list[str]) -> None:
    found = example("placement").describe_placement(dict.fromkeys(names, (2, 3)), dict.fromkeys(names, 1))
    assert [(m["layer"], m["kind"]) for m in found] == list(zip(layers, kinds, strict=True))
    assert [m["relative_density"] for m in found] == [1] * len(names)


def test_a_picture_says_in_words_what_it_shows() -> None:
    placement = example("placement")
    shapes = {
        f"h.{layer}.attention.self.{kind}.weight": (10, 10) for layer in (0, 1) for kind in ("query", "key")
    }
    one = dict(zip(shapes, (0, 1, 2, 37), strict=True))
    assert (
        placement.say_what_is_seen(placement.describe_placement(shapes, one))
        == "most in key of layer 1: 3.7×"
    )
    even = dict(zip(shapes, (9, 10, 10, 11), strict=True))
    assert placement.say_what_is_seen(placement.describe_placement(shapes, even)) == "even: 0.90× to 1.10×"


def test_colours_lie_symmetrically_around_just_a_share() -> None:
    scale = example("density_scale")
    assert [scale.position(relative) for relative in (0, 1 / 8, 1, 8, 100)] == [-1, -1, 0, 1, 1]
    assert scale.position(2) == -scale.position(1 / 2)
    assert scale.shade(0) == scale.shade(1 / 8) != scale.shade(1) != scale.shade(8)


@pytest.mark.parametrize("domain", ["movies", "news", "products", "tweets"])
def test_every_domain_has_clear_texts_of_both_polarities(domain: str) -> None:
    rows = example("data").read_rated_texts(domain)
    counts = {label: sum(row[0] == label for row in rows) for label in ("positive", "negative")}
    assert sum(counts.values()) == len(rows) > 2900
    assert min(counts.values()) > 1000
    assert all(text.strip() for _, text in rows)


def test_a_domain_can_be_chosen_but_not_beside_own_data(rows: Path, tmp_path: Path) -> None:
    run = run_program("--data", rows, "--domain", "news", "--out", tmp_path)
    assert run.returncode == 2
    assert "not allowed with" in run.stderr
    run = run_program("--domain", "letters")
    assert run.returncode == 2
    assert "movies" in run.stderr and "tweets" in run.stderr


class Page(HTMLParser):
    """A page's elements with their attributes, and its text."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))

    def handle_data(self, data: str) -> None:
        self.text.append(data.strip())

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.elements)


def check_page(source: str, report: dict) -> None:
    """It shows every method, says what was run, and asks for nothing from elsewhere."""
    page = Page(source)
    sparse = [method for method in report["methods"] if "placement" in method]
    for method in report["methods"]:
        places = 2 + (method in sparse)  # in the table, over its losses, over where its weights lie
        assert page.text.count(method["name"]) == places
        assert f"{method['accuracy']:.1%}" in page.text
        assert f"{method['trained']:,}" in page.text
    assert page.count("svg") == len(report["methods"]) + len(sparse)
    assert page.count("rect") == sum(len(method["placement"]) for method in sparse)
    for matrix in sparse[0]["placement"]:
        assert any(f"{matrix['name']}: {matrix['selected']:,} of" in text for text in page.text)
    assert page.count("polyline") == len(report["methods"]) ** 2
    assert page.text.count("identical") == 2
    assert report["settings"]["data"] in page.text
    for name, number in report["environment"]["versions"].items():
        assert any(f"{name} {number}" in text for text in page.text)
    assert not {"script", "link", "img", "iframe", "object"} & {tag for tag, _ in page.elements}
    assert not any({"src", "href", "onload"} & attributes.keys() for _, attributes in page.elements)
    assert "url(" not in source
    assert "@import" not in source


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read (No such file or directory)"),
        (b"", "expected at least 100 rows, got 0"),
        (b"yes\tgood\n" * 99, "expected at least 100 rows, got 99"),
        (b"yes\tgood\n" * 100, "expected at least two different labels, got only 'yes'"),
        (b"yes\tgood\nno bad\n", "line 2: expected two columns (label, tab, text), got 1"),
        (b"yes\tgood\tvery\n", "line 1: expected two columns (label, tab, text), got 3"),
        (b"\tgood\n", "line 1: the label is empty"),
        (b"yes\t \n", "line 1: the text is empty"),
        (b"yes\tgood\nno\tb\xe9d\n", "expected UTF-8 text, but byte 13 is not"),
    ],
)
def test_unusable_rows_get_one_line(content: bytes | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.tsv"
    if content is not None:
        path.write_bytes(content)
    assert_one_line(run_program("--data", path, "--out", tmp_path / "out"), message)


def test_unusable_checkpoints_get_one_line(checkpoint: Path, rows: Path, tmp_path: Path) -> None:
    def refused(message: str) -> None:
        assert_one_line(run_program("--data", rows, "--model", model, "--out", tmp_path / "out"), message)

    model = tmp_path / "model"
    refused("found no directory")
    model.mkdir()
    refused("it has no config.json")
    (model / "config.json").write_bytes((checkpoint / "config.json").read_bytes())
    refused("the checkpoint has no weights")
    (model / "model.safetensors").write_bytes(b"not a safetensors file")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (model / name).write_bytes((checkpoint / name).read_bytes())
    refused("no model could be loaded")
    (model / "config.json").write_text("{")
    refused("no tokenizer could be loaded")


def test_an_output_directory_that_cannot_be_made_gets_one_line(rows: Path) -> None:
    run = run_program("--data", rows, "--out", rows / "below")
    assert_one_line(run, "cannot be written (Not a directory)")


def assert_one_line(run: subprocess.CompletedProcess[str], message: str) -> None:
    assert run.returncode == 2
    assert run.stderr.startswith("error: ")
    assert message in run.stderr
    assert run.stderr.count("\n") == 1
