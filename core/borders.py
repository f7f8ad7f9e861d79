"""From a vote to single objects, where the network itself says where objects end.

The embedded model answers, beside SAM's masks, where a border between objects
runs (``core.embedded.SemanticHead``). What was found is taken apart along such
borders: what is left without them are cores, and each pixel of a border goes to
the nearest core.
Other networks don't answer that; for them clicks tell objects apart
(``core.instances``).

All arrays are in the query tile's pixels (``_tile``).
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from . import boxes
from .parting import spread

BORDER = 0.3  # probability from which on a pixel is no core
SMALLEST_CORE = 0.1  # of the example's area: smaller ones are texture of a roof, not objects
# Canvas pixels: the square root of an example's area below which its objects have no cores to speak of.
# The network's borders are about 16 pixels wide, since its answer has a stride of 4.
LEAST_SIDE = 64.0


def are_fine_enough(example_px: float) -> bool:
    """Whether objects of the example's area in canvas pixels are wider than the borders themselves."""
    return example_px >= LEAST_SIDE**2


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
        How far the object there reaches; with it cores that see the same box
        are joined (:func:`core.boxes.join`).

    Returns
    -------
    ndarray of int32, shape (h, w)
        0 where nothing is found, else the object's number; every object is
        connected. A patch without a core, or with one, is one object.
    """
    patches, _ = ndimage.label(found)
    cores, _ = ndimage.label(found & (border < BORDER))
    areas = np.bincount(cores.ravel())
    cores[(areas < SMALLEST_CORE * example_px)[cores]] = 0
    return spread(patches, cores if reach is None else boxes.join(cores, patches, reach))
