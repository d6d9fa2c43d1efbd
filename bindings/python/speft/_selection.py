"""What a framework's adapter takes for `selection`: a name, a function, or masks or scores by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from ._errors import InvalidArgument
from ._options import SELECTIONS

Array = TypeVar("Array")


def read_selection(
    selection: str | Mapping[str, Any] | Callable[..., Any],
    targets: set[str],
    as_array: Callable[[Any], Array],
    is_scores: Callable[[Array], bool],
) -> tuple[str, dict[str, Array]]:
    """The method's name, and the masks or scores that were given with it."""
    if callable(selection):
        return "score-function", {}
    if isinstance(selection, str):
        names = [name for name in SELECTIONS if name not in ("mask", "scores", "score-function")]
        if selection not in names:
            raise InvalidArgument(
                f"selection must be one of {', '.join(names)}, a function, or a dict of masks or of scores; "
                f"got {selection!r}"
            )
        return selection, {}
    given = {name: as_array(array) for name, array in selection.items()}
    for name in sorted(targets.symmetric_difference(given)):
        problem = "has nothing for the target" if name in targets else "names what is no target:"
        raise InvalidArgument(f"selection {problem} {name!r}")
    methods = {name: "scores" if is_scores(array) else "mask" for name, array in given.items()}
    if len(set(methods.values())) != 1:
        kinds = ", ".join(f"{name!r} {method}" for name, method in methods.items())
        raise InvalidArgument(
            f"selection must give masks for all targets (integers), or scores (floats); got {kinds}"
        )
    return next(iter(methods.values())), given
