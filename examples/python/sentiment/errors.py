"""How the program ends when something the user gave cannot be used: one line, exit status 2, no traceback."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator


class InputError(Exception):
    """What is wrong, and where: the one line that the user sees."""


@contextlib.contextmanager
def one_line_errors(*also: type[Exception]) -> Iterator[None]:
    """Ends the program with one line for an InputError, or for any of `also`; a bug keeps its traceback."""
    try:
        yield
    except (InputError, *also) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
