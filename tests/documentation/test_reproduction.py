"""The reproduction of the papers' claims: a tiny run of it, its judgements, and what it keeps."""

from __future__ import annotations

import dataclasses
import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from transformers import BertConfig, BertModel, BertTokenizerFast

PROGRAM = Path(__file__).resolve().parents[2] / "examples" / "python" / "reproduction" / "reproduce.py"
PAGE = "By hand.\n<!-- results: begin -->\nearlier results\n<!-- results: end -->\nBelow.\n"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of two narrow layers with random weights, and a tokenizer that knows a few words."""
    directory = tmp_path_factory.mktemp("checkpoint")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "film", "the", "was"]
    (directory / "vocab.txt").write_text("\n".join(words))
    BertTokenizerFast(vocab=str(directory / "vocab.txt")).save_pretrained(directory)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=32, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32
    )
    BertModel(config).save_pretrained(directory)
    return directory


def run_program(checkpoint: Path, out: Path, *options: object) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable, PROGRAM, "--model", checkpoint, "--out", out, "--domains", "tweets", "--seeds", 1,
        "--layers", 1, "--steps", 3, "--batch-size", 4, "--estimation-batches", 2, "--evaluated-rows", 40,
        "--processes", 1, *options,
    ]  # fmt: skip
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)


def test_a_tiny_run_is_reported_and_not_run_again(checkpoint: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    options = ("--approaches", "random", "lora", "sparsegrad", "--studies", "--document", page)
    run = run_program(checkpoint, tmp_path, *options)
    assert run.returncode == 0, run.stderr
    report = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    head = 2 * 16 + 2
    equal = 2 * (4 * (16 + 16) + 2 * (16 + 32))  # of LoRA's two ranks on the six matrices of one layer
    # Of SparseGrad's 3 steps each selects 1% of the two feed-forward matrices, rounded; some may be the same.
    grown = report["trained"].pop("sparsegrad") - head
    assert round(0.01 * 16 * 32) * 2 <= grown <= 3 * round(0.01 * 16 * 32) * 2
    assert report["trained"] == {"random": equal + head, "lora": equal + head}
    assert [run["approach"] for run in report["accuracies"]] == ["random", "lora", "sparsegrad"]
    assert all(0 <= run["accuracy"] <= 1 for run in report["accuracies"])
    assert {name: len(grid["validation_accuracies"]) for name, grid in report["learning_rates"].items()} == {
        "random": 4,
        "lora": 4,
        "sparsegrad": 4,
    }
    assert {claim["verdict"] for claim in report["claims"]} == {"cannot be told"}  # one pair has no noise
    assert report["failures"] == []
    assert report["settings"]["steps"] == 3
    assert "torch" in report["environment"]["versions"]
    written = page.read_text(encoding="utf-8")
    assert written.startswith("By hand.\n<!-- results: begin -->") and written.endswith("\nBelow.\n")
    assert (tmp_path / "results.md").read_text(encoding="utf-8") in written
    assert "earlier results" not in written

    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").iterdir()}
    assert len(kept) == 3 * 4 + 3
    again = run_program(checkpoint, tmp_path, *options)
    assert again.returncode == 0, again.stderr
    assert "0 runs, 12 kept from before" in again.stdout
    assert "0 runs, 3 kept from before" in again.stdout
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").iterdir()} == kept
    assert json.loads((tmp_path / "results.json").read_text())["accuracies"] == report["accuracies"]


def reproduction(name: str) -> ModuleType:
    """A file of the program, whose files find each other in their own folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(PROGRAM.parent)
        return importlib.import_module(name)


