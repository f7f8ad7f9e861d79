"""Cut views out of plates: scaled windows, turned and mirrored, with varied colours."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from core.targets import TARGETS
from research.training.plates import Plate
from research.training.scenes import BUILDING, VEHICLE

# Pixels that the pipeline shows an example's longer side in.
SHOWN_PX = {BUILDING: TARGETS["building"].example_length, VEHICLE: TARGETS["vehicle"].example_length}
CELL = 16  # canvas pixels per embedding cell: views are whole cells


@dataclass
class View:
    """A window of a plate at another scale; fields as in ``Plate``."""

    image: np.ndarray
    instances: np.ndarray
    kinds: np.ndarray
    labelled: tuple[int, ...]
    unknown: np.ndarray
    synthetic: bool

    def of_kind(self, kind: int) -> np.ndarray:
        """Mask of all instances of a kind."""
        return self.kinds[self.instances] == kind


def cut_view(plate: Plate, scale: float, left: float, top: float, height: int, width: int) -> View:
    """Cut a window whose upper left corner is at plate pixel (left, top).

    Parameters
    ----------
    plate : Plate
        Where to cut.
    scale : float
        View pixels per plate pixel.
    left, top : float
        Plate pixels; may lie outside: what is outside is unknown and mirrored.
    height, width : int
        Of the view, in view pixels.
    """
    x0, y0 = int(np.floor(left)), int(np.floor(top))
    w, h = max(1, round(width / scale)), max(1, round(height / scale))
    rows, columns = plate.image.shape[:2]
    inside = (slice(max(y0, 0), min(y0 + h, rows)), slice(max(x0, 0), min(x0 + w, columns)))
    border = (
        inside[0].start - y0, y0 + h - inside[0].stop, inside[1].start - x0, x0 + w - inside[1].stop,
    )  # fmt: skip
    image, instances = plate.image[inside], plate.instances[inside]
    unknown = (
        np.zeros(instances.shape, np.uint8)
        if plate.unknown is None
        else plate.unknown[inside].astype(np.uint8)
    )
    if any(border):
        image = cv2.copyMakeBorder(image, *border, cv2.BORDER_REFLECT)
        instances = cv2.copyMakeBorder(instances, *border, cv2.BORDER_CONSTANT, value=0)
        unknown = cv2.copyMakeBorder(unknown, *border, cv2.BORDER_CONSTANT, value=1)
    if (h, w) != (height, width):
        # as the pipeline reads rasters: averages where coarser, cubic where finer
        smooth = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        image = cv2.resize(image, (width, height), interpolation=smooth)
        instances = _resize_labels(instances, height, width)
        unknown = cv2.resize(unknown, (width, height), interpolation=cv2.INTER_NEAREST)
    return View(image, instances, plate.kinds, plate.labelled, unknown > 0, plate.synthetic)


def _resize_labels(labels: np.ndarray, height: int, width: int) -> np.ndarray:
    rows = ((np.arange(height) + 0.5) * labels.shape[0] / height).astype(int)
    columns = ((np.arange(width) + 0.5) * labels.shape[1] / width).astype(int)
    return labels[rows[:, None], columns[None, :]]


def orient(view: View, turns: int, mirrored: bool) -> View:
    """The view turned by quarter turns and mirrored."""

    def moved(array: np.ndarray) -> np.ndarray:
        array = np.rot90(array, turns)
        return np.ascontiguousarray(array[:, ::-1] if mirrored else array)

    return View(
        moved(view.image),
        moved(view.instances),
        view.kinds,
        view.labelled,
        moved(view.unknown),
        view.synthetic,
    )


def recolor(rng: np.random.Generator, strength: float = 1.0):
    """A random change of colours, as a function of a uint8 image."""
    gain = 1 + rng.uniform(-0.25, 0.25) * strength
    channel = 1 + rng.normal(0, 0.05, 3) * strength
    shift = rng.normal(0, 9) * strength
    gamma = float(np.exp(rng.normal(0, 0.2) * strength))
    grey = rng.random() < 0.05 * strength
    turned = turned_hues(rng, strength) if rng.random() < 0.3 else None
    if rng.random() < 0.25:
        return lambda image: image
    levels = np.arange(256, dtype=np.float32)[:, None]
    table = 255 * (np.clip(levels * gain * channel + shift, 0, 255) / 255) ** gamma
    table = np.clip(table, 0, 255).astype(np.uint8).reshape(1, 256, 3)

    def change(image: np.ndarray) -> np.ndarray:
        changed = cv2.LUT(image, table)
        if turned is not None:
            changed = cv2.transform(changed, turned)
        if grey:
            changed = np.repeat(changed.mean(axis=2, keepdims=True), 3, axis=2).astype(np.uint8)
        return changed

    return change


def turned_hues(rng: np.random.Generator, strength: float) -> np.ndarray:
    """Matrix (3, 3) that turns hues about the grey axis and makes colours paler or stronger."""
    angle = rng.normal(0, 0.45) * strength
    saturation = np.exp(rng.normal(-0.1, 0.4) * strength)
    grey = np.full((3, 3), 1 / 3)
    across = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / np.sqrt(3)  # quarter turn (Rodrigues)
    return grey + saturation * (np.cos(angle) * (np.eye(3) - grey) + np.sin(angle) * across)


def random_scale(
    rng: np.random.Generator, longer_side: float, least: float, most: float, kind: int | None = None
) -> float:
    """A scale at which an object spans ``least`` to ``most`` pixels, at most 4-fold enlarged.

    Half of the time it is the pipeline's own choice for the kind: the picture's own
    resolution where that will do.
    """
    if rng.random() < 0.5:
        low, high = SHOWN_PX.get(kind, (least, most))
        scale = min(max(1.0, low / longer_side), high / longer_side)
    else:
        scale = float(np.exp(rng.uniform(np.log(least), np.log(most)))) / longer_side
    return float(np.clip(scale, 0.2, 4.0))
