"""Blend the strengths of overlapping tiles to strips of rows, so that no seam shows and memory stays flat.

Frame: ``_work`` pixels of the working grid.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from core.canvas.tiling import Tile, Tiling
from core.edges.thinning import HALO

BLOCK = 256  # pixels of the written raster's own tiles; strips end on them, so that each is packed once


class WorkWindow(NamedTuple):
    """A box of whole working pixels, from ``x0, y0`` up to but without ``x1, y1``."""

    x0: int
    y0: int
    x1: int
    y1: int

    @property
    def width(self) -> int:
        """In working pixels."""
        return self.x1 - self.x0

    @property
    def height(self) -> int:
        """In working pixels."""
        return self.y1 - self.y0


@dataclasses.dataclass(frozen=True)
class Strip:
    """Rows whose tiles are all done, with ``HALO`` pixels around them in ``strength``."""

    y_work: int
    strength: np.ndarray
    valid: np.ndarray


@dataclasses.dataclass(frozen=True)
class TileEdges:
    """Strength of a tile's edges, before thinning, and where it holds data; both of the tile's shape."""

    strength: np.ndarray
    valid: np.ndarray


def tiles_under(tiling: Tiling, window: WorkWindow) -> list[Tile]:
    """List every tile that a pixel of the window depends on, row by row."""
    x0, y0, x1, y1 = window
    across, down = tiling.tile_width + HALO, tiling.tile_height + HALO
    near = tiling.near((x0 - across, y0 - down, x1 + across, y1 + down))
    return [
        tile
        for tile in (tiling.tile(*place) for place in near)
        if tile.x_work < x1 + HALO
        and tile.x_work + tile.width > x0 - HALO
        and tile.y_work < y1 + HALO
        and tile.y_work + tile.height > y0 - HALO
    ]


def blend(
    tiling: Tiling, tiles: list[Tile], window: WorkWindow, edges: Iterable[tuple[Tile, TileEdges]]
) -> Iterator[Strip]:
    """Blend tiles row by row; a strip is given as soon as no further tile reaches into it.

    Parameters
    ----------
    tiling : Tiling
    tiles : list of Tile
        As :func:`tiles_under` gives them.
    window : WorkWindow
        What is wanted.
    edges : iterable of tuple
        Each of the tiles with its edges, in the same order.
    """
    x0, y0, x1, y1 = window
    left, top, done = x0 - HALO, y0 - HALO, y0
    width = x1 + HALO - left
    strength, valid = np.zeros((0, width), np.float32), np.zeros((0, width), bool)
    for number, (tile, given) in enumerate(edges):
        missing = max(0, min(tile.y_work + tile.height, y1 + HALO) - top - len(strength))
        strength = np.pad(strength, ((0, missing), (0, 0)))
        valid = np.pad(valid, ((0, missing), (0, 0)))
        theirs, ours = zip(
            _shared(tile.y_work, tile.height, top, len(strength)),
            _shared(tile.x_work, tile.width, left, width),
            strict=True,
        )
        strength[ours] += (given.strength * _weight(tiling, tile))[theirs]
        valid[ours] |= given.valid[theirs]
        last = number + 1 == len(tiles)
        if not last and tiles[number + 1].row == tile.row:
            continue
        ready = y1 if last else min(tiles[number + 1].y_work - HALO, y1)
        end = y1 if ready == y1 else y0 + (ready - y0) // BLOCK * BLOCK
        if end <= done:
            continue
        missing = max(0, end + HALO - top - len(strength))  # beyond the raster
        strength, valid = np.pad(strength, ((0, missing), (0, 0))), np.pad(valid, ((0, missing), (0, 0)))
        rows = slice(done - HALO - top, end + HALO - top)
        yield Strip(done, strength[rows], valid[rows][HALO:-HALO, HALO:-HALO])
        strength, valid = strength[end - HALO - top :], valid[end - HALO - top :]
        top, done = end - HALO, end


def _shared(start: int, length: int, other_start: int, other_length: int) -> tuple[slice, slice]:
    """What two spans of one axis share, as a slice of each."""
    first = max(start, other_start)
    last = max(min(start + length, other_start + other_length), first)
    return slice(first - start, last - start), slice(first - other_start, last - other_start)


def _weight(tiling: Tiling, tile: Tile) -> np.ndarray:
    """A tile's share of each of its pixels; those of overlapping tiles add up to 1."""

    def along(start: int, length: int, whole: int) -> np.ndarray:
        ramp = (np.arange(length, dtype=np.float32) + 0.5) / tiling.overlap
        before = ramp if start > 0 else np.inf
        after = ramp[::-1] if start + length < whole else np.inf
        return np.minimum(np.minimum(before, after), np.float32(1)) * np.ones(length, np.float32)

    return np.outer(
        along(tile.y_work, tile.height, tiling.height_work),
        along(tile.x_work, tile.width, tiling.width_work),
    )