def compared(**accuracies: list[float]) -> object:
    """A comparison of these methods on two domains, with as many seeds as half of their accuracies."""
    cells = {}
    for name, values in accuracies.items():
        for place, value in enumerate(values):
            cells[name.replace("_", "-"), ("movies", "news")[place % 2], place // 2] = value
    return reproduction("comparison").Comparison(cells, {})


def verdict_of(claim: str, comparison: object) -> tuple[str, str]:
    (found,) = [j for j in reproduction("claims").judge(comparison) if j.claim == claim]
    return found.verdict, found.because


@pytest.mark.parametrize(
    ("lora", "verdict"),
    [
        ([0.80, 0.70, 0.81, 0.71], "holds"),
        ([0.90, 0.80, 0.90, 0.80], "does not hold"),
        ([0.90, 0.60, 0.85, 0.65], "cannot be told"),
    ],
)
def test_close_is_within_the_margin_beyond_the_noise(lora: list[float], verdict: str) -> None:
    comparison = compared(random=[0.80, 0.70, 0.80, 0.70], lora=lora)
    assert verdict_of("random masks come close to LoRA", comparison)[0] == verdict


@pytest.mark.parametrize(
    ("dynamic", "verdict"),
    [
        ([0.70, 0.60, 0.69, 0.59], "holds"),
        ([0.802, 0.702, 0.804, 0.704], "does not hold"),
        ([0.90, 0.60, 0.85, 0.65], "cannot be told"),
    ],
)
def test_as_good_is_not_worse_beyond_the_noise(dynamic: list[float], verdict: str) -> None:
    comparison = compared(gradient=[0.80, 0.70, 0.80, 0.70], dynamic_gradient=dynamic)
    assert verdict_of("a static mask is as good as a dynamic one", comparison)[0] == verdict


def test_sparsegrad_is_compared_with_lora_and_with_meprop() -> None:
    comparison = compared(
        sparsegrad=[0.80, 0.70, 0.80, 0.70], lora=[0.81, 0.71, 0.81, 0.70], meprop=[0.78, 0.68, 0.78, 0.69]
    )
    assert verdict_of("SparseGrad is as good as LoRA", comparison)[0] == "does not hold"
    assert verdict_of("SparseGrad beats MeProp, by its basis", comparison)[0] == "holds"


def test_the_entries_of_a_step_are_shown_with_what_they_grew_to() -> None:
    trial, tables = reproduction("trial"), reproduction("tables")
    one = trial.Trial(trial.Scale(), "movies", "sparsegrad", 0, 1e-2)
    table = tables.entries_table({one: {"accuracy": 0.75, "density": 0.112}})
    assert "| sparsegrad | – | **75.0%** (in the end 11.2%) | – |" in table


def test_best_and_worst_are_judged_against_the_nearest_rival() -> None:
    others = ("snip", "force", "taylor_fo", "fisher", "synflow", "grasp")
    saliences = {name: [0.70, 0.60, 0.71, 0.61] for name in others}
    saliences |= {"gradient": [0.80, 0.70, 0.80, 0.70], "magnitude": [0.65, 0.61, 0.66, 0.62]}
    comparison = compared(**saliences)
    assert verdict_of("gradient is the best static salience", comparison)[0] == "holds"
    verdict, because = verdict_of("magnitude is often the worst static salience", comparison)
    assert verdict == "cannot be told"
    assert "on 1 of 2 domains" in because
    comparison = compared(**saliences | {"fisher": [0.90, 0.80, 0.90, 0.81]})
    verdict, because = verdict_of("gradient is the best static salience", comparison)
    assert verdict == "does not hold"
    assert because.startswith("gradient − fisher")


def test_a_claim_whose_methods_did_not_run_cannot_be_told() -> None:
    verdict, because = verdict_of("random masks come close to LoRA", compared(random=[0.8, 0.7]))
    assert (verdict, because) == ("cannot be told", "not run: lora")


def test_noise_is_two_paired_standard_errors() -> None:
    difference = compared(random=[0.5, 0.6, 0.7, 0.8], lora=[0.4, 0.6, 0.6, 0.8]).difference("random", "lora")
    assert difference.pairs == 4
    assert difference.mean == pytest.approx(0.05)
    # The differences are 0.1, 0, 0.1, 0: a deviation of 0.1/√3, over √4 pairs, twice.
    assert difference.noise == pytest.approx(0.1 / 3**0.5)


def test_deviations_are_over_seeds() -> None:
    comparison = compared(random=[0.5, 0.9, 0.7, 0.9])
    assert comparison.mean("random") == pytest.approx(0.75)
    assert comparison.deviation("random", "movies") == pytest.approx(0.2 / 2**0.5)
    assert comparison.deviation("random") == pytest.approx(0.1 / 2**0.5)  # of the averages 0.7 and 0.8


def test_another_setting_has_another_file(tmp_path: Path) -> None:
    trial = reproduction("trial")
    one = trial.Trial(trial.Scale(), "movies", "random", 0, 1e-2)
    others = [
        dataclasses.replace(one, scale=trial.Scale(steps=99)),
        dataclasses.replace(one, learning_rate=2e-2),
        dataclasses.replace(one, evaluate_on="validation"),
        dataclasses.replace(one, schedule="cosine"),
    ]
    assert len({t.path(tmp_path) for t in (one, *others)}) == 5
    assert trial.Trial.read(one.write()) == one


def test_the_best_rate_has_the_highest_accuracy_then_the_lowest_loss() -> None:
    tuned = reproduction("tuning").Tuned
    found = tuned({0.1: 0.7, 0.2: 0.8, 0.4: 0.8}, {0.1: 0.3, 0.2: 0.5, 0.4: 0.6})
    assert (found.rate, found.at_edge) == (0.2, False)
    found = tuned({0.1: 0.7, 0.2: 0.8, 0.4: 0.8}, {0.1: 0.3, 0.2: 0.6, 0.4: 0.5})
    assert (found.rate, found.at_edge) == (0.4, True)


# Answers as worker.py does, without training: seed 1 fails, and seed 2 ends the process.
SIMPLE_WORKER = """
import json, sys
for line in sys.stdin:
    seed = json.loads(line)["seed"]
    if seed == 2:
        sys.exit(3)
    answer = {"failure": "Unsupported: no"} if seed == 1 else {"result": {"accuracy": 0.5, "seconds": 1.0}}
    print(json.dumps(answer), flush=True)
"""


def test_what_fails_is_told_and_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "worker.py").write_text(SIMPLE_WORKER)
    pool, trial = reproduction("pool"), reproduction("trial")
    monkeypatch.setattr(pool, "WORKER", tmp_path / "worker.py")
    right, wrong, deadly = (trial.Trial(trial.Scale(), "news", "random", seed, 1e-2) for seed in range(3))
    with pool.Pool(tmp_path / "runs", processes=2) as runs:
        for _ in range(2):
            assert list(runs.run("stage", [right, wrong])) == [right]
            assert runs.failures == {wrong: "Unsupported: no"}
        with pytest.raises(SystemExit, match="a process ended with status 3"):
            runs.run("stage", [deadly])
    assert capsys.readouterr().out.count("FAILED (Unsupported: no)") == 2
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [right.path(tmp_path).name]


class MovingMask:
    """An adapter whose mask is moved by hand."""

    def __init__(self, mask: list[int]) -> None:
        self.history: list[object] = []
        self.masks = {"weight": torch.tensor(mask)}

    def move(self, mask: list[int]) -> None:
        self.history.append(object())
        self.masks = {"weight": torch.tensor(mask)}


def test_births_are_the_steps_of_the_last_growth() -> None:
    adapter = MovingMask([1, 4, 6])
    births = reproduction("births").Births(adapter)
    births.look(1)
    adapter.move([0, 4, 9])
    births.look(2)
    births.look(3)
    adapter.move([1, 4, 9])
    births.look(4)
    assert births.grown_at() == {0: 1, 2: 1, 4: 1}
    assert births.replaced == 3


def test_a_page_without_markers_is_refused(tmp_path: Path) -> None:
    document = reproduction("document")
    page = tmp_path / "page.md"
    for text in ("nothing", PAGE + PAGE, "<!-- results: end --> <!-- results: begin -->"):
        page.write_text(text)
        with pytest.raises(importlib.import_module("errors").InputError, match="expected one line"):
            document.write_into(page, "new", None)
        assert page.read_text() == text
