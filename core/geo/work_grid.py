"""The working grid of a raster: square pixels of a chosen ground length on the raster's own origin and axes.

Frames: ``_px`` the raster's own pixels; ``_work`` pixels of the working grid; ``_map`` the
raster's CRS. Pixel ``i`` of any of them spans ``[i, i + 1)``. All conversions between the
three are made here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import rasterio.features
import shapely
from affine import Affine
from rasterio.windows import Window
from scipy import ndimage
from shapely.affinity import affine_transform

from core.geo.raster import Raster, Stretch

SPECK = 64  # working pixels: smaller patches of nodata are noise (white roofs), not missing image

AnyGeometry = TypeVar("AnyGeometry", bound=shapely.Geometry)
Number = TypeVar("Number", int, float)


class WorkGrid:
    """A raster seen at a working resolution.

    Parameters
    ----------
    raster : Raster
        Open for reading.
    resolution : float
        Ground metres per working pixel.

    Attributes
    ----------
    px_from_work, map_from_work : Affine
        From working pixels to the raster's pixels and to map coordinates.
    width, height : int
        Size of the raster in working pixels, a part of a pixel counting as one.

    Examples
    --------
    >>> with Raster("resources/sample/town.tif") as raster:
    ...     grid = WorkGrid(raster, 0.32)
    ...     image, valid = grid.read(0, 0, 64, 48)
    >>> grid.width, grid.height, image.shape
    (768, 768, (48, 64, 3))
    """

    def __init__(self, raster: Raster, resolution: float):
        self.raster, self.resolution = raster, resolution
        along_x, along_y = raster.metres_per_pixel
        self.px_from_work = Affine.scale(resolution / along_x, resolution / along_y)
        self.map_from_work = raster.map_from_px @ self.px_from_work
        self.width, self.height = self.size(math.ceil)

    def size(self, whole: Callable[[float], Number] = math.floor) -> tuple[Number, Number]:
        """Width and height of the raster in working pixels; by default only whole ones count."""
        x, y = ~self.px_from_work @ (self.raster.width, self.raster.height)
        return whole(round(x, 6)), whole(round(y, 6))

    def to_work(self, geometry_map: AnyGeometry) -> AnyGeometry:
        """Convert a geometry from map coordinates to working pixels."""
        return affine_transform(geometry_map, (~self.map_from_work).to_shapely())

    def to_map(self, geometry_work: AnyGeometry) -> AnyGeometry:
        """Convert a geometry from working pixels to map coordinates."""
        return affine_transform(geometry_work, self.map_from_work.to_shapely())

    def work_from_px(self, geometry_px: AnyGeometry) -> AnyGeometry:
        """Convert a geometry from the raster's own pixels to working pixels."""
        return affine_transform(geometry_px, (~self.px_from_work).to_shapely())

    def read(
        self, x_work: int, y_work: int, width: int, height: int, stretch: Stretch | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Read a box of the grid as bytes; what lies outside the raster is not valid.

        Parameters
        ----------
        x_work, y_work, width, height : int
            The box in working pixels.
        stretch : Stretch, optional
            Stretch of another raster to show this one with. Default: its own.

        Returns
        -------
        image : ndarray of uint8, shape (height, width, 3)
        valid : ndarray of bool, shape (height, width)

        Raises
        ------
        InputError
            Where the raster's file can't be read.
        """
        image = np.zeros((height, width, 3), np.uint8)
        valid = np.zeros((height, width), bool)
        # A part of a working pixel at the far border is left out: rasterio would cut the window
        # to the raster and squeeze all of it by that part.
        across, down = self.size()
        x0, y0 = max(x_work, 0), max(y_work, 0)
        x1, y1 = min(x_work + width, across), min(y_work + height, down)
        if x0 >= x1 or y0 >= y1:
            return image, valid
        scale = self.px_from_work
        window = Window(x0 * scale.a, y0 * scale.e, (x1 - x0) * scale.a, (y1 - y0) * scale.e)
        inside = np.s_[y0 - y_work : y1 - y_work, x0 - x_work : x1 - x_work]
        image[inside], mask = self.raster.read_window(window, (y1 - y0, x1 - x0), stretch)
        valid[inside] = _without_specks(mask)
        return image, valid

    def rasterize(
        self, polygons_work: list[shapely.Polygon], x_work: int, y_work: int, shape: tuple[int, int]
    ) -> np.ndarray:
        """Burn numbered polygons into a box of the grid.

        Parameters
        ----------
        polygons_work : list of Polygon
        x_work, y_work : int
            Working pixel of the box's upper left corner.
        shape : tuple of int
            Height and width of the box.

        Returns
        -------
        ndarray of int32, shape (height, width)
            The polygon's number, from 1; 0 where there is none.
        """
        if not polygons_work:
            return np.zeros(shape, np.int32)
        numbered = [(polygon, number) for number, polygon in enumerate(polygons_work, start=1)]
        corner = Affine.translation(x_work, y_work)
        return rasterio.features.rasterize(numbered, shape, transform=corner, dtype="int32")


def _without_specks(valid: np.ndarray) -> np.ndarray:
    """Count small patches of nodata as image: they are specks in bright roofs, mostly."""
    if valid.all():
        return valid
    labels, _ = ndimage.label(~valid)
    sizes = np.bincount(labels.ravel())
    small = sizes <= SPECK
    small[0] = False
    return valid | small[labels]
