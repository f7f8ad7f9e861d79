"""From a tile's vote to detections: trace, merge across seams, measure, simplify.

Frames: ``_work`` pixels of the query's working grid, shared by all tiles;
``_map`` the raster's CRS. Outlines are traced along pixel edges, so that pieces
on both sides of a seam share exact integer coordinates and join without gaps.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import geopandas as gpd
import numpy as np
import shapely
from affine import Affine
from pyproj import CRS
from rasterio.features import shapes
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from shapely import Polygon
from shapely.affinity import affine_transform

from core.geo import units
from core.vectors import contour
from core.voting.vote import Vote

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


@dataclasses.dataclass(frozen=True)
class Piece:
    """One connected patch of found pixels within a tile's own cell.

    Sums rather than means are kept, so that pieces of one object add up.
    """

    polygon_work: Polygon
    pixels: int
    score_sum: float
    similarity_sum: float
    iou_pred_sum: float
    stable: int
    tile_work: tuple[int, int]

    @classmethod
    def joined(cls, pieces: list[Piece]) -> Piece:
        """Join pieces that touch across seams."""
        if len(pieces) == 1:
            return pieces[0]
        return cls(
            shapely.union_all([piece.polygon_work for piece in pieces]),
            sum(piece.pixels for piece in pieces),
            sum(piece.score_sum for piece in pieces),
            sum(piece.similarity_sum for piece in pieces),
            sum(piece.iou_pred_sum for piece in pieces),
            sum(piece.stable for piece in pieces),
            pieces[0].tile_work,
        )


def trace(vote: Vote, cell_tile: tuple[slice, slice], x_work: int, y_work: int) -> list[Piece]:
    """Trace the found pixels of a tile's own cell.

    Parameters
    ----------
    vote : Vote
    cell_tile : tuple of slice
        Rows and columns of the tile that no other tile answers for.
    x_work, y_work : int
        Working pixel of the tile's upper left corner.
    """
    found = vote.found[cell_tile]
    labels = _patches(found, None if vote.objects is None else vote.objects[cell_tile])
    if not labels.any():
        return []
    corner = Affine.translation(x_work + cell_tile[1].start, y_work + cell_tile[0].start)
    outlines: dict[int, list[Polygon]] = {}
    for geometry, label in shapes(labels.astype(np.int32), mask=found, connectivity=4, transform=corner):
        rings = geometry["coordinates"]
        outlines.setdefault(int(label), []).append(Polygon(rings[0], rings[1:]))
    pieces = []
    for label, box in enumerate(ndimage.find_objects(labels), start=1):
        region = labels[box] == label
        pixels = int(region.sum())
        in_tile = tuple(
            slice(part.start + cell.start, part.stop + cell.start)
            for part, cell in zip(box, cell_tile, strict=True)
        )
        share = vote.share[in_tile][region]
        pieces.append(
            Piece(
                shapely.union_all(outlines[label]),
                pixels,
                float(vote.scores(vote, in_tile)[region].sum()),
                float(vote.similarity[in_tile][region].sum()),
                vote.iou_pred * pixels,
                vote.stable(share),
                (x_work, y_work),
            )
        )
    return pieces


def _patches(found: np.ndarray, objects: np.ndarray | None) -> np.ndarray:
    """Number the connected patches; those of different objects apart, even where they touch."""
    if objects is None:
        return ndimage.label(found)[0]
    labels = np.zeros(found.shape, np.int32)
    objects = np.where(found, objects, 0)
    for number, box in enumerate(ndimage.find_objects(objects), start=1):
        if box is not None:
            parts, _ = ndimage.label(objects[box] == number)
            labels[box][parts > 0] = parts[parts > 0] + labels.max()
    return labels


def merge(pieces: list[Piece], least_contact: float = 0.0) -> list[Piece]:
    """Join the pieces that share an edge across a seam, whatever order they come in.

    Parameters
    ----------
    least_contact : float
        Share of what each of the two has in common with the other's tile, so
        that of touching objects each finds its own other half.
    """
    pieces = sorted(pieces, key=lambda piece: piece.polygon_work.bounds)
    polygons = np.array([piece.polygon_work for piece in pieces], dtype=object)
    if len(pieces) == 0:
        return []
    left, right = shapely.STRtree(polygons).query(polygons, predicate="touches")
    # Corner to corner is no contact: pixels are connected by edges, as in the tracing.
    contact = shapely.length(shapely.intersection(polygons[left], polygons[right]))
    # Within a tile touching objects were told apart on purpose.
    origins = np.array([piece.tile_work for piece in pieces])
    contact[(origins[left] == origins[right]).all(axis=1)] = 0
    edge = (contact > 0) & (contact >= least_contact * _most_contact(left, right, contact, origins))
    # Chosen, not stored as False: scipy counts a stored zero as a link.
    links = coo_array((edge[edge], (left[edge], right[edge])), shape=(len(pieces), len(pieces)))
    _, group_of = connected_components(links, directed=False)
    groups: dict[int, list[Piece]] = {}
    for piece, group in zip(pieces, group_of, strict=True):
        groups.setdefault(group, []).append(piece)
    return [Piece.joined(group) for group in groups.values()]


def _most_contact(
    left: np.ndarray, right: np.ndarray, contact: np.ndarray, origins: np.ndarray
) -> np.ndarray:
    """For each pair, how long either of the two touches pieces of the other's tile, whichever is more."""
    totals: dict[tuple[int, int, int], float] = {}
    keys = [(piece, *origins[other]) for piece, other in zip(left.tolist(), right.tolist(), strict=True)]
    for key, length in zip(keys, contact, strict=True):
        totals[key] = totals.get(key, 0.0) + length
    swapped = [(piece, *origins[other]) for piece, other in zip(right.tolist(), left.tolist(), strict=True)]
    return np.array([max(totals[key], totals[other]) for key, other in zip(keys, swapped, strict=True)])


