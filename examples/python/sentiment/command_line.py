"""The options, and the checks of what they name before anything slow starts."""

from __future__ import annotations

import argparse
import dataclasses
import os
from pathlib import Path

from errors import InputError
from settings import ALL_METHODS, DEFAULT_METHODS, DOMAINS, Settings

DESCRIPTION = """\
Compares ways to fine-tune a language model on labelled texts, and checks that sparse adapters reload and
unmerge exactly.

Without options, MiniLM-L6 learns to tell positive from negative movie-review snippets. With --data and
--model it is your own texts and your own model. Writes a page, figures, pictures and a folder a method."""


def read_command_line() -> tuple[Settings, list[str]]:
    """The settings, and the names of the methods to compare."""
    options = vars(make_parser().parse_args())
    methods = options.pop("methods")
    settings = Settings(**options)
    check_checkpoint(settings.model)
    make_output_directory(settings.out)
    return settings, list(dict.fromkeys(methods))


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="main.py", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.set_defaults(**dataclasses.asdict(Settings(threads=available_threads())), methods=DEFAULT_METHODS)
    texts = parser.add_mutually_exclusive_group()
    texts.add_argument("--data", metavar="FILE", help="lines of label, tab, text (default: movie reviews)")
    texts.add_argument(
        "--domain", choices=DOMAINS, help="which rated texts, without --data (default: %(default)s)"
    )
    parser.add_argument("--model", metavar="DIRECTORY", help="a Hugging Face checkpoint (default: MiniLM-L6)")
    parser.add_argument("--out", metavar="DIRECTORY", help="for the results (default: %(default)s)")
    parser.add_argument(
        "--methods", metavar="METHOD", nargs="+", choices=ALL_METHODS, help=f"of {', '.join(ALL_METHODS)}"
    )
    parser.add_argument("--all", dest="methods", action="store_const", const=ALL_METHODS, help="all of them")
    numbers = parser.add_argument_group("numbers")
    for option, kind, text in (
        ("--steps", count, "training steps (default: %(default)s)"),
        ("--batch-size", count, "texts in a step (default: %(default)s)"),
        ("--salience-batches", count, "batches by whose gradients a mask is chosen (default: %(default)s)"),
        ("--density", share, "the share of the targets that masks hold (default: %(default)s)"),
        ("--learning-rate", positive, "for all methods (default: each one's own, see methods.py)"),
        ("--max-tokens", count, "where longer texts are cut (default: %(default)s)"),
        ("--max-rows", count, "use only so many rows (default: all)"),
        ("--seed", int, "of the head, random masks and the order of the rows (default: %(default)s)"),
        ("--threads", count, "CPU threads (default: as many as there are, %(default)s)"),
    ):
        numbers.add_argument(option, type=kind, metavar="N", help=text)
    return parser


def count(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return int(text)


def positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")
    return number


def share(text: str) -> float:
    number = positive(text)
    if number > 1:
        raise argparse.ArgumentTypeError(f"expected a number above 0 and at most 1, got {text!r}")
    return number


def available_threads() -> int:
    return len(os.sched_getaffinity(0))


def check_checkpoint(model: str | None) -> None:
    if model is None:
        return
    directory = Path(model)
    if not directory.is_dir():
        raise InputError(f"{model}: expected a Hugging Face checkpoint directory, found no directory")
    if not (directory / "config.json").is_file():
        raise InputError(f"{model}: expected a Hugging Face checkpoint directory, but it has no config.json")
    if not any(directory.glob("*.safetensors")) and not any(directory.glob("pytorch_model*.bin")):
        raise InputError(f"{model}: the checkpoint has no weights (*.safetensors or pytorch_model*.bin)")


def make_output_directory(out: str) -> None:
    """Makes it, and writes to it once: now is the time to learn that it cannot be written."""
    try:
        Path(out).mkdir(parents=True, exist_ok=True)
        probe = Path(out) / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(f"{out}: cannot be written ({error.strerror})") from None
