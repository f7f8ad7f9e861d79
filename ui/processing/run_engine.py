"""Gives each run of an algorithm its own engine."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from .. import settings
from ..engine import environment
from ..engine.client import EngineClient

# The runs under way, so that unloading the plugin can end their engines.
_running: set[RunEngine] = set()


class RunEngine(EngineClient):
    """The engine of one run, which ends with it.

    Not the dock's: that one lives as long as the dock and does one job at a time, so a batch would wait
    for the dock, the dock for the batch, and ``qgis_process`` has no dock at all.
    """


@contextlib.contextmanager
def run_engine(root: Path) -> Iterator[RunEngine]:
    """Give an engine that ends with the block, however the block ends."""
    engine = RunEngine(root, lambda: environment.find_python(root, settings.engine_python()))
    _running.add(engine)
    try:
        yield engine
    finally:
        _running.discard(engine)
        engine.close()


def end_all() -> None:
    """End the engines of all runs under way."""
    for engine in list(_running):
        engine.close()
