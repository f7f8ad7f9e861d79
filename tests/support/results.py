"""Results of a run for tests: layers and masks whose number says which run they are of."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import rasterio
from affine import Affine
from shapely.geometry import box

MASK = {"dtype": "uint8", "width": 300, "height": 300, "crs": "EPSG:32633", "transform": Affine.scale(2)}


def squares(count):
    """A layer of so many squares."""
    shapes = [box(500000 + i, 0, 500001 + i, 1) for i in range(count)]
    return gpd.GeoDataFrame({"n": range(count)}, geometry=shapes, crs="EPSG:32633")


def count(path):
    """The number of shapes in a file."""
    return len(gpd.read_parquet(path) if path.suffix == ".parquet" else gpd.read_file(path))


def value(path):
    """The one value of a mask."""
    with rasterio.open(path) as raster:
        return int(np.unique(raster.read(1)).item())


def left_behind(folder):
    """Names of drafts in a folder."""
    return [path.name for path in folder.rglob(".exemplar*")]
