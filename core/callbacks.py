"""What a long computation tells its caller while it runs, and asks him."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from core.errors import CancelledError

Progress = Callable[[float, str], None]  # the share done, 0 to 1, and a few words
Cancelled = Callable[[], bool]  # whether the caller no longer wants the result


def no_progress(fraction: float, message: str) -> None:
    """Take a progress report and do nothing with it."""


def never_cancelled() -> bool:
    """Let the computation go on."""
    return False


class Observer:
    """Hears how far a search is and what each tile gave, and can cancel it; by itself it does neither.

    Derive from it what the caller needs, or give it two functions.

    Parameters
    ----------
    progress : callable
        Called with the share done, 0 to 1, and a few words.
    cancelled : callable
        Asked between two batches of prompts; True ends the search with ``CancelledError``.

    Examples
    --------
    >>> class Counting(Observer):
    ...     tiles = 0
    ...
    ...     def tile_done(self, result):
    ...         self.tiles += 1
    """

    def __init__(self, progress: Progress = no_progress, cancelled: Cancelled = never_cancelled):
        self.progress, self.cancelled = progress, cancelled

    def tile_done(self, result: Any) -> None:
        """Hear what a tile gave, a ``core.pipeline.tile.TileResult``; not called for tiles without data."""

    def stop_if_cancelled(self) -> None:
        """Raise ``CancelledError`` where the caller no longer wants the result."""
        if self.cancelled():
            raise CancelledError
