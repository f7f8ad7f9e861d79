"""Merge the pieces of one object across the seams between tiles."""

from __future__ import annotations

import numpy as np
import shapely
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from core.vectors.polygonize import Piece


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
