"""Pictures of a case: the image with the truth, what was found and the example outlined on it.

Drawn with rasterio alone, which the engine needs anyway.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import geopandas as gpd
import numpy as np
import rasterio
import shapely
from affine import Affine
from rasterio.errors import NotGeoreferencedWarning
from rasterio.features import rasterize
from scipy import ndimage
from shapely.affinity import affine_transform

from core.raster import Raster

LONGER_SIDE = 1000  # pixels of the picture
TRUTH, FOUND, EXAMPLE = (60, 235, 60), (255, 0, 190), (255, 230, 0)  # green, magenta, yellow


def draw_case(
    path: Path,
    raster: Raster,
    extent_map: tuple[float, float, float, float],
    truth: gpd.GeoDataFrame,
    found: gpd.GeoDataFrame,
    example: gpd.GeoDataFrame,
) -> None:
    """Write a PNG: truth green, found magenta, the example yellow.

    Parameters
    ----------
    extent_map : tuple of float
        xmin, ymin, xmax, ymax of the picture in the raster's CRS.
    """
    work_from_map, size, image = _read(raster, extent_map)
    for table, colour, thick in ((truth, TRUTH, 1), (found, FOUND, 1), (example, EXAMPLE, 2)):
        image[_outlines(table, work_from_map, size, thick)] = colour
    profile = {"driver": "PNG", "width": size[0], "height": size[1], "count": 3, "dtype": "uint8"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "w", **profile) as picture:
            picture.write(image.transpose(2, 0, 1))
    path.with_name(path.name + ".aux.xml").unlink(missing_ok=True)


def _read(raster: Raster, extent_map) -> tuple[Affine, tuple[int, int], np.ndarray]:
    """Map from the CRS to picture pixels, the picture's size, and its pixels."""
    xmin, ymin, xmax, ymax = extent_map
    extent_px = affine_transform(shapely.box(xmin, ymin, xmax, ymax), (~raster.map_from_px).to_shapely())
    along_x, along_y = raster.metres_per_pixel
    x0, y0, x1, y1 = extent_px.bounds
    longer = max((x1 - x0) * along_x, (y1 - y0) * along_y)
    resolution = max(longer / LONGER_SIDE, min(along_x, along_y))
    work_from_map = ~raster.map_from_work(resolution)
    left, top, right, bottom = affine_transform(
        shapely.box(xmin, ymin, xmax, ymax), work_from_map.to_shapely()
    ).bounds
    corner = (round(left), round(top))
    size = (max(1, round(right) - corner[0]), max(1, round(bottom) - corner[1]))
    image, _ = raster.read(*corner, *size, resolution)
    return Affine.translation(-corner[0], -corner[1]) * work_from_map, size, image.copy()


def _outlines(
    table: gpd.GeoDataFrame, work_from_map: Affine, size: tuple[int, int], thick: int
) -> np.ndarray:
    lines = [affine_transform(g, work_from_map.to_shapely()).boundary for g in table.geometry]
    lines = [line for line in lines if not line.is_empty]
    drawn = np.zeros((size[1], size[0]), bool)
    if lines:
        drawn = rasterize(lines, drawn.shape, all_touched=True).astype(bool)
    return ndimage.binary_dilation(drawn, iterations=thick) if thick > 1 else drawn
