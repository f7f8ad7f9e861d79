"""Detect: from a request, which names files, to files. Command line and engine call :func:`detect`."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import geopandas as gpd

from core.callbacks import Cancelled, Observer, Progress, never_cancelled, no_progress
from core.canvas.example import Example, read_example
from core.geo.raster import Raster
from core.outputs import check as outputs_check
from core.outputs.place import states_of
from core.outputs.write import Drafts
from core.pipeline.cache import Cache
from core.pipeline.plan import SearchPlan, SearchSettings
from core.pipeline.search import Search
from core.protocol import DetectRequest
from core.sam.segmenter import Segmenter
from core.weights.catalogue import CATALOGUE


@dataclasses.dataclass(frozen=True)
class Summary:
    """What a run did, for people and for the ``result`` message."""

    output: str
    count: int
    seconds: float
    resolution: float
    min_score: float
    tiles: int


def detect(
    request: DetectRequest,
    *,
    segmenter: Segmenter | None = None,
    cache: Cache | None = None,
    progress: Progress = no_progress,
    cancelled: Cancelled = never_cancelled,
) -> Summary:
    """Find everything like the example in the query, and write it.

    Parameters
    ----------
    request : DetectRequest
    segmenter : Segmenter, optional
        A loaded network, so that one process serves many runs. Default: loaded here.
    cache : Cache, optional
        Where to look for what was computed before, and to keep what is now. Default: nowhere.
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

    Examples
    --------
    >>> from core import DetectRequest, detect
    >>> summary = detect(
    ...     DetectRequest(
    ...         raster="resources/sample/town.tif",
    ...         example="resources/sample/example_building.geojson",
    ...         output="found.gpkg",
    ...         resolution=0.32,
    ...         runs=4,
    ...         extent=[500110, 5399900, 500140, 5399930],
    ...     )
    ... )
    >>> summary.output, summary.count > 0
    ('found.gpkg', True)
    """
    started, observer = time.monotonic(), Observer(progress, cancelled)
    settings = _check(request)
    before = states_of(_results(request))
    if cache:
        cache.begin_job()
    with _opened(request) as (raster, example):
        plan = SearchPlan(example, raster, settings)
        if segmenter is None:
            progress(0.0, "loading the model")
            segmenter = Segmenter.load(*request.network())
        search = Search(plan, segmenter, cache, observer)
        candidates = search.candidates()
        min_score = search.calibrated_min_score() if request.min_score is None else request.min_score
        detections = candidates[candidates["score"] >= min_score].reset_index(drop=True)
        observer.stop_if_cancelled()
        progress(1.0, "writing")
        _write(request, detections, candidates, plan, before)
    seconds, resolution = time.monotonic() - started, plan.work_grid.resolution
    return Summary(request.output, len(detections), seconds, resolution, min_score, search.n_tiles)


def _check(request: DetectRequest) -> SearchSettings:
    """Check everything that can be known to be wrong before any file is opened."""
    request.check()
    shared = {field.name for field in dataclasses.fields(SearchSettings)} - {"views"}
    settings = SearchSettings(**{name: getattr(request, name) for name in shared})
    model = CATALOGUE.get(request.model)
    settings = dataclasses.replace(settings, views=model.views if model else None)
    outputs_check.check_writable(request.output)
    if request.candidates:
        outputs_check.check_writable(request.candidates)
    if request.mask:
        outputs_check.check_writable(request.mask, (".tif", ".tiff"))
    inputs = request.raster, request.example, request.example_raster
    outputs_check.check_apart(_results(request), inputs)
    settings.check()
    return settings


def _results(request: DetectRequest) -> tuple[str | None, ...]:
    """List every file that is written."""
    return request.output, request.candidates, request.mask


@contextmanager
def _opened(request: DetectRequest) -> Iterator[tuple[Raster, Example]]:
    """Open the raster to search and the example, and check the results against their files."""
    with ExitStack() as opened:
        raster = opened.enter_context(Raster(request.raster, request.bands))
        for path in filter(None, (request.output, request.candidates)):
            outputs_check.check_holds(path, raster.crs)
        drawn_on = raster
        if request.example_raster is not None:
            bands = request.example_bands or request.bands
            drawn_on = opened.enter_context(Raster(request.example_raster, bands))
        example = read_example(request.example, drawn_on)
        # a raster's name may hide its file: that of a table in a GeoPackage, or of a VRT's source
        outputs_check.check_apart(_results(request), (*raster.files, *drawn_on.files))
        yield raster, example


def _write(
    request: DetectRequest,
    detections: gpd.GeoDataFrame,
    candidates: gpd.GeoDataFrame,
    plan: SearchPlan,
    before: dict[Path, list],
) -> None:
    with Drafts(before) as drafts:
        drafts.table(detections, request.output)
        if request.candidates:
            drafts.table(candidates, request.candidates)
        if request.mask:
            drafts.mask(detections, plan.work_grid.raster, plan.extent_map.bounds, request.mask)
