"""The extent that was asked for, on the raster."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import shapely

from core.errors import InputError
from core.geo.raster import Raster


def check_extent(extent_map: Sequence[float]) -> None:
    """Raise ``InputError`` where an extent is none."""
    if len(extent_map) != 4 or not np.isfinite(extent_map).all():
        raise InputError("The extent must be four numbers: XMIN YMIN XMAX YMAX.")
    xmin, ymin, xmax, ymax = extent_map
    if xmin >= xmax or ymin >= ymax:
        raise InputError("The extent is empty. Give it as XMIN YMIN XMAX YMAX, in the raster's CRS.")


def asked_extent(extent_map: Sequence[float] | None, raster: Raster) -> shapely.Polygon:
    """The part of the asked extent that lies on the raster, in map coordinates.

    Parameters
    ----------
    extent_map : sequence of float, optional
        xmin, ymin, xmax, ymax in the raster's CRS; None: the whole raster.

    Raises
    ------
    InputError
        Where it is no extent, or none of the raster lies in it.
    """
    if extent_map is None:
        return shapely.box(*raster.bounds_map)
    check_extent(extent_map)
    extent = shapely.box(*extent_map).intersection(shapely.box(*raster.bounds_map))
    # of a turned raster's box, the corners hold nothing
    corners = [(0, 0), (raster.width, 0), (raster.width, raster.height), (0, raster.height)]
    image = shapely.Polygon([raster.map_from_px @ corner for corner in corners])
    if extent.intersection(image).area == 0:
        raise InputError(f"The extent lies outside the raster {raster.path}. Zoom to the raster first.")
    return extent
