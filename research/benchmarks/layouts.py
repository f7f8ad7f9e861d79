"""Ways to lay example and query out on the canvas, to be compared with the pipeline's own.

Frames as in :mod:`core.canvas.stitch`: ``_canvas``, ``_tile``, ``_work``; all of one ground size.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
from affine import Affine
from rasterio.features import rasterize
from shapely import Polygon
from shapely.affinity import affine_transform

from core.canvas.example import Example, cut_crops
from core.canvas.stitch import FILL, Canvas, Copy, Crop, ring_around, stitch
from core.canvas.tiling import Grid, Tile
from core.geo.raster import Stretch

HALF = 512  # canvas pixels: side of the lecture's halves

# (x_work, y_work, width, height) -> image, valid
Read = Callable[[int, int, int, int], tuple[np.ndarray, np.ndarray]]


class Column:
    """The pipeline's own: a column of turned copies of the example beside the query tile."""

    name = "column"

    def crops(self, example: Example, resolution: float, stretch: Stretch | None) -> list[Crop]:
        """The example's crops at ``resolution`` metres per canvas pixel."""
        return cut_crops(example, resolution, stretch)

    def grid(self, width_work: int, height_work: int, crops: list[Crop], example_px: float) -> Grid:
        """The tiles of a raster of this size; the example is ``example_px`` canvas pixels long."""
        return Grid(width_work, height_work, crops[0].image.shape[0], example_px)

    def canvas(self, crops: list[Crop], read: Read, grid: Grid, tile: Tile) -> Canvas | None:
        """One stitched canvas; None where the tile holds no data."""
        image, valid = read(tile.x_work, tile.y_work, grid.tile_width, grid.tile_height)
        return stitch(crops, image, valid) if valid.any() else None


class Corner(Column):
    """The example stamped once into the corner of a wider tile.

    The tile begins one crop further left than the column's tile does; there
    the query's own surroundings are seen, with the example over their corner.
    Both layouts answer for the same cells, so only what SAM sees differs.
    """

    name = "corner"

    def canvas(self, crops: list[Crop], read: Read, grid: Grid, tile: Tile) -> Canvas | None:
        """One stitched canvas; None where the tile holds no data."""
        crop, side = crops[0], crops[0].image.shape[0]
        width, height = side + grid.tile_width, grid.tile_height
        image, valid = read(tile.x_work - side, tile.y_work, width, height)
        if not valid[:, side:].any():
            return None
        query = valid.copy()
        query[:, :side] = False
        image = np.where(valid[..., None], image, np.uint8(FILL))
        image[:side, :side] = np.where(crop.valid[..., None], crop.image, np.uint8(FILL))
        return _with_example(image, query, crop, ring_around(crop.mask) & crop.valid)


@dataclasses.dataclass(frozen=True)
class HalvesGrid(Grid):
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

    def crops(self, example: Example, resolution: float, stretch: Stretch | None) -> list[Crop]:
        """One crop with the example in the middle of its real surroundings."""
        work_from_px = (~example.raster.px_from_work(resolution)).to_shapely()
        polygon = affine_transform(example.polygons_px[0], work_from_px)
        x0, y0, x1, y1 = polygon.bounds
        left, top = round((x0 + x1 - HALF) / 2), round((y0 + y1 - HALF) / 2)
        image, valid = example.raster.read(left, top, HALF, HALF, resolution, stretch)
        return [Crop(image, self._mask(polygon, work_from_px, left, top), valid)]

    def _mask(self, polygon_work: Polygon, work_from_px: list[float], left: int, top: int) -> np.ndarray:
        return _burn([polygon_work], left, top)

    def grid(self, width_work: int, height_work: int, crops: list[Crop], example_px: float) -> Grid:
        """Tiles of one half each."""
        return HalvesGrid(width_work, height_work, HALF, example_px)

    def canvas(self, crops: list[Crop], read: Read, grid: Grid, tile: Tile) -> Canvas | None:
        """One stitched canvas of 512 x 1024; None where the tile holds no data."""
        crop = crops[0]
        image, valid = read(tile.x_work, tile.y_work, HALF, HALF)
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

    def _mask(self, polygon_work: Polygon, work_from_px: list[float], left: int, top: int) -> np.ndarray:
        return _burn([affine_transform(each, work_from_px) for each in self.objects_px], left, top)

    def _negatives(self, crop: Crop) -> np.ndarray:
        return ~crop.mask & crop.valid


LAYOUTS = {layout.name: layout for layout in (Column(), Halves(), Corner())}


def _burn(polygons_work: list[Polygon], left: int, top: int) -> np.ndarray:
    """Mask of the polygons on a half whose corner is at this working pixel."""
    return rasterize(polygons_work, (HALF, HALF), transform=Affine.translation(left, top)).astype(bool)


def _with_example(image: np.ndarray, query: np.ndarray, crop: Crop, negatives: np.ndarray) -> Canvas:
    """A canvas whose upper left corner is the example's crop, once."""
    side = crop.image.shape[0]
    example = np.zeros(image.shape[:2], bool)
    ring = example.copy()
    example[:side, :side], ring[:side, :side] = crop.mask, negatives
    copy = Copy(0, Affine.identity())
    return Canvas(image, example, ring, query, (copy,), Affine.translation(side, 0))
