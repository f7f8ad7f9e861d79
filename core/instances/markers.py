"""Part patches of found pixels among numbered cores, each of which is one object.

All arrays are in the query tile's pixels.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage


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
