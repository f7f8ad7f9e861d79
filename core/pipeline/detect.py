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

from core import runtime
from core.canvas.example import Example, cut_crops, read_example, working_resolution
from core.canvas.prompts import strategy_named
from core.canvas.stitch import crop_side
from core.canvas.tiling import Grid, Tile
from core.errors import CancelledError, InputError
from core.geo.extent import asked_extent
from core.geo.raster import Raster, Stretch
from core.outputs import check, write
from core.pipeline import split_encoding
from core.pipeline.cache import Cache
from core.pipeline.tile import Setting, vote_on
from core.protocol import ENCODINGS, DetectRequest
from core.sam.segmenter import Segmenter
from core.targets import Target, target_named
from core.vectors import attributes, orthogonalize, polygonize, rectangles, seams
from core.voting.vote import Vote, score_of
from core.voting.user_labels import known, pixels_of
from core.weights.catalogue import CATALOGUE

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
    """What is the same for all tiles of a run, among it the stretch, if any, that they are shown in."""

    request: DetectRequest
    query: Raster
    example: Example
    resolution: float
    target: Target
    setting: Setting
    stretch: Stretch | None


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
        for path in filter(None, (request.output, request.candidates)):
            check.check_holds(path, query.crs)
        example = _open_example(request, query, opened)
        # a raster's name may hide its file: that of a table in a GeoPackage, or of a VRT's source
        check.check_apart(_results(request), (*query.files, *example.raster.files))
        extent = asked_extent(request.extent, query)
        resolution = working_resolution(example, query, target, request.resolution)
        stretch = query.stretch if example.raster.dtype == query.dtype else None
        is_apart = request.encode == "apart"
        side_of = (lambda longest: split_encoding.coarse(crop_side(longest))) if is_apart else crop_side
        crops = cut_crops(example, resolution, stretch, side_of)
        if segmenter is None:
            progress(0.0, "loading the model")
            segmenter = Segmenter.load(*request.network())
        setting = Setting(
            segmenter=segmenter,
            crops=crops,
            examples_px=tuple(area / resolution**2 for area in example.areas_m2),
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
        job = _Job(request, query, example, resolution, target, setting, stretch)
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
    check.check_writable(request.output)
    if request.candidates:
        check.check_writable(request.candidates)
    if request.mask:
        check.check_writable(request.mask, (".tif", ".tiff"))
    check.check_apart(_results(request), (request.raster, request.example, request.example_raster))
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


def _results(request: DetectRequest) -> tuple[str | None, ...]:
    """Every file that is written."""
    return request.output, request.candidates, request.mask


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
        *raster.size_work(job.resolution),
        column,
        split_encoding.coarse(longer) if job.setting.apart else longer,
    )


def _search(
    job: _Job, grid: Grid, extent_work: shapely.Polygon, progress: Progress
) -> tuple[list[polygonize.Piece], int]:
    """Segment the tiles that the extent needs; gives whole objects, and how many tiles it took.

    An object that reaches out of the tiles segmented so far calls for the next
    ones, until it is whole or too large to be a detection. So two overlapping
    extents give the same polygons where both look.
    """
    largest = _sizes_m2(job)[1] / job.resolution**2
    done: set[tuple[int, int]] = set()
    wanted = _cells_on(grid, [extent_work], done)
    pieces: list[polygonize.Piece] = []
    objects: list[polygonize.Piece] = []
    while wanted:
        total = len(done) + len(wanted)
        for place in sorted(wanted):
            progress(len(done) / total, f"tile {len(done) + 1} of {total}")
            tile = grid.tile(*place)
            if (vote := _vote(job, grid, tile)) is not None:
                pieces += polygonize.trace(vote, tile.cell_tile, tile.x_work, tile.y_work)
            done.add(place)
        objects = seams.merge(pieces, SEAM_CONTACT if job.setting.strategy.separates else 0.0)
        reaching = [
            found.polygon_work
            for found in objects
            if found.pixels <= largest and found.polygon_work.intersects(extent_work)
        ]
        wanted = _cells_on(grid, reaching, done)
    return objects, len(done)


