"""Edges over a raster: tiles of the grid, blended, thinned and written strip by strip.

A tile is always processed whole. Where tiles overlap, their strengths fade into
each other, so that no seam shows; an extent gets every tile that reaches into
it, so that two overlapping extents agree, pixel by pixel.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import numpy as np
import shapely
from affine import Affine
from rasterio.windows import Window
from shapely.affinity import affine_transform

from core import runtime
from core.canvas.example import MAX_ENLARGEMENT
from core.canvas.tiling import Grid, Tile
from core.edges.strength import edge_strength
from core.edges.thinning import HALO, Crests, crests
from core.errors import CancelledError, InputError
from core.geo.extent import asked_extent
from core.geo.raster import Raster
from core.outputs import check, write
from core.protocol import EdgesRequest
from core.sam.segmenter import Segmenter
from core.vectors import lines

OVERLAP = 128  # canvas pixels in which two tiles fade into each other
NODATA = -1.0  # in the file, where the raster has no data
BLOCK = 256  # pixels of the file's own tiles; strips end on them, so that each is packed once
CHUNK = 4 * BLOCK  # columns thinned at once, so that memory does not grow with the extent's width


@dataclasses.dataclass(frozen=True)
class Summary:
    """What a run did; ``count`` is the number of lines, 0 where none were asked for."""

    output: str
    lines: str | None
    count: int
    seconds: float
    resolution: float
    tiles: int


@dataclasses.dataclass(frozen=True)
class _Strip:
    """Rows whose tiles are all done, with ``HALO`` pixels around them in ``strength``."""

    y_work: int
    strength: np.ndarray
    valid: np.ndarray


def find_edges(
    request: EdgesRequest,
    *,
    segmenter: Segmenter | None = None,
    progress: Callable[[float, str], None] = lambda fraction, message: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Summary:
    """Find the edges of a raster and write them.

    Parameters
    ----------
    request : EdgesRequest
    segmenter : Segmenter, optional
        A loaded network, so that one process serves many runs; default: loaded here.
    progress : callable
        Called with the share done, 0 to 1, and a few words.
    cancelled : callable
        Asked between two batches of prompts.

    Raises
    ------
    InputError
        For anything the user can put right; nothing is written then.
    CancelledError
    """
    started = time.monotonic()
    _check(request)
    with ExitStack() as opened:
        raster = opened.enter_context(Raster(request.raster, request.bands))
        check.check_apart((request.output, request.lines), raster.files)
        if request.lines:
            check.check_holds(request.lines, raster.crs)
        resolution = _working_resolution(request.resolution, raster)
        window = _window(asked_extent(request.extent, raster), raster, resolution)
        if segmenter is None:
            progress(0.0, "loading the model")
            segmenter = Segmenter.load(*request.network())
        grid = Grid(*raster.size_work(resolution), column=0, example_px=OVERLAP, evenly=False)
        tiles = _tiles(grid, window)

        def of_tile(number: int, tile: Tile) -> tuple[np.ndarray, np.ndarray]:
            progress(number / len(tiles), f"tile {number + 1} of {len(tiles)}")
            if cancelled():
                raise CancelledError
            image, valid = raster.read(
                tile.x_work, tile.y_work, grid.tile_width, grid.tile_height, resolution
            )
            strength = edge_strength(segmenter, image, valid, cancelled)
            runtime.give_memory_back()  # else gaps between large arrays add up tile by tile
            return strength, valid

        drafts = opened.enter_context(write.Drafts())
        found = _write(request, drafts, _strips(grid, tiles, window, of_tile), window, raster, resolution)
        lines_work, strength = lines.trace(found)
        if cancelled():
            raise CancelledError
        progress(1.0, "writing")
        if request.lines:
            table = lines.to_table(
                lines_work, strength, raster.map_from_work(resolution), raster.crs, segmenter.name
            )
            drafts.table(table, request.lines, "LineString")
    return Summary(
        request.output, request.lines, len(lines_work), time.monotonic() - started, resolution, len(tiles)
    )


def _check(request: EdgesRequest) -> None:
    check.check_writable(request.output, (".tif", ".tiff"))
    if request.lines:
        check.check_writable(request.lines)
    check.check_apart(results=(request.output, request.lines), inputs=(request.raster,))
    if not 0 <= request.min_strength <= 1:
        raise InputError("The least strength must lie between 0 and 1.")


def _working_resolution(asked: float | None, raster: Raster) -> float:
    """Metres per canvas pixel: what was asked for, if it can be used, or the raster's own."""
    own = min(raster.metres_per_pixel)
    if asked is None:
        return own
    if not asked > 0 or not math.isfinite(asked):
        raise InputError("The working resolution must be a number of metres above 0.")
    finest, coarsest = own / MAX_ENLARGEMENT, min(raster.size_work(1.0, float))
    if asked < finest * (1 - 1e-9):
        raise InputError(
            f"{asked:g} m per pixel is far finer than the raster's own {own:.3g} m. "
            f"Ask for {finest:.2g} m or more."
        )
    if asked > coarsest:
        raise InputError(
            f"At {asked:g} m per pixel the raster is less than a pixel wide. "
            f"Ask for its own {own:.3g} m, or a few times that."
        )
    return asked


