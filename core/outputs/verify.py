"""Read back what was written: on a full disk GDAL loses a file's end when it closes it, and tells nobody."""

from __future__ import annotations

import sqlite3
import warnings
from contextlib import closing
from pathlib import Path

import geopandas as gpd
import numpy as np
import rasterio
import shapely
from rasterio.errors import RasterioError

from core.errors import InputError
from core.geo.vector import read_vector

TOLERANCE = 1e-3  # of the area or length of all shapes: a format may round coordinates


def check_table(table: gpd.GeoDataFrame, draft: Path, path: Path) -> None:
    """Raise ``InputError`` where a file does not hold the table.

    Parameters
    ----------
    table : GeoDataFrame
    draft : Path
        Where it was written.
    path : Path
        Where it is to go, for the sentence.
    """
    if not _holds(draft, table):
        raise _broken(path)


def check_raster(draft: Path, path: Path) -> None:
    """Raise ``InputError`` where a block of a raster can't be read; the paths as :func:`check_table`'s."""
    try:
        with rasterio.open(draft) as written:
            for (row, column), window in written.block_windows(1):
                # a block without a place in the file is read as zeros, without a word
                if written.get_tag_item(f"BLOCK_OFFSET_{column}_{row}", "TIFF", 1) is None:
                    raise _broken(path)
                written.read(1, window=window)
    except (RasterioError, OSError) as error:
        raise _broken(path) from error


def _holds(draft: Path, table: gpd.GeoDataFrame) -> bool:
    try:
        if draft.suffix.lower() == ".gpkg" and not _is_sound(draft):
            return False
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is wrong with it is told below
            back = read_vector(draft)
    except (InputError, sqlite3.Error, OSError):
        return False
    if len(back) != len(table):
        return False
    if len(table) == 0:
        return True
    shapes, wanted = back.geometry.to_numpy(), table.geometry.to_numpy()
    sizes = ((measure(shapes).sum(), measure(wanted).sum()) for measure in (shapely.area, shapely.length))
    named = [name for name in table.columns if name in back and name != table.geometry.name]
    return (
        not shapely.is_missing(shapes).any()
        and all(np.isclose(found, given, rtol=TOLERANCE) for found, given in sizes)
        and all(back[name].isna().sum() == table[name].isna().sum() for name in named)
    )


def _is_sound(geopackage: Path) -> bool:
    """Whether a database is whole, its index too, which nobody touches who reads all rows."""
    with closing(sqlite3.connect(geopackage)) as database:
        return database.execute("PRAGMA quick_check(1)").fetchone() == ("ok",)


def _broken(path: Path) -> InputError:
    return InputError(f"{path} could not be written whole. Is the disk full? Make room, or choose another.")
