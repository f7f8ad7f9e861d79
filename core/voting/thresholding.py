"""From a score map to found pixels: two thresholds, then mathematical morphology."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

THRESHOLD = 0.5  # of the example's own score: where a pixel of the query counts as found
WEAK_THRESHOLD = (
    0.4  # what is enough where it is broad, as in the middle of a roof much larger than the example
)
RIM = 5  # canvas pixels: what is weak and narrower is the blurred rim of something sharp
STABILITY_OFFSET = 0.1  # what the threshold is raised by to see which pixels stay


def count_stable(score: np.ndarray) -> int:
    """Count the pixels that would still be found if the threshold were raised a little."""
    return int((score > THRESHOLD + STABILITY_OFFSET).sum())


def threshold(score: np.ndarray, valid: np.ndarray, radius: int) -> np.ndarray:
    """Find pixels: threshold a score map, smooth by opening and closing, leave missing data out.

    Parameters
    ----------
    score : ndarray of float, shape (h, w)
    valid : ndarray of bool, shape (h, w)
        Pixels that hold data; closing would fill others too.
    radius : int
        Of the disc, in pixels.

    Returns
    -------
    ndarray of bool, shape (h, w)
    """
    return open_and_close(above_threshold(score), radius) & valid


def above_threshold(score: np.ndarray) -> np.ndarray:
    """Find what is above the threshold, and what is a little below it over some breadth.

    A lower threshold alone would move every outline outwards by part of a pixel.
    """
    sure = score > THRESHOLD
    weak = ((score > WEAK_THRESHOLD) & ~sure).astype(np.uint8)
    return sure | (ndimage.grey_opening(weak, size=(RIM, RIM)) > 0)


def open_and_close(mask: np.ndarray, radius: int) -> np.ndarray:
    """Open, then close with a disc: slivers and thin bridges go, small notches are filled."""
    if radius == 0:
        return mask
    padded = np.pad(mask, radius + 1, mode="edge")  # else the tile's border would be eaten
    padded = ndimage.binary_closing(ndimage.binary_opening(padded, disc(radius)), disc(radius))
    return padded[radius + 1 : -radius - 1, radius + 1 : -radius - 1]


def disc(radius: int) -> np.ndarray:
    """Pixels within a radius of the middle one, shape (2 radius + 1, 2 radius + 1)."""
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    return x**2 + y**2 <= radius**2
