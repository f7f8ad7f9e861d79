"""Polygonize: trace the outlines of a tile's objects along pixel edges.

Frames: ``_work`` pixels of the working grid, shared by all tiles. Outlines have integer
coordinates, so that pieces on both sides of a seam join without gaps (:mod:`core.vectors.seams`).
"""

from __future__ import annotations

import dataclasses

import numpy as np
import shapely
from affine import Affine
from rasterio.features import shapes
from scipy import ndimage
from shapely import Polygon

from core.voting.score_map import Segmentation
from core.voting.thresholding import count_stable


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


def polygonize(
    segmentation: Segmentation, cell_tile: tuple[slice, slice], x_work: int, y_work: int
) -> list[Piece]:
    """Trace the found pixels of a tile's own cell.

    Parameters
    ----------
    segmentation : Segmentation
    cell_tile : tuple of slice
        Rows and columns of the tile that no other tile answers for.
    x_work, y_work : int
        Working pixel of the tile's upper left corner.
    """
    found = segmentation.found[cell_tile]
    labels = _patches(found, None if segmentation.objects is None else segmentation.objects[cell_tile])
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
        pieces.append(
            Piece(
                shapely.union_all(outlines[label]),
                pixels,
                float(segmentation.pixel_scores(in_tile)[region].sum()),
                float(segmentation.similarity[in_tile][region].sum()),
                segmentation.iou_pred * pixels,
                count_stable(segmentation.score[in_tile][region]),
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
