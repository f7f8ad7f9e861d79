"""Search a raster for everything like an example, without writing a file."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable

import geopandas as gpd
import numpy as np
import shapely

from core.callbacks import Observer
from core.canvas.example import Example
from core.canvas.tiling import Tile, Tiling
from core.geo.raster import Raster
from core.geo.work_grid import WorkGrid
from core.pipeline.cache import Cache
from core.pipeline.plan import SearchPlan, SearchSettings
from core.pipeline.tile import TileResult, TileSegmenter
from core.pipeline.tiles import run_tiles
from core.sam.segmenter import Segmenter
from core.vectors import attributes, orthogonalize, rectangles, seams
from core.vectors.polygonize import Piece, polygonize
from core.voting.user_labels import apply_user_labels
from core.weights.catalogue import CATALOGUE

SEAM_CONTACT = 0.5  # of what two halves of an object share with each other's tiles, where objects touch
MIN_SCORE = 0.55  # the default: scores are relative to the example's own
STRICTEST = 0.75  # what negative polygons raise it to at most: beyond, more is lost than won

# Gives what a tile holds; None where it holds no data
SegmentTile = Callable[[Tile], TileResult | None]


def search(
    example: Example | gpd.GeoDataFrame,
    raster: Raster,
    settings: SearchSettings | None = None,
    segmenter: Segmenter | None = None,
    *,
    cache: Cache | None = None,
    observer: Observer | None = None,
) -> gpd.GeoDataFrame:
    """Find all candidates like the example in a raster, with their scores.

    Parameters
    ----------
    example : Example or GeoDataFrame
        A table holds the example polygons, drawn on ``raster``; a column ``role`` may say
        ``positive`` or ``negative``.
    raster : Raster
        Open for reading.
    settings : SearchSettings, optional
    segmenter : Segmenter, optional
        Default: the embedded model, on the best device.
    cache : Cache, optional
        Where to look for what was computed before, and to keep what is now. Default: nowhere.
    observer : Observer, optional
        Hears of the progress and of each tile's result, and may cancel.

    Returns
    -------
    GeoDataFrame
        In the raster's CRS, best score first, with the columns of ``core.vectors.attributes.COLUMNS``.
        Which of them are detections is a question of the minimum score.

    Raises
    ------
    InputError
        For anything the user can put right.
    CancelledError

    Examples
    --------
    >>> from core import SearchSettings, Segmenter, search
    >>> from core.geo.raster import Raster
    >>> example = gpd.read_file("resources/sample/example_building.geojson")
    >>> yard = SearchSettings(resolution=0.32, runs=4, extent=(500110, 5399900, 500140, 5399930))
    >>> with Raster("resources/sample/town.tif") as raster:
    ...     found = search(example, raster, yard, Segmenter.load("embedded"))
    >>> bool((found["score"] > 0.55).any())
    True
    """
    if not isinstance(example, Example):
        example = Example.from_table(example, raster)
    plan = SearchPlan(example, raster, settings or SearchSettings())
    return Search(plan, segmenter or Segmenter.load("embedded"), cache, observer).candidates()


class Search:
    """A search that is under way: a plan, and the network that carries it out.

    Parameters
    ----------
    plan : SearchPlan
    segmenter : Segmenter
    cache : Cache, optional
    observer : Observer, optional
    """

    def __init__(
        self,
        plan: SearchPlan,
        segmenter: Segmenter,
        cache: Cache | None = None,
        observer: Observer | None = None,
    ):
        self.plan, self.n_tiles = plan, 0
        self._observer, self._model = observer or Observer(), segmenter.name
        settings, own = plan.settings, CATALOGUE.get(segmenter.name)
        self._tile_segmenter = TileSegmenter(
            segmenter,
            plan.crops,
            plan.example_areas,
            plan.strategy,
            plan.target,
            runs=settings.runs,
            seed=settings.seed,
            views=settings.views or (own.views if own else 1),
            split_encoding=plan.splits_encoding,
            cache=cache,
            cancelled=self._observer.cancelled,
        )

    def candidates(self) -> gpd.GeoDataFrame:
        """Find all candidates on the extent that are of a size with the example."""

        def segment(tile: Tile) -> TileResult | None:
            return self._segment(tile, self.plan.work_grid)

        tiling = self.plan.tiling_of(self.plan.work_grid)
        contact = SEAM_CONTACT if self.plan.strategy.separates else 0.0
        objects, self.n_tiles = find_objects(self.plan, tiling, segment, contact, self._observer)
        return to_candidates(self.plan, objects, self._model, self._observer)

    def calibrated_min_score(self) -> float:
        """Give the default minimum score: what a negative polygon scores is not enough.

        Each is looked at in its own tile of the raster that it was drawn on, whatever
        the extent, so that the answer depends on the raster, the examples and the seed only.
        """
        example = self.plan.example
        if not example.negatives_px:
            return MIN_SCORE
        work_grid = WorkGrid(example.raster, self.plan.work_grid.resolution)
        tiling = self.plan.tiling_of(work_grid)
        whole = shapely.box(0, 0, tiling.width_work, tiling.height_work)
        in_tile: dict[tuple[int, int], list[shapely.Polygon]] = {}
        for polygon_px in example.negatives_px:
            polygon_work = work_grid.work_from_px(polygon_px)
            middle_work = polygon_work.intersection(whole).representative_point()
            in_tile.setdefault(min(tiling.near(middle_work.bounds)), []).append(polygon_work)
        scores = [0.0]
        for place, polygons_work in in_tile.items():
            tile = tiling.tile(*place)
            self._observer.stop_if_cancelled()
            if (result := self._segment(tile, work_grid)) is None:
                continue
            for polygon_work in polygons_work:
                shape = tile.height, tile.width
                inside = work_grid.rasterize([polygon_work], tile.x_work, tile.y_work, shape) > 0
                scores.append(result.segmentation.score_inside(inside))
        return min(max(MIN_SCORE, *scores), STRICTEST)

    def _segment(self, tile: Tile, work_grid: WorkGrid) -> TileResult | None:
        """Segment one tile, and put the user's own polygons into it."""
        image, valid = work_grid.read(*tile.box_work, self.plan.stretch)
        if not valid.any():
            return None
        result = self._tile_segmenter.segment(image, valid, tile)
        return labelled(result, self.plan.example, work_grid, valid, self.plan.target.smooth_radius)


