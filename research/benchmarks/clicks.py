"""A user's clicks, simulated: the first on the object, the next where the answer is wrong.

Frames: ``_canvas`` pixels of a view; ``_work`` pixels of the raster's working grid.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import shapely
from affine import Affine
from rasterio.features import rasterize
from scipy import ndimage
from shapely import Polygon
from shapely.affinity import scale

from core.canvas.stitch import FILL
from core.geo.raster import Raster
from core.geo.work_grid import WorkGrid
from core.sam.answers import Decoded, Embedding
from core.sam.geometry import SIDE
from core.sam.segmenter import Segmenter
from research.benchmarks.masks import bounds, canvas_masks

INNER = 0.5  # of a truth box's sides: this middle part is surely the object
LEAST_IOU = 0.5  # of an answer that counts as right
# The mask is larger than the object and covers half of it; is smaller and lies half on it; or neither.
FAULTS = ("too much", "too little", "elsewhere")


@dataclasses.dataclass(frozen=True)
class View:
    """One object in its surroundings, as large as SAM's square.

    Attributes
    ----------
    image : ndarray of uint8, shape (1024, 1024, 3)
    inside, outside : ndarray of bool, shape (1024, 1024)
        What is surely the object and what is surely not. With an outline as
        truth they are complements; with a box, the box's middle and all that
        lies outside the box.
    box_canvas : tuple of float
        x0, y0, x1, y1 of the truth's bounding box.
    is_box : bool
        The truth is a box, not an outline.
    others : ndarray of bool, shape (1024, 1024), optional
        All other objects of the kind, or their boxes.
    """

    image: np.ndarray
    inside: np.ndarray
    outside: np.ndarray
    box_canvas: tuple[float, float, float, float]
    is_box: bool
    others: np.ndarray | None = None

    def true_iou(self, mask: np.ndarray) -> float:
        """IoU of a mask with the truth: mask with outline, or bounding box with box."""
        return _iou(*self._areas(mask))

    def fault(self, mask: np.ndarray) -> str | None:
        """What is wrong with a mask whose IoU is below 0.5, one of ``FAULTS``; None where it is not."""
        common, ours, truth = self._areas(mask)
        if _iou(common, ours, truth) >= LEAST_IOU:
            return None
        if common < LEAST_IOU * min(ours, truth) or not common:
            return "elsewhere"
        return "too much" if ours > truth else "too little"

    def _areas(self, mask: np.ndarray) -> tuple[float, float, float]:
        """Area that mask and truth have in common, the mask's and the truth's."""
        if not self.is_box:
            return np.count_nonzero(mask & self.inside), np.count_nonzero(mask), np.count_nonzero(self.inside)
        box, truth = bounds(mask), shapely.box(*self.box_canvas)
        ours = shapely.box(*box) if box else shapely.Polygon()
        return ours.intersection(truth).area, ours.area, truth.area


def _iou(common: float, ours: float, truth: float) -> float:
    return common / (ours + truth - common) if common else 0.0


def cut_view(
    raster: Raster,
    truth_px: Polygon,
    resolution: float,
    rng: np.random.Generator,
    *,
    is_box: bool,
    others_px: Sequence[Polygon] = (),
) -> View | None:
    """Cut a view with the whole object somewhere in it, not always in the middle.

    Parameters
    ----------
    truth_px : Polygon
        In the raster's own pixels.
    resolution : float
        Ground metres per canvas pixel.
    rng : Generator
        Draws where in the view the object lies.
    others_px : sequence of Polygon
        The other objects of the kind, wherever they are.

    Returns
    -------
    View or None
        None where the object is larger than the view, or without data.
    """
    grid = WorkGrid(raster, resolution)
    truth_work = grid.work_from_px(truth_px)
    x0, y0, x1, y1 = truth_work.bounds
    if max(x1 - x0, y1 - y0) > SIDE - 4:
        return None
    left, top = (
        _corner(low, high, length, rng)
        for low, high, length in zip((x0, y0), (x1, y1), (grid.width, grid.height), strict=True)
    )
    image, valid = grid.read(left, top, SIDE, SIDE)
    image = np.where(valid[..., None], image, np.uint8(FILL))
    place = Affine.translation(left, top)
    outline = rasterize([truth_work], (SIDE, SIDE), transform=place).astype(bool)
    inside = outline
    if is_box:
        inside = rasterize([scale(truth_work, INNER, INNER)], (SIDE, SIDE), transform=place).astype(bool)
    if not (inside & valid).any():
        return None
    box = (x0 - left, y0 - top, x1 - left, y1 - top)
    others = None
    if len(others_px):
        others_work = [grid.work_from_px(polygon) for polygon in others_px]
        others = rasterize(others_work, (SIDE, SIDE), transform=place).astype(bool) & ~outline
    return View(image, inside, ~outline, box, is_box, others)


def _corner(low: float, high: float, length: int, rng: np.random.Generator) -> int:
    """Start of a view along one axis: around the object, inside the raster where that is large enough."""
    first, last = int(np.ceil(high)) - SIDE + 1, int(np.floor(low)) - 1
    if length > SIDE:
        first, last = max(first, min(0, last)), min(last, max(length - SIDE, first))
    return int(rng.integers(first, last + 1))


def middle(mask: np.ndarray) -> tuple[float, float]:
    """x, y of the centre of the pixel that lies deepest in a mask."""
    depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    row, column = divmod(int(depth.argmax()), mask.shape[1])
    return column + 0.5, row + 0.5


def correction(mask: np.ndarray, view: View) -> tuple[tuple[float, float], int] | None:
    """The next click: the middle of the largest error, and its sign; None where nothing is wrong."""
    missed, spilt = view.inside & ~mask, view.outside & mask
    regions_missed, count = ndimage.label(missed)
    regions_spilt, _ = ndimage.label(spilt)
    wrong = np.where(spilt, regions_spilt + count, regions_missed)
    if not wrong.any():
        return None
    sizes = np.bincount(wrong.ravel())
    sizes[0] = 0
    largest = wrong == sizes.argmax()
    return middle(largest), int(missed[largest].any())


@dataclasses.dataclass(frozen=True)
class Answer:
    """A single answer: the mask that the user gets, and what SAM thinks of it."""

    mask: np.ndarray
    iou_pred: float


def click(segmenter: Segmenter, embedding: Embedding, view: View, clicks: int) -> list[Answer]:
    """Answers after the first, second, … click; once nothing is wrong, the last one stays.

    The first click is in the middle of the object, each next one where the
    answer before was most wrong.
    """
    points, labels, answers = [middle(view.inside)], [1], []
    while True:
        decoded = segmenter.click(embedding, np.array([points]), np.array([labels]))
        answers.append(_answer(embedding, decoded))
        following = correction(answers[-1].mask, view) if len(answers) < clicks else None
        if following is None:
            return answers + [answers[-1]] * (clicks - len(answers))
        points.append(following[0])
        labels.append(following[1])


def box(segmenter: Segmenter, embedding: Embedding, view: View) -> Answer:
    """The answer to the truth's bounding box as prompt."""
    nothing = np.zeros((1, 0, 2)), np.zeros((1, 0))
    decoded = segmenter.decode(embedding, *nothing, boxes_canvas=np.array([view.box_canvas]))
    return _answer(embedding, decoded)


def _answer(embedding: Embedding, decoded: Decoded) -> Answer:
    mask = canvas_masks(decoded.logits[:, 0], embedding.shape_canvas)[0]
    return Answer(mask, float(decoded.iou_pred[0, 0]))
