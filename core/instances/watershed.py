"""Marker-based watershed: found pixels are parted into objects along the borders that the network sees.

The embedded model answers, beside SAM's masks, the boundary probability
(``core.sam.networks.embedded.SemanticHead``). What is left of the found pixels without
probable boundaries are the markers, and each remaining pixel goes to the nearest marker:
the watershed of the distance to the markers. A marker that is much smaller than usual is one
only where the boundary around it is sure. Networks without such an answer have their objects
told apart by clicks (``core.instances.click_grouping``).

All arrays are in the query tile's pixels (``_tile``).
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from core.instances.merging import Partition

BOUNDARY = 0.3  # boundary probability from which on a pixel is part of no marker
SURE_BOUNDARY = 0.5  # that has to lie all around a small marker, or it is texture of its neighbour
SMALL_MARKER = 0.25  # of the usual area of an object
SMALLEST_MARKER = 16**2  # canvas pixels, a square as wide as a boundary: what is smaller is texture


def watershed(
    found: np.ndarray, boundary: np.ndarray, *, example_area: float, reach: np.ndarray | None = None
) -> Partition:
    """Part a tile's found pixels into pieces, one for each marker.

    Parameters
    ----------
    found : ndarray of bool, shape (h, w)
    boundary : ndarray of float, shape (h, w)
        Boundary probability.
    example_area : float
        The example's area in canvas pixels.
    reach : ndarray, shape (4, h / 8, w / 8), optional
        Distances to the sides of the object's box, for :func:`core.instances.merging.merge_regions`.

    Returns
    -------
    Partition
        A connected patch without a marker, or with one, is one piece.
    """
    patches, _ = ndimage.label(found)
    markers = _markers(found, boundary, example_area)
    return Partition(assign_to_markers(patches, markers), markers, patches, boundary, reach, example_area)


def _markers(found: np.ndarray, boundary: np.ndarray, example_area: float) -> np.ndarray:
    """Number what is left of objects without their boundaries, texture left out.

    A chimney or a dormer has a boundary of its own, but seldom a sure one all around. What is
    small is told by the example and by the tile's own markers: next to a large example all
    other roofs would be texture.
    """
    markers, count = ndimage.label(found & (boundary < BOUNDARY))
    areas = np.bincount(markers.ravel(), minlength=count + 1)
    areas[0] = 0
    tiny = areas < SMALLEST_MARKER
    if tiny.all():
        return np.zeros_like(markers)
    small = areas < SMALL_MARKER * np.sqrt(example_area * np.median(areas[~tiny]))
    around, most = ndimage.label(found & (boundary < SURE_BOUNDARY))
    around_marker = np.zeros(count + 1, int)
    around_marker[markers.ravel()] = around.ravel()
    holds_large = np.zeros(most + 1, bool)
    holds_large[around_marker[~small]] = True
    markers[(tiny | small & holds_large[around_marker])[markers]] = 0
    return markers


def assign_to_markers(patches: np.ndarray, markers: np.ndarray) -> np.ndarray:
    """Give each pixel of a numbered patch to the nearest of its markers.

    Parameters
    ----------
    patches : ndarray of int, shape (h, w)
        Numbers of connected patches, 0 elsewhere.
    markers : ndarray of int, shape (h, w)
        Numbers of markers inside patches, 0 elsewhere; a patch without one is one object.

    Returns
    -------
    ndarray of int32, shape (h, w)
        Numbers of objects; every object is connected.
    """
    objects, following = np.zeros(patches.shape, np.int32), 1
    for number, box in enumerate(ndimage.find_objects(patches), start=1):
        patch = patches[box] == number
        own = np.where(patch, markers[box], 0)
        kept = np.unique(own[own > 0])
        parts = patch.astype(np.int32)
        if len(kept) > 1:
            parts = grow_markers(np.where(own > 0, np.searchsorted(kept, own) + 1, 0), patch)
        objects[box][patch] = parts[patch] + following - 1
        following += int(parts.max())
    return objects


def grow_markers(markers: np.ndarray, patch: np.ndarray) -> np.ndarray:
    """Give each pixel of a patch to the nearest numbered marker; every part hangs together."""
    nearest = ndimage.distance_transform_edt(markers == 0, return_distances=False, return_indices=True)
    return _connected(np.where(patch, markers[tuple(nearest)], 0), markers)


def _connected(spread: np.ndarray, markers: np.ndarray) -> np.ndarray:
    """Labels whose pixels all hang together with their marker; what does not becomes a part of its own."""
    labels, following = np.zeros(spread.shape, np.int32), int(spread.max()) + 1
    for label in range(1, following):
        pieces, count = ndimage.label(spread == label)
        marker = pieces[markers == label]
        for piece in range(1, count + 1):
            if len(marker) and piece == marker[0]:
                labels[pieces == piece] = label
            else:
                labels[pieces == piece] = following
                following += 1
    return labels
