"""Pictures of a case, or of single errors: the image with the truth and what was found outlined on it.

Drawn with rasterio alone, which the engine needs anyway.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import geopandas as gpd
import numpy as np
import rasterio
import shapely
from affine import Affine
from rasterio.errors import NotGeoreferencedWarning
from rasterio.features import rasterize
from scipy import ndimage
from shapely.affinity import affine_transform

from core.geo.raster import Raster
from core.geo.work_grid import WorkGrid

LONGER_SIDE = 1000  # pixels of a case's picture
TILE_SIDE, TILE_GAP = 240, 6  # pixels of one error in a strip, and between two
AROUND = 0.8  # of an error's longer side, shown on each side of it
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
    work_from_map, image = _read(raster, extent_map, LONGER_SIDE)
    _outline(image, work_from_map, ((truth, TRUTH, 1), (found, FOUND, 1), (example, EXAMPLE, 2)))
    _write(path, image)


class Shown(NamedTuple):
    """One error and what is drawn around it."""

    raster_path: str
    shape_map: shapely.Geometry
    truth: gpd.GeoDataFrame
    found: gpd.GeoDataFrame


def draw_strip(path: Path, errors: Sequence[Shown]) -> None:
    """Write a PNG of errors side by side, each in the middle of its tile: truth green, found magenta."""
    strip = np.full((TILE_SIDE, len(errors) * (TILE_SIDE + TILE_GAP) - TILE_GAP, 3), 255, np.uint8)
    for number, error in enumerate(errors):
        xmin, ymin, xmax, ymax = error.shape_map.bounds
        half = (0.5 + AROUND) * max(xmax - xmin, ymax - ymin)
        x, y = (xmin + xmax) / 2, (ymin + ymax) / 2
        with Raster(error.raster_path) as raster:
            square_map = (x - half, y - half, x + half, y + half)
            work_from_map, image = _read(raster, square_map, TILE_SIDE, enlarge=True)
        _outline(image, work_from_map, ((error.truth, TRUTH, 1), (error.found, FOUND, 1)))
        tile = image[:TILE_SIDE, :TILE_SIDE]
        left = number * (TILE_SIDE + TILE_GAP)
        strip[: tile.shape[0], left : left + tile.shape[1]] = tile
    _write(path, strip)


def _write(path: Path, image: np.ndarray) -> None:
    profile = {
        "driver": "PNG",
        "width": image.shape[1],
        "height": image.shape[0],
        "count": 3,
        "dtype": "uint8",
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "w", **profile) as picture:
            picture.write(image.transpose(2, 0, 1))
    path.with_name(path.name + ".aux.xml").unlink(missing_ok=True)


def _read(
    raster: Raster, extent_map: tuple[float, float, float, float], longer_side: int, enlarge: bool = False
) -> tuple[Affine, np.ndarray]:
    """Map from the CRS to picture pixels, and the picture, no finer than the raster unless enlarged."""
    xmin, ymin, xmax, ymax = extent_map
    extent_px = affine_transform(shapely.box(xmin, ymin, xmax, ymax), (~raster.map_from_px).to_shapely())
    along_x, along_y = raster.metres_per_pixel
    x0, y0, x1, y1 = extent_px.bounds
    longer = max((x1 - x0) * along_x, (y1 - y0) * along_y)
    resolution = longer / longer_side if enlarge else max(longer / longer_side, min(along_x, along_y))
    grid = WorkGrid(raster, resolution)
    left, top, right, bottom = grid.to_work(shapely.box(xmin, ymin, xmax, ymax)).bounds
    corner = (round(left), round(top))
    size = (max(1, round(right) - corner[0]), max(1, round(bottom) - corner[1]))
    image, _ = grid.read(*corner, *size)
    return Affine.translation(-corner[0], -corner[1]) @ ~grid.map_from_work, image.copy()


def _outline(
    image: np.ndarray,
    work_from_map: Affine,
    drawn: Sequence[tuple[gpd.GeoDataFrame, tuple[int, int, int], int]],
) -> None:
    """Draw outlines onto a picture: tables, each with its colour and its lines' breadth."""
    for table, colour, thick in drawn:
        lines = [affine_transform(g, work_from_map.to_shapely()).boundary for g in table.geometry]
        lines = [line for line in lines if not line.is_empty]
        if lines:
            where = rasterize(lines, image.shape[:2], all_touched=True).astype(bool)
            image[ndimage.binary_dilation(where, iterations=thick) if thick > 1 else where] = colour
