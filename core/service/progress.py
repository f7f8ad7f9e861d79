"""Progress on standard error, as lines for people or for programs."""

from __future__ import annotations

import json
import sys


def write_progress(kind: str, fraction: float, message: str) -> None:
    """Write one line; ``kind`` is ``text``, ``json`` or ``none``, ``fraction`` 0 to 1."""
    if kind == "text":
        print(f"{fraction:4.0%} {message}", file=sys.stderr, flush=True)
    elif kind == "json":
        print(json.dumps({"fraction": fraction, "message": message}), file=sys.stderr, flush=True)
