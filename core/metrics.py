"""The yardstick: detections against the truth, by area and by object."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import geopandas as gpd
import numpy as np
import shapely
from pyproj.exceptions import ProjError

from core.errors import InputError
from core.geo.extent import check_extent
from core.geo.validity import made_valid
from core.geo.vector import read_vector
from core.protocol import EvaluateRequest

FARTHEST_DEGREE = 400.0  # of a whole turn, in grads; beyond it a coordinate is no longitude


def read_polygons(path: str | Path, target: str | None = None) -> gpd.GeoDataFrame:
    """Read a layer of polygons; with ``target``, those of that target only where it has such a column.

    Raises
    ------
    InputError
        Where there is no such file, it holds shapes other than polygons only, or none of that target.
    """
    table = read_vector(path, columns=("target", "score"))
    if "geometry" not in table:
        raise InputError(f"{path} holds no polygons.")
    shapes = table.geometry.to_numpy()
    table = table[~(shapely.is_missing(shapes) | shapely.is_empty(shapes))]
    if len(table) and shapely.get_dimensions(table.geometry.to_numpy()).max() < 2:
        raise InputError(f"{path} holds points or lines, but no polygons.")
    if target is not None and "target" in table:
        named = sorted({str(value) for value in table["target"].dropna()})
        table = table[table["target"] == target]
        if named and len(table) == 0:
            raise InputError(f"{path} has no target {target!r}. Choose one that it has: {', '.join(named)}.")
    table.geometry = [made_valid(shape, path) for shape in table.geometry]
    return table.reset_index(drop=True)


def evaluate_files(request: EvaluateRequest) -> dict[str, float | int]:
    """Evaluate one file against another, as the command line and Processing do."""
    request.check()
    if request.extent is not None:
        check_extent(request.extent)
    return evaluate(
        read_polygons(request.detections, request.target),
        read_polygons(request.truth, request.target),
        request.extent,
        request.iou,
        boxes=request.boxes,
    )


class Matching(NamedTuple):
    """Which objects of the truth (T,) are found, and are whole; which detections (F,) hit, or don't count."""

    hit_true: np.ndarray
    whole: np.ndarray
    hit_found: np.ndarray
    ignored: np.ndarray


def evaluate(
    detections: gpd.GeoDataFrame,
    truth: gpd.GeoDataFrame,
    extent_map: Sequence[float] | None = None,
    iou: float = 0.5,
    *,
    boxes: bool = False,
) -> dict[str, float | int]:
    """Compare detections with the truth.

    Parameters
    ----------
    detections, truth : GeoDataFrame
        Polygons; detections are brought to the truth's CRS.
    extent_map : tuple of float, optional
        xmin, ymin, xmax, ymax in the truth's CRS; default: the truth's bounds.
    iou : float
        From this IoU on a detection is an object of the truth.
    boxes : bool
        Compare bounding boxes with bounding boxes.

    Returns
    -------
    dict
        ``iou`` of the unions over the extent; ``precision``, ``recall`` and
        ``f1`` of a one-to-one matching, best IoU first, truth that touches the
        extent's border ignored both ways; ``n_truth``, ``n_detected``,
        ``n_matched``; ``coverage``: the truth's share of the extent, which is
        the IoU of the answer "everything".

    Examples
    --------
    >>> truth = gpd.GeoDataFrame(geometry=[shapely.box(0, 0, 10, 10), shapely.box(20, 0, 30, 10)])
    >>> found = gpd.GeoDataFrame(geometry=[shapely.box(0, 0, 10, 9)])
    >>> figures = evaluate(found, truth, (-5, -5, 35, 15))
    >>> figures["precision"], figures["recall"], figures["iou"]
    (1.0, 0.5, 0.45)
    """
    if detections.crs is not None and truth.crs is not None and detections.crs != truth.crs:
        detections = _in_crs_of(truth, detections)
    if extent_map is None and len(truth) == 0:
        raise InputError("The truth holds no polygons. Give the extent to compare on.")
    extent = shapely.box(*(extent_map if extent_map is not None else truth.total_bounds))
    tables = [table for table in (detections, truth) if len(table)]
    if tables and not any(extent.intersects(shapely.box(*table.total_bounds)) for table in tables):
        raise InputError(
            "Neither detections nor truth lie in the extent, which is in the truth's coordinates."
        )
    found, true = (shapes_on(extent, table, boxes=boxes) for table in (detections, truth))
    found_area = shapely.union_all(found).intersection(extent)
    true_area = shapely.union_all(true).intersection(extent)
    union = found_area.union(true_area).area
    matching = match(found, true, extent, iou)
    matched = int((matching.hit_true & matching.whole).sum())
    n_truth, n_detected = int(matching.whole.sum()), int((~matching.ignored).sum())
    precision = matched / n_detected if n_detected else 0.0
    recall = matched / n_truth if n_truth else 0.0
    return {
        "iou": found_area.intersection(true_area).area / union if union else 0.0,
        "precision": precision,
        "recall": recall,
        "f1": 2 * precision * recall / (precision + recall) if matched else 0.0,
        "n_truth": n_truth,
        "n_detected": n_detected,
        "n_matched": matched,
        "coverage": true_area.area / extent.area if extent.area else 0.0,
    }