def filled(polygon: Polygon, largest_hole: float) -> Polygon:
    """Fill holes up to an area, in the polygon's own units."""
    holes = [ring for ring in polygon.interiors if Polygon(ring).area > largest_hole]
    return Polygon(polygon.exterior, holes)


def redrawn(
    outline_work: Polygon, mask_work: Polygon, map_from_work: Affine, crs: CRS | None, redraw: Redraw
) -> Polygon:
    """Redraw an outline in a plane of true angles; in working pixels again."""
    plane_from_work = units.plane_from_px(crs, map_from_work, *mask_work.centroid.coords[0])
    there, back = plane_from_work.to_shapely(), (~plane_from_work).to_shapely()
    drawn = redraw(affine_transform(outline_work, there), affine_transform(mask_work, there))
    return affine_transform(drawn, back)


def to_table(
    pieces: list[Piece],
    map_from_work: Affine,
    crs: CRS | None,
    *,
    largest_hole_work: float,
    redraw: Redraw | None = None,
) -> gpd.GeoDataFrame:
    """Make detections with their measured attributes, best score first.

    Parameters
    ----------
    pieces : list of Piece
        Whole objects, as :func:`merge` gives them.
    largest_hole_work : float
        Holes up to this many working pixels are filled.
    redraw : callable, optional
        Gives the outline that is written and measured, from the one that would be
        and the mask's polygon, both in a plane of true angles whose unit is a pixel.

    Returns
    -------
    GeoDataFrame
        The columns of ``COLUMNS`` but ``target``, ``strategy``, ``model`` and ``created``.
    """
    rows, geometries = [], []
    for piece in pieces:
        outline = filled(piece.polygon_work, largest_hole_work)
        simpler = contour.half_level(outline).simplify(SIMPLIFY_WORK, preserve_topology=True)
        if not simpler.is_valid or simpler.is_empty:
            simpler = outline
        if redraw is not None:
            simpler = redrawn(simpler, outline, map_from_work, crs, redraw)
        polygon_map = affine_transform(simpler, map_from_work.to_shapely())
        if not polygon_map.is_valid or polygon_map.is_empty:
            polygon_map = affine_transform(outline, map_from_work.to_shapely())
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
