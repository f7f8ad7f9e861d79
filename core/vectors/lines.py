"""From thinned edges to lines: chains of neighbouring pixels as LineStrings with their strength and length.

Frames: ``_work`` pixels of the working grid; ``_map`` the raster's CRS.
"""

from __future__ import annotations

import datetime

import geopandas as gpd
import numpy as np
import shapely

from core.edges.thinning import Crests
from core.geo import units
from core.geo.work_grid import WorkGrid

COLUMNS = ("id", "strength", "length_m", "model", "created")
SIMPLIFY_WORK = 0.5  # working pixels: lines move by no more
LEAST_PIXELS = 8  # of a line; shorter ones are specks and the spurs of thinning


def trace(found: Crests) -> tuple[list[shapely.LineString], list[float]]:
    """Join neighbouring pixels to lines, which end or part where three or more meet.

    Parameters
    ----------
    found : Crests
        In working pixels, each pixel once.

    Returns
    -------
    lines_work : list of LineString
        Along the crests, simplified by half a pixel at most.
    strength : list of float
        Mean over each line's pixels.
    """
    order = np.lexsort((found.columns, found.rows))
    rows, columns = found.rows[order].astype(np.int64), found.columns[order].astype(np.int64)
    if not len(rows):
        return [], []
    pitch = int(columns.max() - columns.min()) + 3
    keys = rows * pitch + columns
    links = _links(keys, pitch)
    pixels = np.stack([columns, rows], axis=-1)
    pairs = shapely.linestrings(pixels[links].astype(float))
    crest = np.stack([found.x, found.y], axis=-1)[order]
    strength = found.strength[order]
    lines, means = [], []
    for part in shapely.get_parts(shapely.line_merge(shapely.multilinestrings(pairs))):
        x, y = shapely.get_coordinates(part).astype(np.int64).T
        if len(x) < LEAST_PIXELS:
            continue
        along = np.searchsorted(keys, y * pitch + x)
        lines.append(shapely.simplify(shapely.linestrings(crest[along]), SIMPLIFY_WORK))
        means.append(float(strength[along].mean()))
    return lines, means


def _links(keys: np.ndarray, pitch: int) -> np.ndarray:
    """Pairs of neighbouring pixels, shape (n, 2), as indices into the sorted keys.

    Two pixels that touch by a corner are no pair where a third touches both by
    an edge: it is the way from one to the other.
    """

    def there(wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        return keys[place] == wanted, place

    pairs = []
    for step, between in ((1, ()), (pitch, ()), (pitch + 1, (1, pitch)), (pitch - 1, (-1, pitch))):
        is_there, other = there(keys + step)
        for corner in between:
            is_there &= ~there(keys + corner)[0]
        pairs.append(np.stack([np.flatnonzero(is_there), other[is_there]], axis=-1))
    return np.concatenate(pairs)


def to_table(
    lines_work: list[shapely.LineString],
    strength: list[float],
    work_grid: WorkGrid,
    model: str,
) -> gpd.GeoDataFrame:
    """Lines with the columns of ``COLUMNS``, the strongest first; lengths are true metres."""
    lines_map = [work_grid.to_map(line) for line in lines_work]
    crs = work_grid.raster.crs
    table = gpd.GeoDataFrame(
        {
            "strength": np.array(strength, float),
            "length_m": np.array([units.length_m(line, crs) for line in lines_map], float),
        },
        geometry=lines_map,
        crs=crs,
    )
    bounds = table.bounds
    table = table.iloc[np.lexsort((bounds["miny"], bounds["minx"], -table["strength"]))].reset_index(
        drop=True
    )
    table["id"] = np.arange(1, len(table) + 1)
    table["model"] = model
    table["created"] = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    return table[[*COLUMNS, "geometry"]]