def _window(extent_map: shapely.Polygon, raster: Raster, resolution: float) -> tuple[int, int, int, int]:
    """The extent as x0, y0, x1, y1 in whole working pixels that the raster covers."""
    extent_work = affine_transform(extent_map, (~raster.map_from_work(resolution)).to_shapely())
    across, down = raster.size_work(resolution, math.floor)
    # Rounding of coordinates must not add a row of pixels beside the extent.
    x0, y0, x1, y1 = np.round(extent_work.bounds, 6)
    x0, y0 = min(max(math.floor(x0), 0), across - 1), min(max(math.floor(y0), 0), down - 1)
    x1, y1 = min(math.ceil(x1), across), min(math.ceil(y1), down)
    return x0, y0, max(x1, x0 + 1), max(y1, y0 + 1)


def _tiles(grid: Grid, window: tuple[int, int, int, int]) -> list[Tile]:
    """Every tile that a pixel of the window depends on, row by row."""
    x0, y0, x1, y1 = window
    across, down = grid.tile_width + HALO, grid.tile_height + HALO
    near = grid.near((x0 - across, y0 - down, x1 + across, y1 + down))
    return [
        tile
        for tile in (grid.tile(*place) for place in near)
        if tile.x_work < x1 + HALO
        and tile.x_work + grid.tile_width > x0 - HALO
        and tile.y_work < y1 + HALO
        and tile.y_work + grid.tile_height > y0 - HALO
    ]


def _strips(
    grid: Grid,
    tiles: list[Tile],
    window: tuple[int, int, int, int],
    of_tile: Callable[[int, Tile], tuple[np.ndarray, np.ndarray]],
) -> Iterator[_Strip]:
    """Blend the tiles, row by row; a strip is given as soon as no further tile reaches into it."""
    x0, y0, x1, y1 = window
    left, top, done = x0 - HALO, y0 - HALO, y0
    width = x1 + HALO - left
    strength, valid = np.zeros((0, width), np.float32), np.zeros((0, width), bool)
    for number, tile in enumerate(tiles):
        missing = max(0, min(tile.y_work + grid.tile_height, y1 + HALO) - top - len(strength))
        strength = np.pad(strength, ((0, missing), (0, 0)))
        valid = np.pad(valid, ((0, missing), (0, 0)))
        theirs, ours = zip(
            _shared(tile.y_work, grid.tile_height, top, len(strength)),
            _shared(tile.x_work, grid.tile_width, left, width),
            strict=True,
        )
        found, data = of_tile(number, tile)
        strength[ours] += (found * _weight(grid, tile))[theirs]
        valid[ours] |= data[theirs]
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
        yield _Strip(done, strength[rows], valid[rows][HALO:-HALO, HALO:-HALO])
        strength, valid = strength[end - HALO - top :], valid[end - HALO - top :]
        top, done = end - HALO, end


def _shared(start: int, length: int, other_start: int, other_length: int) -> tuple[slice, slice]:
    """What two spans of one axis share, as a slice of each."""
    first = max(start, other_start)
    last = max(min(start + length, other_start + other_length), first)
    return slice(first - start, last - start), slice(first - other_start, last - other_start)


def _weight(grid: Grid, tile: Tile) -> np.ndarray:
    """A tile's share of each of its pixels; those of overlapping tiles add up to 1."""

    def along(start: int, length: int, whole: int) -> np.ndarray:
        ramp = (np.arange(length, dtype=np.float32) + 0.5) / grid.overlap
        before = ramp if start > 0 else np.inf
        after = ramp[::-1] if start + length < whole else np.inf
        return np.minimum(np.minimum(before, after), np.float32(1)) * np.ones(length, np.float32)

    return np.outer(
        along(tile.y_work, grid.tile_height, grid.raster_height),
        along(tile.x_work, grid.tile_width, grid.raster_width),
    )


def _write(
    request: EdgesRequest,
    drafts: write.Drafts,
    strips: Iterator[_Strip],
    window: tuple[int, int, int, int],
    raster: Raster,
    resolution: float,
) -> Crests:
    """Thin the strips and write them; gives the pixels of the lines, if any are wanted."""
    x0, y0, x1, y1 = window
    profile = {
        "width": x1 - x0,
        "height": y1 - y0,
        "dtype": "float32",
        "nodata": NODATA,
        "predictor": 3,
        "blockxsize": BLOCK,
        "blockysize": BLOCK,
        "transform": raster.map_from_work(resolution) @ Affine.translation(x0, y0),
        "crs": raster.crs.to_wkt() if raster.crs else None,
    }
    kept = []
    with drafts.raster(request.output, profile) as written:
        written.set_band_description(1, "edge strength, 0 to 1")
        for strip in strips:
            for start in range(0, x1 - x0, CHUNK):
                valid = strip.valid[:, start : start + CHUNK]
                height, width = valid.shape
                found = crests(strip.strength[:, start : start + width + 2 * HALO])
                found = found.within(HALO, HALO, width, height)
                thin = np.where(valid, np.float32(0), np.float32(NODATA))
                thin[found.rows, found.columns] = found.strength
                written.write(thin, 1, window=Window(start, strip.y_work - y0, width, height))
                if request.lines:
                    kept.append(
                        found.where(found.strength >= request.min_strength).moved(x0 + start, strip.y_work)
                    )
    return Crests.joined(kept)
