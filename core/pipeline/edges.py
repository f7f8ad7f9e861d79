"""Edges over a raster: tiles of the working grid, blended, thinned and written strip by strip.

A tile is always processed whole. Where tiles overlap, their strengths fade into
each other, so that no seam shows; an extent gets every tile that reaches into
it, so that two overlapping extents agree, pixel by pixel.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterable
from contextlib import ExitStack

import numpy as np
import shapely
from affine import Affine
from rasterio.windows import Window

from core.callbacks import Cancelled, Observer, Progress, never_cancelled, no_progress
from core.canvas.example import MAX_ENLARGEMENT
from core.canvas.tiling import Tile, Tiling
from core.edges.blending import BLOCK, Strip, TileEdges, WorkWindow, blend, tiles_under
from core.edges.strength import edge_strength
from core.edges.thinning import HALO, Crests, crests
from core.errors import InputError
from core.geo.extent import asked_extent
from core.geo.raster import Raster
from core.geo.work_grid import WorkGrid
from core.outputs import check
from core.outputs.place import states_of
from core.outputs.write import Drafts
from core.pipeline.cache import Cache, digest, usable_cache
from core.pipeline.tiles import run_tiles
from core.protocol import EdgesRequest
from core.sam.segmenter import Segmenter
from core.vectors import lines

OVERLAP = 128  # canvas pixels in which two tiles fade into each other
NODATA = -1.0  # in the file, where the raster has no data
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


def find_edges(
    request: EdgesRequest,
    *,
    segmenter: Segmenter | None = None,
    cache: Cache | None = None,
    progress: Progress = no_progress,
    cancelled: Cancelled = never_cancelled,
) -> Summary:
    """Find the edges of a raster and write them.

    Parameters
    ----------
    request : EdgesRequest
    segmenter : Segmenter, optional
        A loaded network, so that one process serves many runs. Default: loaded here.
    cache : Cache, optional
        Where to look for what was computed before, and to keep what is now. Default: nowhere.
    progress : callable
        Called with the share done, 0 to 1, and a few words.
    cancelled : callable
        Asked between two batches of prompts.

    Raises
    ------
    InputError
        For anything the user can put right; nothing is written then.
    CancelledError

    Examples
    --------
    >>> from core import EdgesRequest, find_edges
    >>> request = EdgesRequest(
    ...     raster="resources/sample/town.tif",
    ...     output="edges.tif",
    ...     resolution=0.64,
    ...     extent=[500100, 5399880, 500160, 5399940],
    ... )
    >>> find_edges(request).tiles
    1
    """
    started, observer = time.monotonic(), Observer(progress, cancelled)
    _check(request)
    before = states_of((request.output, request.lines))
    with ExitStack() as opened:
        raster = opened.enter_context(Raster(request.raster, request.bands))
        check.check_apart((request.output, request.lines), raster.files)
        if request.lines:
            check.check_holds(request.lines, raster.crs)
        work_grid = WorkGrid(raster, _working_resolution(request.resolution, raster))
        window = _window(asked_extent(request.extent, raster), work_grid)
        if segmenter is None:
            progress(0.0, "loading the model")
            segmenter = Segmenter.load(*request.network())
        tiling = Tiling(work_grid.width, work_grid.height, column=0, object_length=OVERLAP, evenly=False)
        tiles = tiles_under(tiling, window)
        step = _EdgesOfTile(segmenter, work_grid, cache, observer)
        drafts = opened.enter_context(Drafts(before))
        strips = blend(tiling, tiles, window, run_tiles(tiles, step, observer))
        found = _write(request, drafts, strips, window, work_grid)
        lines_work, strength = lines.trace(found)
        observer.stop_if_cancelled()
        progress(1.0, "writing")
        if request.lines:
            table = lines.to_table(lines_work, strength, work_grid, segmenter.name)
            drafts.table(table, request.lines, "LineString")
    seconds, resolution = time.monotonic() - started, work_grid.resolution
    return Summary(request.output, request.lines, len(lines_work), seconds, resolution, len(tiles))


class _EdgesOfTile:
    """The step of one tile: reads it, and finds the strength of its edges or takes it from the cache."""

    def __init__(self, segmenter: Segmenter, work_grid: WorkGrid, cache: Cache | None, observer: Observer):
        self._segmenter, self._work_grid, self._observer = segmenter, work_grid, observer
        self._cache = usable_cache(cache, segmenter)

    def __call__(self, tile: Tile) -> TileEdges:
        image, valid = self._work_grid.read(*tile.box_work)
        if self._cache is None:
            return TileEdges(self._compute(image, valid), valid)
        key = digest("edges", self._segmenter.identity, image, valid)
        if (stored := self._cache.get(key)) is None:
            stored = {"strength": self._compute(image, valid)}
            self._cache.put(key, stored)
        return TileEdges(stored["strength"], valid)

    def _compute(self, image: np.ndarray, valid: np.ndarray) -> np.ndarray:
        return edge_strength(self._segmenter, image, valid, self._observer.cancelled)


def _check(request: EdgesRequest) -> None:
    request.check()
    check.check_writable(request.output, (".tif", ".tiff"))
    if request.lines:
        check.check_writable(request.lines)
    check.check_apart(results=(request.output, request.lines), inputs=(request.raster,))


def _working_resolution(asked: float | None, raster: Raster) -> float:
    """Metres per canvas pixel: what was asked for, if it can be used, or the raster's own."""
    own = min(raster.metres_per_pixel)
    if asked is None:
        return own
    if not asked > 0 or not math.isfinite(asked):
        raise InputError("The working resolution must be a number of metres above 0.")
    finest, coarsest = own / MAX_ENLARGEMENT, min(WorkGrid(raster, 1.0).size(float))
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


def _window(extent_map: shapely.Polygon, work_grid: WorkGrid) -> WorkWindow:
    """Round the extent to whole working pixels that the raster covers."""
    extent_work = work_grid.to_work(extent_map)
    across, down = work_grid.size()
    # Rounding of coordinates must not add a row of pixels beside the extent.
    x0, y0, x1, y1 = np.round(extent_work.bounds, 6)
    x0, y0 = min(max(math.floor(x0), 0), across - 1), min(max(math.floor(y0), 0), down - 1)
    x1, y1 = min(math.ceil(x1), across), min(math.ceil(y1), down)
    return WorkWindow(x0, y0, max(x1, x0 + 1), max(y1, y0 + 1))


def _write(
    request: EdgesRequest,
    drafts: Drafts,
    strips: Iterable[Strip],
    window: WorkWindow,
    work_grid: WorkGrid,
) -> Crests:
    """Thin the strips and write them; give the pixels of the lines, if any are wanted."""
    x0, y0, crs = window.x0, window.y0, work_grid.raster.crs
    profile = {
        "width": window.width,
        "height": window.height,
        "dtype": "float32",
        "nodata": NODATA,
        "predictor": 3,
        "blockxsize": BLOCK,
        "blockysize": BLOCK,
        "transform": work_grid.map_from_work @ Affine.translation(x0, y0),
        "crs": crs.to_wkt() if crs else None,
    }
    kept = []
    with drafts.raster(request.output, profile) as written:
        written.set_band_description(1, "edge strength, 0 to 1")
        for strip in strips:
            for start in range(0, window.width, CHUNK):
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
