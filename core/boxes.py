"""Which box an object has, where the network itself says so.

The embedded model answers, beside SAM's masks, how far the object at a place
reaches (``core.embedded.BoxHead``): to the left, up, to the right and down. A
click with that box is answered far better than a click alone, since a click
says where an object is, but not where it ends. And what sees the same box is one
object, even where a ridge looks like the border between two.

Frames: ``_canvas`` pixels, continuous (the first pixel spans 0 to 1); ``join``
takes the query tile's pixels, which are as large.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from scipy.sparse.csgraph import connected_components

PLACE = 8  # canvas pixels between two places that answer
SAME = 0.5  # IoU of two cores' boxes from which on they are parts of one object


def turned(reach: np.ndarray, mirroring: tuple[slice, slice]) -> np.ndarray:
    """Distances (4, h, w) in a mirrored tile, turned back: what reached left reaches right then."""
    rows, columns = mirroring
    order = [2 if columns.step == -1 else 0, 3 if rows.step == -1 else 1]
    order += [2 - order[0], 4 - order[1]]
    return reach[order][:, rows, columns]


def join(cores: np.ndarray, patches: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """Join cores of one patch that see the same box: they are parts of one object.

    Parameters
    ----------
    cores, patches : ndarray of int, shape (h, w)
        Numbers of cores, and of the connected patches that they lie in; 0 elsewhere.
    reach : ndarray, shape (4, h / 8, w / 8)
        Distances to the sides of the box of the object there, in pixels.

    Returns
    -------
    ndarray of int, shape (h, w)
        The cores, those joined under one number.
    """
    at_places = np.s_[PLACE // 2 :: PLACE, PLACE // 2 :: PLACE]
    core_of, patch_of = cores[at_places], patches[at_places]
    numbers = np.unique(core_of[core_of > 0])  # a core without a place says nothing
    seen, owner = np.zeros((4, len(numbers))), np.zeros(len(numbers), int)
    boxes, windows = boxes_of(reach), ndimage.find_objects(core_of)
    for index, number in enumerate(numbers):
        window = windows[number - 1]
        own = core_of[window] == number
        seen[:, index] = np.median(boxes[(slice(None), *window)][:, own], axis=1)
        owner[index] = patch_of[window][own][0]
    same = np.stack([_iou(seen, one) > SAME for one in seen.T]) if len(numbers) else np.zeros((0, 0), bool)
    _, groups = connected_components(same & (owner == owner[:, None]), directed=False)
    names = np.arange(cores.max() + 1)
    _, first = np.unique(groups, return_index=True)
    names[numbers] = numbers[first][groups]
    return names[cores]


def _iou(boxes: np.ndarray, one: np.ndarray) -> np.ndarray:
    """IoU (N,) of boxes (4, N) with one box (4,)."""
    x0, y0 = np.maximum(boxes[0], one[0]), np.maximum(boxes[1], one[1])
    x1, y1 = np.minimum(boxes[2], one[2]), np.minimum(boxes[3], one[3])
    overlap = np.clip(x1 - x0, 0, None) * np.clip(y1 - y0, 0, None)
    areas = (boxes[2] - boxes[0]) * (boxes[3] - boxes[1])
    return overlap / (areas + (one[2] - one[0]) * (one[3] - one[1]) - overlap)


def centres(shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """X (w,) and y (h, 1) of the places' centres in canvas pixels."""
    return (np.arange(shape[1]) + 0.5) * PLACE, ((np.arange(shape[0]) + 0.5) * PLACE)[:, None]


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
    column = np.clip(points_canvas[:, 0] // PLACE, 0, width - 1).astype(int)
    row = np.clip(points_canvas[:, 1] // PLACE, 0, height - 1).astype(int)
    return boxes_of(reach)[:, row, column].T.astype(np.float32)
