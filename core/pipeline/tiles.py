"""The loop over tiles that every search shares: progress, cancel, and memory given back after each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from core import runtime
from core.callbacks import Observer
from core.canvas.tiling import Tile

Result = TypeVar("Result")


def run_tiles(
    tiles: Sequence[Tile], step: Callable[[Tile], Result], observer: Observer, *, done: int = 0
) -> Iterator[tuple[Tile, Result]]:
    """Take a step with each tile in turn.

    Parameters
    ----------
    tiles : sequence of Tile
    step : callable
        Reads a tile and computes what is wanted of it.
    observer : Observer
        Hears of each tile before its step; may cancel there.
    done : int
        How many tiles were done before these ones.

    Yields
    ------
    tile : Tile
    result
        What the step gave.

    Raises
    ------
    CancelledError
    """
    total = done + len(tiles)
    for number, tile in enumerate(tiles, start=done):
        observer.progress(number / total, f"tile {number + 1} of {total}")
        observer.stop_if_cancelled()
        result = step(tile)
        runtime.give_memory_back()  # else gaps between large arrays add up tile by tile
        yield tile, result
