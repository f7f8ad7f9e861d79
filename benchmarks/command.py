"""What the measurements have in common as commands: one JSON object, or one sentence and status 2."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

from core.errors import ExemplarError


def print_measured(name: str, measure: Callable[[], dict], one_line: bool) -> int:
    """Measure and print the object, on one line or indented; gives the exit status.

    Parameters
    ----------
    name : str
        The module's, before the sentence on standard error.
    """
    try:
        result = measure()
    except ExemplarError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 2
    print(json.dumps(result) if one_line else json.dumps(result, indent=2))
    return 0
