"""From a score map to found pixels: two thresholds, then mathematical morphology."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

CUT = 0.5  # of the example's own vote: where a pixel of the query counts as found
WEAK = 0.4  # what is enough where it is broad, as in the middle of a roof much larger than the example
RIM = 5  # canvas pixels: what is weak and narrower is the blurred rim of something sharp
STABILITY_OFFSET = 0.1  # what the cut is raised by to see which pixels stay


def stable(share: np.ndarray) -> int:
    """How many of these pixels would still be found if the cut were raised a little."""
    return int((share > CUT + STABILITY_OFFSET).sum())


def above_threshold(share: np.ndarray) -> np.ndarray:
    """What is above the cut, and what is a little below it over some breadth.

    A lower cut alone would move every outline outwards by part of a pixel.
    """
    sure = share > CUT
    weak = ((share > WEAK) & ~sure).astype(np.uint8)
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
