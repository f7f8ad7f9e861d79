"""Which box an object has, where the network itself says so.

The embedded model answers, beside SAM's masks, how far the object at a place
reaches (``core.sam.networks.embedded.BoxHead``): to the left, up, to the right and down. A
click with that box is answered far better than a click alone, since a click
says where an object is, but not where it ends. And what sees the same box is more
likely one object, even where a ridge looks like the border between two (``core.instances.merging``).

Frames: ``_canvas`` pixels, continuous (the first pixel spans 0 to 1).
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from core.sam.geometry import BOX_STRIDE


def turned(reach: np.ndarray, mirroring: tuple[slice, slice]) -> np.ndarray:
    """Distances (4, h, w) in a mirrored tile, turned back: what reached left reaches right then."""
    rows, columns = mirroring
    order = [2 if columns.step == -1 else 0, 3 if rows.step == -1 else 1]
    order += [2 - order[0], 4 - order[1]]
    return reach[order][:, rows, columns]


def centres(shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """X (w,) and y (h, 1) of the places' centres in canvas pixels."""
    return (np.arange(shape[1]) + 0.5) * BOX_STRIDE, ((np.arange(shape[0]) + 0.5) * BOX_STRIDE)[:, None]


def boxes_of(reach: np.ndarray) -> np.ndarray:
    """Boxes (4, h, w) as x0, y0, x1, y1 in canvas pixels, of distances (4, h, w) to the four sides."""
    x, y = centres(reach.shape[1:])
    left, top, right, bottom = reach
    return np.stack([x - left, y - top, x + right, y + bottom])


def boxes_at(reach: np.ndarray, points_canvas: np.ndarray) -> np.ndarray:
    """Boxes of the objects at points.

    Parameters
    ----------
    reach : ndarray, shape (4, h, w)
        Distances to left, top, right and bottom in canvas pixels; one place
        for 8 x 8 canvas pixels.
    points_canvas : ndarray, shape (P, 2)
        x, y; points outside take the nearest place.

    Returns
    -------
    ndarray, shape (P, 4)
        x0, y0, x1, y1 in canvas pixels.
    """
    height, width = reach.shape[1:]
    column = np.clip(points_canvas[:, 0] // BOX_STRIDE, 0, width - 1).astype(int)
    row = np.clip(points_canvas[:, 1] // BOX_STRIDE, 0, height - 1).astype(int)
    return boxes_of(reach)[:, row, column].T.astype(np.float32)


def seen_from(numbers: np.ndarray, inside: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """Boxes that the network sees from inside numbered parts of a tile: medians over their places.

    Parameters
    ----------
    numbers : ndarray of int, shape (h, w)
        Numbers of the parts, 0 elsewhere.
    inside : ndarray, shape (h, w)
        Where it is asked, if not 0: all of a part, or its middle.
    reach : ndarray, shape (4, h / 8, w / 8)
        Distances to left, top, right and bottom; see :func:`boxes_at`.

    Returns
    -------
    ndarray, shape (N + 1, 4)
        x0, y0, x1, y1 in the tile's pixels, by number; a part without a place has its own box.
    """
    boxes = np.zeros((int(numbers.max()) + 1, 4))
    for number, window in enumerate(ndimage.find_objects(numbers), start=1):
        if window is not None:
            rows, columns = window
            boxes[number] = columns.start, rows.start, columns.stop, rows.stop
    at_places = np.s_[BOX_STRIDE // 2 :: BOX_STRIDE, BOX_STRIDE // 2 :: BOX_STRIDE]
    place_of = np.where(inside[at_places] > 0, numbers[at_places], 0)
    seen = boxes_of(reach)[:, : place_of.shape[0], : place_of.shape[1]]
    for number, window in enumerate(ndimage.find_objects(place_of), start=1):
        if window is not None:
            rows, columns = window
            boxes[number] = np.median(seen[:, rows, columns][:, place_of[window] == number], axis=1)
    return boxes