def labelled(
    result: TileResult, example: Example, work_grid: WorkGrid, valid: np.ndarray, radius: int
) -> TileResult:
    """Apply the example's polygons to a tile's result, where they were drawn on the raster itself.

    Parameters
    ----------
    result : TileResult
    example : Example
    work_grid : WorkGrid
        Of the raster that the tile lies on.
    valid : ndarray of bool, shape (h, w)
        The tile's pixels that hold data; no polygon has others.
    radius : int
        See :func:`core.voting.user_labels.apply_user_labels`.
    """
    tile, own = result.tile, example.raster.is_same_file(work_grid.raster)

    def numbers(polygons_px: list[shapely.Polygon]) -> np.ndarray:
        polygons_work = [work_grid.work_from_px(polygon) for polygon in polygons_px] if own else []
        burnt = work_grid.rasterize(polygons_work, tile.x_work, tile.y_work, valid.shape)
        return np.where(valid, burnt, 0)

    segmentation = apply_user_labels(
        result.segmentation, numbers(example.polygons_px), numbers(example.negatives_px), radius
    )
    return TileResult(tile, segmentation, result.score_map, result.partition, result.segmentation)


def find_objects(
    plan: SearchPlan, tiling: Tiling, segment: SegmentTile, least_contact: float, observer: Observer
) -> tuple[list[Piece], int]:
    """Segment the tiles that the extent needs; gives whole objects, and how many tiles it took.

    An object that reaches out of the tiles segmented so far calls for the next
    ones, until it is whole or too large to be a detection. So two overlapping
    extents give the same polygons where both look.

    Parameters
    ----------
    plan : SearchPlan
    tiling : Tiling
    segment : callable
    least_contact : float
        See :func:`core.vectors.seams.merge`.
    observer : Observer
    """
    extent_work = plan.extent_work
    largest = plan.sizes_m2[1] / plan.work_grid.resolution**2
    done: set[tuple[int, int]] = set()
    wanted = _tiles_on(tiling, [extent_work], done)
    pieces: list[Piece] = []
    objects: list[Piece] = []
    while wanted:
        tiles = [tiling.tile(*place) for place in sorted(wanted)]
        for tile, result in run_tiles(tiles, segment, observer, done=len(done)):
            if result is not None:
                observer.tile_done(result)
                pieces += polygonize(result.segmentation, tile.cell_tile, tile.x_work, tile.y_work)
            done.add((tile.row, tile.column))
        objects = seams.merge(pieces, least_contact)
        reaching = [
            found.polygon_work
            for found in objects
            if found.pixels <= largest and found.polygon_work.intersects(extent_work)
        ]
        wanted = _tiles_on(tiling, reaching, done)
    return objects, len(done)


def _tiles_on(
    tiling: Tiling, shapes_work: Iterable[shapely.Polygon], done: set[tuple[int, int]]
) -> set[tuple[int, int]]:
    """Rows and columns of the tiles whose cells the shapes touch, but for those that are done."""
    places: set[tuple[int, int]] = set()
    for shape in shapes_work:
        places.update(
            place
            for place in tiling.near(shape.bounds)
            if place not in done and shape.intersects(shapely.box(*tiling.tile(*place).cell_work))
        )
    return places


def to_candidates(plan: SearchPlan, objects: list[Piece], model: str, observer: Observer) -> gpd.GeoDataFrame:
    """Make a table of the objects on the extent that are of a size with the example.

    Parameters
    ----------
    plan : SearchPlan
    objects : list of Piece
        Whole, as :func:`find_objects` gives them.
    model : str
        The network's name.
    observer : Observer
        May cancel while outlines are drawn anew.
    """
    example_area = plan.example.area_m2 / plan.work_grid.resolution**2
    table = attributes.to_table(
        objects,
        plan.work_grid,
        largest_hole=plan.target.largest_hole * example_area,
        redraw=_redraw(plan.settings, observer),
    )
    right_size = table["area_m2"].between(*plan.sizes_m2)
    table = table[right_size & table.intersects(plan.extent_map)].reset_index(drop=True)
    table["id"] = np.arange(1, len(table) + 1)
    table["target"] = plan.target.name
    table["strategy"] = plan.strategy.name
    table["model"] = model
    table["created"] = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    return table[[*attributes.COLUMNS, "geometry"]]


def _redraw(settings: SearchSettings, observer: Observer) -> attributes.Redraw | None:
    """Choose what outlines are drawn anew by, if by anything; a rectangle has right angles anyway."""
    if not (settings.regularize or settings.rectangles):
        return None
    draw = rectangles.fitted if settings.rectangles else orthogonalize.right_angled

    def redraw(outline: shapely.Polygon, mask: shapely.Polygon) -> shapely.Polygon:
        observer.stop_if_cancelled()  # thousands of outlines take a while
        return draw(outline, mask)

    return redraw
