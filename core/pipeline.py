"""The steps in a row: raster → canvas → prompts → sam → candidates → vectorize → output.

The command line, the engine behind QGIS and the benchmarks all call :func:`detect`.
"""

from __future__ import annotations

import dataclasses
import datetime
import time
from collections.abc import Callable
from contextlib import ExitStack

import geopandas as gpd
import numpy as np
import shapely
from shapely.affinity import affine_transform

from . import apart, candidates, output, process, rectangles, regularize, vectorize
from .cache import Cache
from .canvas import crop_side
from .drawn import known, pixels_of
from .errors import CancelledError, InputError
from .example import Example, cut_crops, read_example, working_resolution
from .extent import asked_extent
from .grid import Grid, Tile
from .models import CATALOGUE
from .prompts import strategy_named
from .protocol import ENCODINGS, DetectRequest
from .raster import Raster
from .sam import Segmenter
from .targets import Target, target_named
from .tile_vote import Setting, vote_on

Progress = Callable[[float, str], None]

SEAM_CONTACT = 0.5  # of what two halves of an object share with each other's tiles, where objects touch
MIN_SCORE = 0.55  # the default: scores are relative to the example's own vote
STRICTEST = 0.75  # what negative polygons raise it to at most: beyond, more is lost than won (docs/method.md)


@dataclasses.dataclass(frozen=True)
class Summary:
    """What a run did, for people and for the ``result`` message."""

    output: str
    count: int
    seconds: float
    resolution: float
    min_score: float
    tiles: int


@dataclasses.dataclass(frozen=True)
class _Job:
    """What is the same for all tiles of a run."""

    request: DetectRequest
    query: Raster
    example: Example
    resolution: float
    target: Target
    setting: Setting