def _cells_on(
    grid: Grid, shapes_work: list[shapely.Polygon], done: set[tuple[int, int]]
) -> set[tuple[int, int]]:
    """Rows and columns of the tiles whose cells the shapes touch, but for those that are done."""
    cells: set[tuple[int, int]] = set()
    for shape in shapes_work:
        cells.update(
            place
            for place in grid.near(shape.bounds)
            if place not in done and shape.intersects(shapely.box(*grid.tile(*place).cell_work))
        )
    return cells


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
    whole = shapely.box(0, 0, own.raster_width, own.raster_height)
    work_from_px = (~raster.px_from_work(job.resolution)).to_shapely()
    in_tile: dict[tuple[int, int], list[shapely.Polygon]] = {}
    for polygon in job.example.negatives_px:
        middle_work = affine_transform(polygon, work_from_px).intersection(whole).representative_point()
        in_tile.setdefault(min(own.near(middle_work.bounds)), []).append(polygon)
    scores = [0.0]
    for place, polygons_px in in_tile.items():
        tile = own.tile(*place)
        if (vote := _vote(there, own, tile)) is not None:
            valid = np.ones(vote.share.shape, bool)
            scores += [score_of(vote, _drawn_on(there, tile, valid, [p]) > 0) for p in polygons_px]
    return min(max(MIN_SCORE, *scores), STRICTEST)


def _vote(job: _Job, grid: Grid, tile: Tile) -> Vote | None:
    """Segment one tile; None where it holds no data."""
    image, valid = job.query.read(
        tile.x_work, tile.y_work, grid.tile_width, grid.tile_height, job.resolution, job.stretch
    )
    if not valid.any():
        return None
    if job.setting.cancelled():
        raise CancelledError
    vote = vote_on(job.setting, image, valid, (tile.row, tile.column))
    runtime.give_memory_back()  # else gaps between large arrays add up tile by tile
    positive, negative = (
        _drawn_on(job, tile, valid, drawn) for drawn in (job.example.polygons_px, job.example.negatives_px)
    )
    return known(vote, positive, negative, job.setting.smooth_px)


def _drawn_on(job: _Job, tile: Tile, valid: np.ndarray, polygons_px: list[shapely.Polygon]) -> np.ndarray:
    """Numbers of the example's polygons on a tile; none where they were drawn on another raster."""
    own = polygons_px if job.example.raster.is_same_file(job.query) else []
    return pixels_of(own, job.query, job.resolution, (tile.x_work, tile.y_work), valid)


def _detections(job: _Job, objects: list[polygonize.Piece], extent: shapely.Polygon) -> gpd.GeoDataFrame:
    """All candidates on the extent that are of a size with the example."""
    query, example = job.query, job.example
    example_work = example.area_m2 / job.resolution**2
    table = attributes.to_table(
        objects,
        query.map_from_work(job.resolution),
        query.crs,
        largest_hole_work=job.target.largest_hole * example_work,
        redraw=_redraw(job),
    )
    right_size = table["area_m2"].between(*_sizes_m2(job))
    table = table[right_size & table.intersects(extent)].reset_index(drop=True)
    table["id"] = np.arange(1, len(table) + 1)
    table["target"] = job.target.name
    table["strategy"] = job.setting.strategy.name
    table["model"] = job.setting.segmenter.name
    table["created"] = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    return table[[*attributes.COLUMNS, "geometry"]]


def _sizes_m2(job: _Job) -> tuple[float, float]:
    """The least and the largest area of a detection: every example that was drawn must fit."""
    least, most = job.target.area_ratio
    return least * min(job.example.areas_m2), most * max(job.example.areas_m2)


def _redraw(job: _Job) -> attributes.Redraw | None:
    """What the outlines are drawn anew by, if by anything; a rectangle has right angles anyway."""
    if not (job.request.regularize or job.request.rectangles):
        return None
    draw = rectangles.fitted if job.request.rectangles else orthogonalize.right_angled

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
    with write.Drafts() as drafts:
        drafts.table(kept, request.output)
        if request.candidates:
            drafts.table(found, request.candidates)
        if request.mask:
            drafts.mask(kept, query, extent.bounds, request.mask)
