"""Checks what a run of the Rust example has left: `check_run.py DIRECTORY`.

The report has the keys of the Python example's, and SpIEL's mask has moved. Each adapter is then loaded by speft.torch:
the names of the parameters are the same, so that what was trained in one language is at home in the other, and the
logits on the held-out rows have to be those that Rust has computed.
"""

import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve()
sys.path.insert(0, str(HERE.parents[3] / "python" / "sentiment"))

from data import Batches, load_dataset
from evaluate import predict
from model import load_classifier, load_tokenizer
from safetensors.torch import load_file
from settings import Settings
from speft.torch import SparseAdapter

REPORT = {
    "environment",
    "held_out",
    "methods",
    "reload_identical",
    "seconds_total",
    "settings",
    "training_texts",
    "unmerge_bit_exact",
}
METHOD = {
    "accuracy",
    "adapter_bytes",
    "density",
    "loss",
    "name",
    "peak_rss_bytes",
    "seconds_per_step",
    "seconds_preparing",
    "trained",
}
# Logits around 1 after six layers whose sums are in another order: see RELATIVE in src/against_python.rs.
TOLERANCE = 1e-4


def main(directory: Path) -> None:
    report = json.loads((directory / "report.json").read_text(encoding="utf-8"))
    require(report.keys() >= REPORT, f"report.json lacks {REPORT - report.keys()}")
    for method in report["methods"]:
        require(method.keys() >= METHOD, f"{method['name']} lacks {METHOD - method.keys()}")
        if method["name"] == "spiel-ag":
            require(method["reselections"] > 0, "the mask of spiel-ag has not moved")
    for method in report["methods"]:
        if "unmerge_bit_exact" in method:
            check_adapter(directory / method["name"], report["settings"], method["trained"])


def check_adapter(directory: Path, theirs: dict, trained: int) -> None:
    settings = Settings(max_rows=theirs["max_rows"], max_tokens=theirs["max_tokens"], seed=theirs["seed"])
    dataset = load_dataset(settings)
    model = load_classifier(None, len(dataset.label_names), settings.seed)
    adapter = SparseAdapter.load(directory / "adapter.safetensors", model)
    require(adapter.info.trained_scalars == trained, f"{directory.name}: another number of trained scalars")
    batches = Batches(dataset.held_out, load_tokenizer(None), settings.max_tokens)
    difference = predict(model, batches)[0] - load_file(directory / "logits.safetensors")["logits"]
    largest = difference.abs().max().item()
    print(f"{directory.name}: the logits differ by {largest:.1e} at most")
    require(largest < TOLERANCE, f"{directory.name}: expected logits that differ by less than {TOLERANCE:.0e}")


def require(condition: bool, otherwise: str) -> None:
    if not condition:
        sys.exit(f"error: {otherwise}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