def detect(
    request: DetectRequest,
    *,
    segmenter: Segmenter | None = None,
    cache: Cache | None = None,
    progress: Progress = lambda fraction, message: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Summary:
    """Find everything like the example in the query, and write it.

    Parameters
    ----------
    request : DetectRequest
    segmenter : Segmenter, optional
        A loaded network, so that one process serves many runs; default: loaded here.
    cache : Cache, optional
        Where to look for what was computed before, and to keep what is now; default: nowhere.
    progress : callable
        Called with the share done, 0 to 1, and a few words.
    cancelled : callable
        Asked between two batches of prompts.

    Returns
    -------
    Summary

    Raises
    ------
    InputError
        For anything the user can put right; nothing is written then.
    CancelledError
    """
    started = time.monotonic()
    target, strategy = target_named(request.target), strategy_named(request.strategy)
    _check(request)
    if cache:
        cache.begin_job()
    with ExitStack() as opened:
        query = opened.enter_context(Raster(request.raster, request.bands))
        example = _open_example(request, query, opened)
        extent = asked_extent(request.extent, query)
        resolution = working_resolution(example, query, target, request.resolution)
        same_kind = example.raster.dtype == query.dtype
        is_apart = request.encode == "apart"
        side_of = (lambda longest: apart.coarse(crop_side(longest))) if is_apart else crop_side
        crops = cut_crops(example, resolution, query.stretch if same_kind else None, side_of)
        if segmenter is None:
            progress(0.0, "loading the model")
            segmenter = Segmenter.load(request.model, request.checkpoint, request.device)
        setting = Setting(
            segmenter=segmenter,
            crops=crops,
            example_px=example.area_m2 / resolution**2,
            strategy=strategy,
            runs=request.runs,
            seed=request.seed,
            target=target.name,
            showings=CATALOGUE[request.model].showings,
            smooth_px=target.smooth_px,
            cache=cache,
            cancelled=cancelled,
            apart=is_apart,
        )
        job = _Job(request, query, example, resolution, target, setting)
        grid = _grid(job, query)
        extent_work = affine_transform(extent, (~query.map_from_work(resolution)).to_shapely())
        objects, tiles = _search(job, grid, extent_work, progress)
        found = _detections(job, objects, extent)
        min_score = _least_score(job) if request.min_score is None else request.min_score
        kept = found[found["score"] >= min_score].reset_index(drop=True)
        if cancelled():
            raise CancelledError
        progress(1.0, "writing")
        _write(request, kept, found, query, extent)
    return Summary(request.output, len(kept), time.monotonic() - started, resolution, min_score, tiles)


def _check(request: DetectRequest) -> None:
    """Everything that can be known to be wrong before any work is done."""
    output.check_writable(request.output)
    if request.candidates:
        output.check_writable(request.candidates)
    if request.mask:
        output.check_writable(request.mask, (".tif", ".tiff"))
    output.check_apart(
        results=(request.output, request.candidates, request.mask),
        inputs=(request.raster, request.example, request.example_raster),
    )
    if request.encode not in ENCODINGS:
        raise InputError(
            f"There is no way to encode called {request.encode!r}. Choose one of: {', '.join(ENCODINGS)}."
        )
    if request.runs < 1:
        raise InputError("The number of runs must be at least 1.")
    if request.seed < 0:
        raise InputError("The seed must be 0 or more.")
    if request.min_score is not None and not 0 <= request.min_score <= 1:
        raise InputError("The least score must lie between 0 and 1.")


def _open_example(request: DetectRequest, query: Raster, opened: ExitStack) -> Example:
    if request.example_raster is None:
        return read_example(request.example, query)
    bands = request.example_bands or request.bands
    return read_example(request.example, opened.enter_context(Raster(request.example_raster, bands)))


def _grid(job: _Job, raster: Raster) -> Grid:
    """The raster's tiles; with ``apart`` the same ones for examples of about the same size."""
    longer = job.example.longer_side_m / job.resolution
    column = job.setting.crops[0].image.shape[0]
    return Grid(
        *raster.size_work(job.resolution), column, apart.coarse(longer) if job.setting.apart else longer
    )


def _search(
    job: _Job, grid: Grid, extent_work: shapely.Polygon, progress: Progress
) -> tuple[list[vectorize.Piece], int]:
    """Segment the tiles that the extent needs; gives whole objects, and how many tiles it took.

    An object that reaches out of the tiles segmented so far calls for the next
    ones, until it is whole or too large to be a detection. So two overlapping
    extents give the same polygons where both look.
    """
    tiles = list(grid.tiles())
    cells = shapely.STRtree([shapely.box(*tile.cell_work) for tile in tiles])
    largest = job.target.area_ratio[1] * job.example.area_m2 / job.resolution**2
    wanted = set(cells.query(extent_work, predicate="intersects").tolist())
    done: set[int] = set()
    pieces: list[vectorize.Piece] = []
    objects: list[vectorize.Piece] = []
    while wanted:
        total = len(done) + len(wanted)
        for index in sorted(wanted):
            progress(len(done) / total, f"tile {len(done) + 1} of {total}")
            tile = tiles[index]
            if (vote := _vote(job, grid, tile)) is not None:
                pieces += vectorize.trace(vote, tile.cell_tile, tile.x_work, tile.y_work)
            done.add(index)
        objects = vectorize.merge(pieces, SEAM_CONTACT if job.setting.strategy.separates else 0.0)
        reaching = [
            found.polygon_work
            for found in objects
            if found.pixels <= largest and found.polygon_work.intersects(extent_work)
        ]
        near = cells.query(np.array(reaching, dtype=object), predicate="intersects")[1]
        wanted = set(near.tolist()) - done
    return objects, len(done)


def _least_score(job: _Job) -> float:
    """The default least score: what a negative polygon scores is not enough.

    Each is looked at in its own tile of the raster that it was drawn on, whatever
    the extent, so that the answer depends on the raster, the examples and the seed only.
    """
    if not job.example.negatives_px:
        return MIN_SCORE
    raster = job.example.raster
    there = dataclasses.replace(job, query=raster)
    own = _grid(job, raster)
    tiles = list(own.tiles())
    cells = shapely.STRtree([shapely.box(*tile.cell_work) for tile in tiles])
    work_from_px = (~raster.px_from_work(job.resolution)).to_shapely()
    in_tile: dict[int, list[shapely.Polygon]] = {}
    for polygon in job.example.negatives_px:
        middle_work = affine_transform(polygon.representative_point(), work_from_px)
        in_tile.setdefault(int(cells.nearest(middle_work)), []).append(polygon)
    scores = [0.0]
    for index, polygons_px in in_tile.items():
        if (vote := _vote(there, own, tiles[index])) is not None:
            valid = np.ones(vote.share.shape, bool)
            scores += [
                candidates.score_of(vote, _drawn_on(there, tiles[index], valid, [p]) > 0) for p in polygons_px
            ]
    return min(max(MIN_SCORE, *scores), STRICTEST)


def _vote(job: _Job, grid: Grid, tile: Tile) -> candidates.Vote | None:
    """Segment one tile; None where it holds no data."""
    image, valid = job.query.read(tile.x_work, tile.y_work, grid.tile_width, grid.tile_height, job.resolution)
    if not valid.any():
        return None
    if job.setting.cancelled():
        raise CancelledError
    vote = vote_on(job.setting, image, valid, (tile.row, tile.column))
    process.give_memory_back()  # else gaps between large arrays add up tile by tile
    positive, negative = (
        _drawn_on(job, tile, valid, drawn) for drawn in (job.example.polygons_px, job.example.negatives_px)
    )
    return known(vote, positive, negative, job.setting.smooth_px)


def _drawn_on(job: _Job, tile: Tile, valid: np.ndarray, polygons_px: list[shapely.Polygon]) -> np.ndarray:
    """Numbers of the example's polygons on a tile; none where they were drawn on another raster."""
    own = polygons_px if job.example.raster is job.query else []
    return pixels_of(own, job.query, job.resolution, (tile.x_work, tile.y_work), valid)


def _detections(job: _Job, objects: list[vectorize.Piece], extent: shapely.Polygon) -> gpd.GeoDataFrame:
    """All candidates on the extent that are of a size with the example."""
    query, example = job.query, job.example
    example_work = example.area_m2 / job.resolution**2
    table = vectorize.to_table(
        objects,
        query.map_from_work(job.resolution),
        query.crs,
        largest_hole_work=job.target.largest_hole * example_work,
        redraw=_redraw(job),
    )
    smallest, largest = (ratio * example.area_m2 for ratio in job.target.area_ratio)
    right_size = table["area_m2"].between(smallest, largest)
    table = table[right_size & table.intersects(extent)].reset_index(drop=True)
    table["id"] = np.arange(1, len(table) + 1)
    table["target"] = job.target.name
    table["strategy"] = job.setting.strategy.name
    table["model"] = job.setting.segmenter.name
    table["created"] = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    return table[[*vectorize.COLUMNS, "geometry"]]


def _redraw(job: _Job) -> vectorize.Redraw | None:
    """What the outlines are drawn anew by, if by anything; a rectangle has right angles anyway."""
    if not (job.request.regularize or job.request.rectangles):
        return None
    draw = rectangles.fitted if job.request.rectangles else regularize.right_angled

    def redraw(outline: shapely.Polygon, mask: shapely.Polygon) -> shapely.Polygon:
        if job.setting.cancelled():  # thousands of outlines take a while
            raise CancelledError
        return draw(outline, mask)

    return redraw


def _write(
    request: DetectRequest,
    kept: gpd.GeoDataFrame,
    found: gpd.GeoDataFrame,
    query: Raster,
    extent: shapely.Polygon,
) -> None:
    with output.Drafts() as drafts:
        drafts.table(kept, request.output)
        if request.candidates:
            drafts.table(found, request.candidates)
        if request.mask:
            drafts.mask(kept, query, extent.bounds, request.mask)
