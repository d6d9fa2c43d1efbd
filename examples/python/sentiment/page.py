"""The report as one web page that needs nothing beside it: no script, no style or picture from elsewhere."""

from __future__ import annotations

import string
from html import escape
from pathlib import Path

from loss_curves import WINDOW, draw_loss_curves
from placement_figures import draw_placements, draw_scale
from report import CHECKS, COLUMNS, standard_error
from settings import AT_LORA_BUDGET, SPARSE_METHODS, STEP_DENSITY, STEP_METHODS

TEMPLATE = Path(__file__).with_suffix(".html")

# What is trained; all train the head as well.
DESCRIPTIONS = {
    "head-only": "nothing",
    "random": "scalars drawn by chance",
    "gradient": "scalars of the largest |gradient|",
    "snip": "scalars of the largest |gradient × weight|",
    "spiel-ag": "scalars that move to the largest accumulated |gradient|",
    "spiel-ma": "scalars that move by the second moments of SM3",
    "meprop": "the largest gradients of each step, feed-forward alone",
    "sparsegrad": "the same, in a basis in which gradients are sparse",
    "full": "every weight",
    "lora": "low-rank matrices beside the targeted ones",
}

DOMAIN_WORDS = {
    "movies": "movie-review snippets",
    "news": "snippets of newspaper editorials",
    "products": "product-review snippets",
    "tweets": "tweets",
}


def write_page(report: dict, losses: dict[str, list[float]], path: Path) -> None:
    """`losses` has each method's training losses, one a step."""
    template = string.Template(TEMPLATE.read_text(encoding="utf-8"))
    page = template.substitute(
        summary=escape(summary(report)),
        headings="".join(f"<th scope=col>{escape(heading)}</th>" for heading, _, _ in COLUMNS),
        rows="\n".join(table_row(method, report) for method in report["methods"]),
        checks="\n".join(check_lines(report)),
        standard_error=f"{100 * max(standard_error(m, report) for m in report['methods']):.1f}",
        window=WINDOW,
        curves="\n".join(draw_loss_curves(losses, SPARSE_METHODS)),
        placement=placement_section(report),
        run="\n".join(
            f"<dt>{escape(term)}</dt><dd>{escape(str(value))}</dd>" for term, value in facts(report)
        ),
    )
    path.write_text(page, encoding="utf-8")


def summary(report: dict) -> str:
    settings = report["settings"]
    return (
        f"{model_name(settings)} fine-tuned on {data_name(settings)}, in {len(report['methods'])} ways: "
        f"{settings['steps']:,} steps of {settings['batch_size']} texts each."
    )


def model_name(settings: dict) -> str:
    return settings["model"] or "MiniLM-L6"


def data_name(settings: dict) -> str:
    return settings["data"] or DOMAIN_WORDS[settings["domain"]]


# ---- the table ----


def table_row(method: dict, report: dict) -> str:
    """A method's name, what it trains, and its figures, each over a mark that shows it among all."""
    name = method["name"]
    kind = "sparse" if name in SPARSE_METHODS else "other"
    cells = "".join(
        f"<td>{escape(write(method[key]))}{mark(*extent(key, method, report))}</td>"
        for _, key, write in COLUMNS
    )
    heading = f"{escape(name)}<small>{escape(describe(name))}</small>"
    return f"<tr class={kind}><th scope=row>{heading}</th>{cells}</tr>"


def describe(name: str) -> str:
    words = DESCRIPTIONS[name.removesuffix(AT_LORA_BUDGET)]
    return f"{words}, as many as LoRA" if name.endswith(AT_LORA_BUDGET) else words


def extent(key: str, method: dict, report: dict) -> tuple[float, float]:
    """Where a mark begins and ends, as fractions of its track.

    Most start at 0. Accuracies lie too close together for that: theirs spans one standard error to each side.
    """
    if key != "accuracy":
        largest = max(other[key] for other in report["methods"])
        return 0.0, method[key] / largest if largest else 0.0
    begins, ends = zip(*(accuracy_range(other, report) for other in report["methods"]), strict=True)
    low, width = min(begins), (max(ends) - min(begins)) or 1.0
    begin, end = accuracy_range(method, report)
    return (begin - low) / width, (end - low) / width


def accuracy_range(method: dict, report: dict) -> tuple[float, float]:
    error = standard_error(method, report)
    return method["accuracy"] - error, method["accuracy"] + error


def mark(begin: float, end: float) -> str:
    place = f"margin-left:{100 * begin:.1f}%;width:{100 * (end - begin):.1f}%"
    return f'<div class=track><div class=mark style="{place}"></div></div>'


# ---- below it ----


def placement_section(report: dict) -> str:
    """Where the weights of the sparse methods lie; nothing, where none was compared."""
    placements = {m["name"]: m["placement"] for m in report["methods"] if "placement" in m}
    if not placements:
        return ""
    figures = "\n".join(draw_placements(placements))
    return (
        "<h2>Where the trained weights lie</h2>\n"
        "<p class=note>The density of each matrix over that of all targets: "
        f"1 where a matrix has just its share. Point at a cell for its counts.</p>\n{draw_scale()}\n"
        f"<div class=curves>\n{figures}\n</div>"
    )


def check_lines(report: dict) -> list[str]:
    """What was checked of the sparse adapters; nothing, where none was compared."""
    return [
        f"<li class={'holds' if report[check] else 'fails'}>{escape(words)}: "
        f"<strong>{'identical' if report[check] else 'DIFFERENT'}</strong></li>"
        for check, words in CHECKS
        if check in report
    ]


def facts(report: dict) -> list[tuple[str, object]]:
    """What one needs to know to run the comparison again."""
    settings, environment = report["settings"], report["environment"]
    rate = settings["learning_rate"] or "each method's own"
    return [
        ("model", model_name(settings)),
        ("data", data_name(settings)),
        ("texts", f"{report['training_texts']:,} to train on, {report['held_out']:,} held out"),
        ("training", f"{settings['steps']:,} steps of {settings['batch_size']} texts, AdamW (spiel-ma: SM3)"),
        ("learning rate", f"{rate}, falling to 0"),
        ("selection", selection(report)),
        ("longest text", f"{settings['max_tokens']} tokens"),
        ("seed", settings["seed"]),
        ("processor", f"{environment['processor']}, {environment['cores']} cores"),
        ("threads", settings["threads"]),
        ("memory", f"{environment['memory_bytes'] / 1e9:.0f} GB"),
        ("system", environment["system"]),
        ("versions", ", ".join(f"{name} {number}" for name, number in environment["versions"].items())),
        ("date", environment["date"]),
        ("time in all", f"{report['seconds_total']:,.0f} s"),
    ]


def selection(report: dict) -> str:
    settings = report["settings"]
    words = f"{settings['density']:.2%} of the targets, by {settings['salience_batches']} batches"
    by_step = [method["name"] for method in report["methods"] if method["name"] in STEP_METHODS]
    return f"{words} ({', '.join(by_step)}: {STEP_DENSITY:.0%} at each step)" if by_step else words
