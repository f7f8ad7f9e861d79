"""A raster of any number of tiles, made here: pale squares on dark ground, nothing of value in it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from rasterio.windows import Window

from core.canvas.stitch import crop_side
from core.canvas.tiling import Tiling
from core.sam.geometry import SIDE

RESOLUTION = 0.2  # metres
OBJECT, PITCH = 112, 384  # pixels: a square, and from one square to the next
CRS = "EPSG:32633"
LEFT, TOP = 500_000.0, 5_400_000.0  # metres
AT = 64  # pixels: the first square's corner, and the example


def write_raster(folder: Path, columns: int, rows: int) -> tuple[Path, Path]:
    """Write a raster that takes ``columns`` x ``rows`` tiles, and its example.

    Returns
    -------
    raster, example : Path
    """
    grid = Tiling(10**9, 10**9, crop_side(OBJECT), OBJECT)
    strides = grid.tile_width - grid.overlap, grid.tile_height - grid.overlap
    width, height = (
        number * stride + grid.overlap for number, stride in zip((columns, rows), strides, strict=True)
    )
    path = folder / f"squares_{columns}x{rows}.tif"
    rng = np.random.default_rng(0)
    profile = {"driver": "GTiff", "count": 3, "width": width, "height": height, "dtype": "uint8"}
    profile |= {"tiled": True, "blockxsize": 512, "blockysize": 512, "crs": CRS}
    transform = Affine(RESOLUTION, 0, LEFT, 0, -RESOLUTION, TOP)
    with rasterio.open(path, "w", transform=transform, BIGTIFF="IF_SAFER", **profile) as raster:
        for top in range(0, height, SIDE):  # strip by strip: the maker's memory is small too
            strip = min(SIDE, height - top)
            pixels = rng.integers(60, 90, (3, strip, width), np.uint8)
            y, x = np.mgrid[top : top + strip, 0:width]
            inside = ((y - AT) % PITCH < OBJECT) & ((x - AT) % PITCH < OBJECT) & (y >= AT) & (x >= AT)
            pixels[:, inside] = np.uint8(200)
            raster.write(pixels, window=Window(0, top, width, strip))
    x0, y0 = LEFT + AT * RESOLUTION, TOP - AT * RESOLUTION
    x1, y1 = x0 + OBJECT * RESOLUTION, y0 - OBJECT * RESOLUTION
    ring = [[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]]
    feature = {"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": [ring]}}
    crs = {"type": "name", "properties": {"name": f"urn:ogc:def:crs:{CRS.replace(':', '::')}"}}
    example = folder / "square.geojson"
    example.write_text(json.dumps({"type": "FeatureCollection", "crs": crs, "features": [feature]}))
    return path, example
