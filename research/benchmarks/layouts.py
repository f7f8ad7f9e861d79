"""Ways to lay example and query out on the canvas, to be compared with the pipeline's own.

Frames as in :mod:`core.canvas.stitch`: ``_canvas``, ``_tile``, ``_work``; all of one ground size.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from affine import Affine
from shapely import Polygon

from core.canvas.stitch import FILL, Canvas, Copy, Crop, ring_around, stitch
from core.canvas.tiling import Tile, Tiling
from core.geo.work_grid import WorkGrid
from core.pipeline.plan import SearchPlan

HALF = 512  # canvas pixels: side of the lecture's halves


class Column:
    """The pipeline's own: a column of turned copies of the example beside the query tile."""

    name = "column"

    def crops(self, plan: SearchPlan) -> list[Crop]:
        """The example's crops at the plan's working resolution."""
        return plan.crops

    def tiling(self, plan: SearchPlan, crops: list[Crop]) -> Tiling:
        """The tiles of the plan's raster."""
        return plan.tiling_of(plan.work_grid)

    def canvas(self, crops: list[Crop], work_grid: WorkGrid, tile: Tile) -> Canvas | None:
        """Stitch one canvas; None where the tile holds no data."""
        image, valid = work_grid.read(*tile.box_work)
        return stitch(crops, image, valid) if valid.any() else None


class Corner(Column):
    """The example stamped once into the corner of a wider tile.

    The tile begins one crop further left than the column's tile does; there
    the query's own surroundings are seen, with the example over their corner.
    Both layouts answer for the same cells, so only what SAM sees differs.
    """

    name = "corner"

    def canvas(self, crops: list[Crop], work_grid: WorkGrid, tile: Tile) -> Canvas | None:
        """One stitched canvas; None where the tile holds no data."""
        crop, side = crops[0], crops[0].image.shape[0]
        image, valid = work_grid.read(tile.x_work - side, tile.y_work, side + tile.width, tile.height)
        if not valid[:, side:].any():
            return None
        query = valid.copy()
        query[:, :side] = False
        image = np.where(valid[..., None], image, np.uint8(FILL))
        image[:side, :side] = np.where(crop.valid[..., None], crop.image, np.uint8(FILL))
        return _with_example(image, query, crop, ring_around(crop.mask) & crop.valid)


@dataclasses.dataclass(frozen=True)
class HalvesTiling(Tiling):
    """Square tiles of the lecture's halves."""

    @property
    def tile_width(self) -> int:
        """In canvas pixels."""
        return HALF

    @property
    def tile_height(self) -> int:
        """In canvas pixels."""
        return HALF


class Halves(Column):
    """The lecture's plain halves: 512 x 512 of the example's image, 512 x 512 of the query.

    SAM's square stays half empty. One polygon is the example, and negative
    points come from the ring beside it, as in the pipeline.
    """

    name = "halves"

    def crops(self, plan: SearchPlan) -> list[Crop]:
        """One crop with the example in the middle of its real surroundings."""
        grid = WorkGrid(plan.example.raster, plan.work_grid.resolution)
        polygon = grid.work_from_px(plan.example.polygons_px[0])
        x0, y0, x1, y1 = polygon.bounds
        left, top = round((x0 + x1 - HALF) / 2), round((y0 + y1 - HALF) / 2)
        image, valid = grid.read(left, top, HALF, HALF, plan.stretch)
        return [Crop(image, self._mask(polygon, grid, left, top), valid)]

    def _mask(self, polygon_work: Polygon, grid: WorkGrid, left: int, top: int) -> np.ndarray:
        return grid.rasterize([polygon_work], left, top, (HALF, HALF)) > 0

    def tiling(self, plan: SearchPlan, crops: list[Crop]) -> Tiling:
        """Tiles of one half each."""
        grid = plan.work_grid
        length = plan.example.longer_side_m / grid.resolution
        return HalvesTiling(grid.width, grid.height, HALF, length)

    def canvas(self, crops: list[Crop], work_grid: WorkGrid, tile: Tile) -> Canvas | None:
        """One stitched canvas of 512 x 1024; None where the tile holds no data."""
        crop = crops[0]
        image, valid = work_grid.read(tile.x_work, tile.y_work, HALF, HALF)
        if not valid.any():
            return None
        halves = [
            np.where(v[..., None], i, np.uint8(FILL)) for i, v in ((crop.image, crop.valid), (image, valid))
        ]
        query = np.concatenate([np.zeros_like(valid), valid], axis=1)
        return _with_example(np.concatenate(halves, axis=1), query, crop, self._negatives(crop))

    def _negatives(self, crop: Crop) -> np.ndarray:
        return ring_around(crop.mask) & crop.valid


class Lecture(Halves):
    """The lecture's halves with *all* objects of the example image given.

    Parameters
    ----------
    objects_px : list of Polygon
        All objects of the kind, in the example raster's pixels. Whatever is
        not one of them is known to be something else, so negative points come
        from all of it.
    """

    name = "lecture"

    def __init__(self, objects_px: list[Polygon]):
        self.objects_px = objects_px

    def _mask(self, polygon_work: Polygon, grid: WorkGrid, left: int, top: int) -> np.ndarray:
        objects_work = [grid.work_from_px(polygon) for polygon in self.objects_px]
        return grid.rasterize(objects_work, left, top, (HALF, HALF)) > 0

    def _negatives(self, crop: Crop) -> np.ndarray:
        return ~crop.mask & crop.valid


LAYOUTS = {layout.name: layout for layout in (Column(), Halves(), Corner())}


def _with_example(image: np.ndarray, query: np.ndarray, crop: Crop, negatives: np.ndarray) -> Canvas:
    """A canvas whose upper left corner is the example's crop, once."""
    side = crop.image.shape[0]
    example = np.zeros(image.shape[:2], bool)
    ring = example.copy()
    example[:side, :side], ring[:side, :side] = crop.mask, negatives
    copy = Copy(0, Affine.identity())
    return Canvas(image, example, ring, query, (copy,), Affine.translation(side, 0))
