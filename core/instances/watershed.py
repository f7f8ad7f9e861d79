"""From a vote to single objects, where the network itself says where objects end.

The embedded model answers, beside SAM's masks, where a border between objects
runs (``core.sam.networks.embedded.SemanticHead``). What was found is taken apart along such
borders: what is left without them are cores, and each pixel of a border goes to
the nearest core. A core that is much smaller than usual is one only where the
border around it is sure.
Other networks don't answer that; for them clicks tell objects apart
(``core.instances.click_grouping``).

All arrays are in the query tile's pixels (``_tile``).
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from core.instances.merging import Parted, join

BORDER = 0.3  # probability from which on a pixel is no core
SURE_BORDER = 0.5  # probability that has to lie all around a small core, or it is texture of its neighbour
SMALL_CORE = 0.25  # of the usual area of an object
SMALLEST_CORE = 16**2  # canvas pixels, a square as wide as a border: what is smaller is texture


def part(
    found: np.ndarray, border: np.ndarray, *, example_px: float, reach: np.ndarray | None = None
) -> np.ndarray:
    """Part a tile's found pixels into objects along the borders between them.

    Parameters
    ----------
    found : ndarray of bool, shape (h, w)
    border : ndarray of float, shape (h, w)
        Probability that a border between objects, or around one, runs there.
    example_px : float
        The example's area in canvas pixels.
    reach : ndarray, shape (4, h / 8, w / 8), optional
        How far the object there reaches; with it pieces that are one object after
        all are joined (:mod:`core.instances.merging`).

    Returns
    -------
    ndarray of int32, shape (h, w)
        0 where nothing is found, else the object's number; every object is
        connected. A patch without a core, or with one, is one object.
    """
    patches, _ = ndimage.label(found)
    cores = _cores(found, border, example_px)
    pieces = spread(patches, cores)
    if reach is None:
        return pieces
    return join(Parted(pieces, cores, patches, border, reach, example_px))


def _cores(found: np.ndarray, border: np.ndarray, example_px: float) -> np.ndarray:
    """Number what is left of objects without their borders, texture left out.

    A chimney or a dormer has a border of its own, but seldom a sure one all around. What is
    small is told by the example and by the tile's own cores: next to a large example all
    other roofs would be texture.
    """
    cores, count = ndimage.label(found & (border < BORDER))
    areas = np.bincount(cores.ravel(), minlength=count + 1)
    areas[0] = 0
    tiny = areas < SMALLEST_CORE
    if tiny.all():
        return np.zeros_like(cores)
    small = areas < SMALL_CORE * np.sqrt(example_px * np.median(areas[~tiny]))
    around, most = ndimage.label(found & (border < SURE_BORDER))
    around_core = np.zeros(count + 1, int)
    around_core[cores.ravel()] = around.ravel()
    holds_large = np.zeros(most + 1, bool)
    holds_large[around_core[~small]] = True
    cores[(tiny | small & holds_large[around_core])[cores]] = 0
    return cores


def spread(patches: np.ndarray, cores: np.ndarray) -> np.ndarray:
    """Give each pixel of a numbered patch to the nearest of its cores.

    Parameters
    ----------
    patches : ndarray of int, shape (h, w)
        Numbers of connected patches, 0 elsewhere.
    cores : ndarray of int, shape (h, w)
        Numbers of cores inside patches, 0 elsewhere; a patch without one is one object.

    Returns
    -------
    ndarray of int32, shape (h, w)
        Numbers of objects; every object is connected.
    """
    objects, following = np.zeros(patches.shape, np.int32), 1
    for number, box in enumerate(ndimage.find_objects(patches), start=1):
        patch = patches[box] == number
        own = np.where(patch, cores[box], 0)
        kept = np.unique(own[own > 0])
        parts = patch.astype(np.int32)
        if len(kept) > 1:
            parts = grown(np.where(own > 0, np.searchsorted(kept, own) + 1, 0), patch)
        objects[box][patch] = parts[patch] + following - 1
        following += int(parts.max())
    return objects


def grown(cores: np.ndarray, patch: np.ndarray) -> np.ndarray:
    """Give each pixel of a patch to the nearest numbered core; every part hangs together."""
    nearest = ndimage.distance_transform_edt(cores == 0, return_distances=False, return_indices=True)
    return _connected(np.where(patch, cores[tuple(nearest)], 0), cores)


def _connected(spread: np.ndarray, cores: np.ndarray) -> np.ndarray:
    """Labels whose pixels all hang together with their core; what does not becomes a part of its own."""
    labels, following = np.zeros(spread.shape, np.int32), int(spread.max()) + 1
    for label in range(1, following):
        pieces, count = ndimage.label(spread == label)
        core = pieces[cores == label]
        for piece in range(1, count + 1):
            if len(core) and piece == core[0]:
                labels[pieces == piece] = label
            else:
                labels[pieces == piece] = following
                following += 1
    return labels
