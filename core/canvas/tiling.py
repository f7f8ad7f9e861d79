"""Tiles of a working grid, anchored to the raster, never to the extent asked for.

A tile is always read and segmented whole, and answers for its own *cell*: the
tile less half the overlap on the sides where it has neighbours. Cells cover the
raster without gaps or overlaps, so each pixel's answer comes from one tile and
does not depend on which other tiles were asked for.
"""

from __future__ import annotations

import dataclasses
import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from functools import cached_property
from itertools import pairwise

from core.sam.geometry import CELL, SIDE

LEAST_OVERLAP, MOST_OVERLAP = 64, 256  # canvas pixels


@dataclasses.dataclass(frozen=True)
class Tile:
    """One window of the working grid.

    Attributes
    ----------
    row, column : int
        Place in the grid; with the seed, the key of the tile's random numbers.
    x_work, y_work : int
        Working pixel of the upper left corner.
    cell_tile : tuple of slice
        Rows and columns of the tile that it answers for.
    width, height : int
        In working pixels.
    """

    row: int
    column: int
    x_work: int
    y_work: int
    cell_tile: tuple[slice, slice]
    width: int
    height: int

    @property
    def box_work(self) -> tuple[int, int, int, int]:
        """The tile as x, y, width and height in working pixels."""
        return self.x_work, self.y_work, self.width, self.height

    @property
    def cell_work(self) -> tuple[int, int, int, int]:
        """The cell as x0, y0, x1, y1 in working pixels."""
        rows, columns = self.cell_tile
        return (
            self.x_work + columns.start,
            self.y_work + rows.start,
            self.x_work + columns.stop,
            self.y_work + rows.stop,
        )


@dataclasses.dataclass(frozen=True)
class Tiling:
    """Tiles of one size over a raster.

    Parameters
    ----------
    width_work, height_work : int
        The raster's size in working pixels.
    column : int
        Width of the example column, in canvas pixels.
    object_length : float
        The example's longer side in canvas pixels; objects of its size fit
        into the overlap.
    evenly : bool
        Whether the tiles move together so that the last one ends where the raster does, and
        no tile shows what is no image, which the network has not learned to pass over. They
        overlap by more then, and by different amounts; else all by ``overlap``.
    """

    width_work: int
    height_work: int
    column: int
    object_length: float
    evenly: bool = True

    @property
    def overlap(self) -> int:
        wanted = math.ceil(self.object_length / CELL) * CELL
        return min(max(wanted, LEAST_OVERLAP), MOST_OVERLAP)

    @property
    def tile_width(self) -> int:
        return min(SIDE - self.column, math.ceil(self.width_work / CELL) * CELL)

    @property
    def tile_height(self) -> int:
        """At least the example crop's side, which is the column's width."""
        return max(self.column, min(SIDE, math.ceil(self.height_work / CELL) * CELL))

    def _spans(self, length: int, tile: int) -> list[tuple[int, slice]]:
        """Start of each tile along one axis, and its cell within it."""
        if length <= tile:
            return [(0, slice(0, length))]
        stride: float = tile - self.overlap
        count = math.ceil((length - self.overlap) / stride)
        if self.evenly:
            stride = (length - tile) / (count - 1)  # at most what it was: as many tiles, more overlap
        starts = [round(index * stride) for index in range(count)]
        # cells meet in the middle of what two tiles share
        cuts = [0, *((before + tile + after) // 2 for before, after in pairwise(starts)), length]
        return [
            (start, slice(first - start, last - start))
            for start, (first, last) in zip(starts, pairwise(cuts), strict=True)
        ]

    @cached_property
    def _rows(self) -> list[tuple[int, slice]]:
        return self._spans(self.height_work, self.tile_height)

    @cached_property
    def _columns(self) -> list[tuple[int, slice]]:
        return self._spans(self.width_work, self.tile_width)

    def tile(self, row: int, column: int) -> Tile:
        """The tile at a place of the grid."""
        (y, rows), (x, columns) = self._rows[row], self._columns[column]
        return Tile(row, column, x, y, (rows, columns), self.tile_width, self.tile_height)

    def tiles(self) -> Iterator[Tile]:
        """All tiles, row by row."""
        for row in range(len(self._rows)):
            for column in range(len(self._columns)):
                yield self.tile(row, column)

    def near(self, bounds_work: tuple[float, float, float, float]) -> Iterator[tuple[int, int]]:
        """Rows and columns of the tiles whose cells touch a box x0, y0, x1, y1 of working pixels.

        Found without looking at any other tile: a country's raster has millions.
        """
        x0, y0, x1, y1 = bounds_work
        columns = _touching(self._columns, x0, x1)
        for row in _touching(self._rows, y0, y1):
            for column in columns:
                yield row, column


def _touching(spans: list[tuple[int, slice]], first: float, last: float) -> range:
    """Numbers of the spans whose cells touch ``first`` to ``last``."""
    begin = bisect_left(spans, first, key=lambda span: span[0] + span[1].stop)
    end = bisect_right(spans, last, key=lambda span: span[0] + span[1].start)
    return range(begin, end)
