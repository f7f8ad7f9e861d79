"""From whole objects to detections: outlines with their measured attributes."""

from __future__ import annotations

from collections.abc import Callable

import geopandas as gpd
import numpy as np
from shapely import Polygon
from shapely.affinity import affine_transform

from core.geo import units
from core.geo.work_grid import WorkGrid
from core.vectors import contour
from core.vectors.polygonize import Piece

SIMPLIFY_WORK = 0.5  # working pixels: outlines move by no more from the half-level contour

Redraw = Callable[[Polygon, Polygon], Polygon]  # an outline and the mask's own polygon

COLUMNS = (
    "id",
    "target",
    "score",
    "iou_pred",
    "stability",
    "similarity",
    "area_m2",
    "length_m",
    "width_m",
    "angle_deg",
    "strategy",
    "model",
    "created",
)


def filled(polygon: Polygon, largest_hole: float) -> Polygon:
    """Fill holes up to an area, in the polygon's own units."""
    holes = [ring for ring in polygon.interiors if Polygon(ring).area > largest_hole]
    return Polygon(polygon.exterior, holes)


def redrawn(outline_work: Polygon, mask_work: Polygon, work_grid: WorkGrid, redraw: Redraw) -> Polygon:
    """Redraw an outline in a plane of true angles; in working pixels again."""
    middle_work = mask_work.centroid.coords[0]
    plane_from_work = units.plane_from_px(work_grid.raster.crs, work_grid.map_from_work, *middle_work)
    there, back = plane_from_work.to_shapely(), (~plane_from_work).to_shapely()
    drawn = redraw(affine_transform(outline_work, there), affine_transform(mask_work, there))
    return affine_transform(drawn, back)


def to_table(
    pieces: list[Piece],
    work_grid: WorkGrid,
    *,
    largest_hole: float,
    redraw: Redraw | None = None,
) -> gpd.GeoDataFrame:
    """Make detections with their measured attributes, best score first.

    Parameters
    ----------
    pieces : list of Piece
        Whole objects, as :func:`merge` gives them.
    work_grid : WorkGrid
    largest_hole : float
        Holes up to this area in working pixels are filled.
    redraw : callable, optional
        Gives the outline that is written and measured, from the one that would be
        and the mask's polygon, both in a plane of true angles whose unit is a pixel.

    Returns
    -------
    GeoDataFrame
        The columns of ``COLUMNS`` but ``target``, ``strategy``, ``model`` and ``created``.
    """
    crs = work_grid.raster.crs
    rows, geometries = [], []
    for piece in pieces:
        outline = filled(piece.polygon_work, largest_hole)
        simpler = contour.half_level(outline).simplify(SIMPLIFY_WORK, preserve_topology=True)
        if not simpler.is_valid or simpler.is_empty:
            simpler = outline
        if redraw is not None:
            simpler = redrawn(simpler, outline, work_grid, redraw)
        polygon_map = work_grid.to_map(simpler)
        if not polygon_map.is_valid or polygon_map.is_empty:
            polygon_map = work_grid.to_map(outline)
        length_m, width_m, angle_deg = units.rectangle(polygon_map, crs)
        geometries.append(polygon_map)
        rows.append(
            {
                "score": piece.score_sum / piece.pixels,
                "iou_pred": piece.iou_pred_sum / piece.pixels,
                "stability": piece.stable / piece.pixels,
                "similarity": piece.similarity_sum / piece.pixels,
                "area_m2": units.area_m2(polygon_map, crs),
                "length_m": length_m,
                "width_m": width_m,
                "angle_deg": angle_deg,
            }
        )
    measured = [name for name in COLUMNS if not rows or name in rows[0]]
    table = gpd.GeoDataFrame(rows, columns=measured if rows else None, geometry=geometries, crs=crs)
    if not rows:
        for name in COLUMNS[2:10]:
            table[name] = np.empty(0, float)
    # Ties are broken by place, so that the order does not depend on the order of tiles.
    bounds = table.bounds
    order = np.lexsort((bounds["miny"], bounds["minx"], -table["score"]))
    return table.iloc[order].reset_index(drop=True)
