"""Progress on standard error, as lines for people or for programs."""

from __future__ import annotations

import json
import sys
from contextlib import suppress


def write_progress(kind: str, fraction: float, message: str) -> None:
    """Write one line; ``kind`` is ``text``, ``json`` or ``none``, ``fraction`` 0 to 1."""
    if kind == "none":
        return
    line = f"{fraction:4.0%} {message}"
    if kind == "json":
        line = json.dumps({"fraction": fraction, "message": message})
    with suppress(OSError):  # who read it has gone, or its disk is full: the run goes on without being told
        print(line, file=sys.stderr, flush=True)
