"""What the measurements have in common as commands: a network, one JSON object, or one sentence."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable

from core.errors import ExemplarError
from core.sam.segmenter import Segmenter


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


def add_network(parser: argparse.ArgumentParser) -> None:
    """Options that say which network is measured, and how it is evaluated."""
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--checkpoint")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto")


def load_network(options: argparse.Namespace) -> Segmenter:
    """The network that the options of :func:`add_network` name."""
    return Segmenter.load(options.model, options.checkpoint, options.device, options.precision)
