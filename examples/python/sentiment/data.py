"""Texts and labels: where they come from, how they are split, how they become batches."""

from __future__ import annotations

import dataclasses
import io
import random
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from errors import InputError
from settings import Settings

if TYPE_CHECKING:
    import torch

REPOSITORY = Path(__file__).resolve().parents[3]
SNIPPETS_SDIST = REPOSITORY / ".cache" / "vaderSentiment-3.3.2.tar.gz"
DOMAIN_FILES = {
    "movies": "/movieReviewSnippets_GroundTruth.txt",
    "news": "/nytEditorialSnippets_GroundTruth.txt",
    "products": "/amazonReviewSnippets_GroundTruth.txt",
    "tweets": "/tweets_GroundTruth.txt",
}
CLEAR_RATING = 0.5  # ratings run from -4 to 4; nearer to 0 the raters did not agree on a polarity
FEWEST_ROWS = 100
LARGEST_EVALUATION = 1000


@dataclasses.dataclass(frozen=True)
class Rows:
    """Some rows of a data set: texts, and for each the number of its label."""

    texts: list[str]
    labels: list[int]

    def __len__(self) -> int:
        return len(self.texts)


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Rows in three parts that share none, and the labels' names."""

    train: Rows
    validation: Rows
    held_out: Rows
    label_names: list[str]

    def part(self, name: str) -> Rows:
        return {"validation": self.validation, "held-out": self.held_out}[name]


def load_dataset(settings: Settings) -> Dataset:
    """Reads and splits the rows; the split depends on the rows alone, never on the seed of a run."""
    rows = read_labelled_lines(Path(settings.data)) if settings.data else read_rated_texts(settings.domain)
    random.Random("split").shuffle(rows)
    return split_rows(rows[: settings.max_rows])


def read_rated_texts(domain: str) -> list[tuple[str, str]]:
    """The human-rated texts of a domain in vaderSentiment's source distribution, as (polarity, text)."""
    try:
        with tarfile.open(SNIPPETS_SDIST) as sdist:
            resources = read_member(sdist, "/hutto_ICWSM_2014.tar.gz")
    except FileNotFoundError:
        raise InputError(f"{SNIPPETS_SDIST} is missing; 'make setup' downloads it") from None
    with tarfile.open(fileobj=io.BytesIO(resources)) as archive:
        lines = read_member(archive, DOMAIN_FILES[domain]).decode("utf-8").splitlines()
    rated = [(float(rating), text) for _, rating, text in (line.split("\t") for line in lines)]
    return [("positive" if r > 0 else "negative", text) for r, text in rated if abs(r) >= CLEAR_RATING]


def read_member(archive: tarfile.TarFile, ending: str) -> bytes:
    """The one member whose path ends so."""
    (name,) = [name for name in archive.getnames() if name.endswith(ending)]
    with archive.extractfile(name) as member:
        return member.read()


def read_labelled_lines(path: Path) -> list[tuple[str, str]]:
    """A user's rows as (label, text): one row a line, with one tab between label and text."""
    try:
        content = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: expected UTF-8 text, but byte {error.start} is not") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    rows = []
    for number, line in enumerate(content.split("\n"), start=1):
        where = f"{path}, line {number}"
        columns = [column.strip() for column in line.split("\t")]
        if columns == [""]:
            continue
        if len(columns) != 2:
            raise InputError(f"{where}: expected two columns (label, tab, text), got {len(columns)}")
        if not all(columns):
            raise InputError(f"{where}: the {'text' if columns[0] else 'label'} is empty")
        rows.append((columns[0], columns[1]))
    if len(rows) < FEWEST_ROWS:
        raise InputError(f"{path}: expected at least {FEWEST_ROWS} rows, got {len(rows)}")
    if len({label for label, _ in rows}) < 2:
        raise InputError(f"{path}: expected at least two different labels, got only {rows[0][0]!r}")
    return rows


def split_rows(rows: Sequence[tuple[str, str]]) -> Dataset:
    """The first rows are held out, the next are for validation, the rest is trained on."""
    names = sorted({label for label, _ in rows})
    numbers = {name: number for number, name in enumerate(names)}
    size = min(LARGEST_EVALUATION, len(rows) // 5)

    def part(chosen: Sequence[tuple[str, str]]) -> Rows:
        return Rows([text for _, text in chosen], [numbers[label] for label, _ in chosen])

    return Dataset(part(rows[2 * size :]), part(rows[size : 2 * size]), part(rows[:size]), names)


@dataclasses.dataclass(frozen=True)
class Batch:
    """Token numbers and attention mask, both rows x longest text; one label a row."""

    inputs: dict[str, torch.Tensor]
    labels: torch.Tensor
    positions: list[int]  # where its rows stand in the Rows it was made of


class Batches:
    """Tokenized rows, from which batches are cut."""

    def __init__(self, rows: Rows, tokenizer, max_tokens: int) -> None:
        length = min(max_tokens, tokenizer.model_max_length)
        self._tokens = tokenizer(rows.texts, truncation=True, max_length=length)["input_ids"]
        self._labels = rows.labels
        self._padding = tokenizer.pad_token_id or 0  # masked, so that any token will do

    def in_order_of_length(self, size: int) -> Iterator[Batch]:
        """Every row once: for evaluation."""
        order = sorted(range(len(self._tokens)), key=self._length)
        for start in range(0, len(order), size):
            yield self._batch(order[start : start + size])

    def shuffled(self, count: int, size: int, seed: str) -> Iterator[Batch]:
        """`count` batches, going through all rows before any comes again.

        Texts of similar length share a batch, which halves the padding: sixteen batches' worth of shuffled
        rows are sorted by length, cut, and the cuts shuffled.
        """
        generator = random.Random(seed)
        order: list[int] = []
        while len(order) < count * size:
            order += generator.sample(range(len(self._tokens)), len(self._tokens))
        pool = 16 * size
        for start in range(0, count * size, pool):
            rows = sorted(order[start : min(start + pool, count * size)], key=self._length)
            cuts = [rows[cut : cut + size] for cut in range(0, len(rows), size)]
            generator.shuffle(cuts)
            yield from map(self._batch, cuts)

    def _length(self, row: int) -> int:
        return len(self._tokens[row])

    def _batch(self, rows: list[int]) -> Batch:
        import torch

        tokens = [torch.tensor(self._tokens[row]) for row in rows]
        pad = torch.nn.utils.rnn.pad_sequence
        ids = pad(tokens, batch_first=True, padding_value=self._padding)
        mask = pad([torch.ones_like(row) for row in tokens], batch_first=True)
        labels = torch.tensor([self._labels[row] for row in rows])
        return Batch({"input_ids": ids, "attention_mask": mask}, labels, rows)