def _in_crs_of(truth: gpd.GeoDataFrame, detections: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """Detections in the truth's CRS; ``InputError`` where coordinates are not of the CRS that is named."""
    for table, name, other in ((detections, "detections", truth), (truth, "truth", detections)):
        if len(table) == 0:
            continue
        if not (table.crs.is_geographic and np.abs(table.total_bounds).max() > FARTHEST_DEGREE):
            continue
        alike = len(other) and shapely.box(*table.total_bounds).intersects(shapely.box(*other.total_bounds))
        remedy = f"They fit that of the other file, {other.crs.name}: set" if alike else "Set"
        raise InputError(
            f"The coordinates of the {name} are no degrees, though the layer names {table.crs.name}. "
            f"{remedy} {'it' if alike else 'the right one'} for the layer, and save it again."
        )
    try:
        moved = detections.to_crs(truth.crs)
    except ProjError as error:
        raise InputError(
            "The detections can't be brought to the truth's coordinate reference system. "
            "Save both in the same one."
        ) from error
    if len(moved) and not np.isfinite(moved.total_bounds).all():
        raise InputError(
            f"The coordinates of the detections are not of the coordinate reference system that the layer "
            f"names, {detections.crs.name}. Set the right one for the layer, and save it again."
        )
    return moved


def shapes_on(extent: shapely.Polygon, table: gpd.GeoDataFrame, *, boxes: bool) -> np.ndarray:
    """The polygons of a table that touch the extent, or their bounding boxes."""
    shapes = table.geometry.to_numpy()
    shapes = shapes[shapely.intersects(shapes, extent)]
    return shapely.envelope(shapes) if boxes else shapes


def overlaps(found: np.ndarray, true: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """All pairs that touch: index of the one and of the other, the area they share, their IoU."""
    left, right = shapely.STRtree(true).query(found, predicate="intersects")
    shared = shapely.area(shapely.intersection(found[left], true[right]))
    ious = shared / (shapely.area(found)[left] + shapely.area(true)[right] - shared)
    return left, right, shared, ious


def match(found: np.ndarray, true: np.ndarray, extent: shapely.Polygon, least: float) -> Matching:
    """Match detections with the truth one to one, greedily, best IoU first.

    Parameters
    ----------
    found, true : ndarray of Geometry
        Detections and objects of the truth, in one CRS.
    extent : Polygon
        What touches its border is cut: such truth counts neither way, and so do detections on it.
    least : float
        IoU from which on a pair matches.
    """
    whole = shapely.contains_properly(extent, true) if len(true) else np.zeros(0, bool)
    hit_found, ignored, hit_true = (np.zeros(n, bool) for n in (len(found), len(found), len(true)))
    if len(found) and len(true):
        left, right, _, ious = overlaps(found, true)
        for index in np.argsort(-ious, kind="stable"):
            if ious[index] < least:
                break
            f, t = left[index], right[index]
            if not (hit_found[f] or hit_true[t]):
                hit_found[f] = hit_true[t] = True
                ignored[f] = not whole[t]
        # A detection on cut truth is neither right nor wrong, even where it matches badly because it is cut.
        for f in np.flatnonzero(~hit_found):
            touched = right[left == f]
            ignored[f] = len(touched) and not whole[touched[np.argmax(ious[left == f])]]
    return Matching(hit_true, whole, hit_found, ignored)
