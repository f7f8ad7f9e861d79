"""Example polygons for a benchmark: chosen by a seed, never by hand."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import shapely
from rasterio.features import shapes
from shapely import Polygon
from shapely.affinity import affine_transform

from core.geo.raster import Raster
from core.geo.work_grid import WorkGrid
from core.sam.geometry import LOGIT_STRIDE
from core.sam.segmenter import Segmenter

LEAST_SHARE_OF_MEDIAN = 0.5  # smaller objects are no typical examples: nobody would draw them
LEAST_FILL = 1 / 3  # of a box by the model's mask, or another box is drawn
VIEW = 192  # canvas pixels that a box's longer side spans where the model outlines it


def drawn_order(
    truth: gpd.GeoDataFrame, extent_map: tuple[float, float, float, float], seed: int
) -> list[int]:
    """Rows of the truth in the seed's order: whole objects in the extent, at least half the median size."""
    inside = shapely.contains_properly(shapely.box(*extent_map), truth.geometry.to_numpy())
    area = truth.geometry.area.to_numpy()
    if not inside.any():
        return []
    rows = np.flatnonzero(inside & (area >= LEAST_SHARE_OF_MEDIAN * np.median(area)))
    return list(np.random.default_rng(seed).permutation(rows))


def write_examples(
    raster: Raster,
    truth: gpd.GeoDataFrame,
    extent_map: tuple[float, float, float, float],
    folder: Path,
    *,
    count: int,
    seed: int,
    outliner: Segmenter | None = None,
) -> list[Path]:
    """Write up to ``count`` example files for one raster, in the seed's order.

    Parameters
    ----------
    outliner : Segmenter, optional
        Where the truth is boxes: the model that outlines the object in the box.
        A box that it does not fill is passed over.
    """
    files: list[Path] = []
    for row in drawn_order(truth, extent_map, seed):
        polygon = truth.geometry.iloc[row]
        if outliner is not None:
            polygon = outline_in_box(polygon, raster, outliner)
        if polygon is None or shapely.get_num_geometries(polygon) != 1:
            continue
        files.append(folder / f"{Path(raster.path).stem}_{row}.geojson")
        gpd.GeoSeries([polygon], crs=truth.crs).to_file(files[-1], driver="GeoJSON")
        if len(files) == count:
            break
    return files


def outline_in_box(box_map: Polygon, raster: Raster, segmenter: Segmenter) -> Polygon | None:
    """The model's own outline of the object in a box; None where it fills too little of the box."""
    x0, y0, x1, y1 = affine_transform(box_map, (~raster.map_from_px).to_shapely()).bounds
    resolution = max(max(x1 - x0, y1 - y0) / VIEW, 0.25) * min(raster.metres_per_pixel)
    grid = WorkGrid(raster, resolution)
    box_work = grid.to_work(box_map)
    centre, half = box_work.centroid, 256
    left, top = round(centre.x) - half, round(centre.y) - half
    image, _ = grid.read(left, top, 2 * half, 2 * half)
    box_canvas = np.array([box_work.bounds]) - [left, top, left, top]
    decoded = segmenter.decode(
        segmenter.encode(image), np.zeros((1, 0, 2)), np.zeros((1, 0)), boxes_canvas=box_canvas
    )
    found = (decoded.logits[0, 0] > 0).astype(np.uint8)
    outlines = [Polygon(g["coordinates"][0]) for g, value in shapes(found, mask=found > 0)]
    if not outlines:
        return None
    largest = max(outlines, key=lambda outline: outline.area)
    outline_work = shapely.transform(largest, lambda xy: xy * LOGIT_STRIDE + [left, top])
    outline = shapely.make_valid(outline_work).intersection(box_work)
    if outline.geom_type != "Polygon" or outline.area < LEAST_FILL * box_work.area:
        return None
    return grid.to_map(outline)
