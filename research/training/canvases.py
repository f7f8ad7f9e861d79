"""Stitched canvases for training, made by the pipeline's own ``core.canvas.stitch``."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from core.canvas.stitch import MAX_COLUMN, Canvas, Crop, crop_side, stitch
from core.sam.geometry import CELL
from research.training.plates import Plate
from research.training.prompting import (
    SMALLEST_AREA,
    Task,
    clickable,
    empty_task,
    put_points,
    random_pixels,
    single_prompt,
)
from research.training.scenes import BUILDING, VEHICLE
from research.training.views import View, cut_view, orient, random_scale, recolor

EXAMPLE_PX = {BUILDING: (44, 200), VEHICLE: (56, 200)}
NEIGHBOUR_IN_RING = 0.8  # how often ring points may fall on unlabelled neighbours, as the user's do
USUAL_EXAMPLE = 0.7  # how often the example is of at least half the median area, as users draw


@dataclass
class Stitched:
    """A canvas and its labels (all (H, W) in canvas pixels).

    Attributes
    ----------
    canvas : Canvas
        What the pipeline would show to the model.
    wanted : numpy.ndarray
        Bool: all objects of the class in the query, and every showing of the example.
    unknown : numpy.ndarray
        Bool: unlabelled neighbours in the column, and what the labels don't tell.
    ring : numpy.ndarray
        Bool: where negative points go.
    query_view : View
        The query tile.
    kind : int
        The class.
    """

    canvas: Canvas
    wanted: np.ndarray
    unknown: np.ndarray
    ring: np.ndarray
    query_view: View
    kind: int


def _stack(*masks: np.ndarray) -> np.ndarray:
    return np.stack([mask.astype(np.uint8) * 255 for mask in masks], axis=-1)


def _roughly_drawn(rng: np.random.Generator, mask: np.ndarray) -> np.ndarray:
    """The mask as a person draws it: smoothed corners, a pixel or two off."""
    size = int(rng.integers(1, 4))
    blurred = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), size)
    shift = rng.normal(0, 1.0, 2).round().astype(int)
    drawn = np.roll(blurred > rng.uniform(0.35, 0.65), tuple(shift), axis=(0, 1))
    return drawn if drawn.any() else mask


def choose_example(rng: np.random.Generator, plate: Plate, kind: int, largest: float = np.inf) -> int | None:
    """An instance of the kind that lies whole inside the plate; None where there is none."""
    height, width = plate.image.shape[:2]
    found = [
        i
        for i, (x0, y0, x1, y1, area) in plate.instance_boxes().items()
        if plate.kinds[i] == kind and x0 > 1 and y0 > 1 and x1 < width - 1 and y1 < height - 1
        and area >= 12 and max(x1 - x0, y1 - y0) >= 6 and max(x1 - x0, y1 - y0) <= largest
    ]  # fmt: skip
    if found and rng.random() < USUAL_EXAMPLE:
        areas = {i: plate.instance_boxes()[i][4] for i in found}
        found = [i for i in found if areas[i] >= 0.5 * np.median(list(areas.values()))]
    return int(rng.choice(found)) if found else None


def make_stitched(
    rng: np.random.Generator, plate: Plate, kind: int, height: int, width: int, example: int | None = None
) -> Stitched | None:
    """Stitch an example of a plate to a query tile of the same plate.

    Parameters
    ----------
    rng : numpy.random.Generator
        Chooses example, scale, tile and colours.
    plate : Plate
        The picture.
    kind : int
        The example's class, which the plate must have labelled.
    height, width : int
        Of the canvas, multiples of 16; the result may be smaller on small plates.
    example : int, optional
        Instance to be the example; by default random.
    """
    example = choose_example(rng, plate, kind) if example is None else example
    if example is None:
        return None
    x0, y0, x1, y1, _ = plate.instance_boxes()[example]
    longer = max(x1 - x0, y1 - y0)
    scale = random_scale(rng, longer, *EXAMPLE_PX.get(kind, EXAMPLE_PX[BUILDING]), kind)
    side = crop_side(longer * scale)
    if side > min(MAX_COLUMN, height, width * 0.55):
        return None
    turns, mirrored = int(rng.integers(4)), bool(rng.random() < 0.5)
    there_h, there_w = plate.image.shape[:2][:: -1 if turns % 2 else 1]
    tile_h = min(height, int(there_h * scale) // CELL * CELL)
    tile_w = min(width - side, int(there_w * scale) // CELL * CELL)
    if tile_h < side or tile_w < 128:
        return None
    crop_view = orient(
        cut_view(plate, scale, (x0 + x1 - side / scale) / 2, (y0 + y1 - side / scale) / 2, side, side),
        turns,
        mirrored,
    )
    tile_view = _tile(rng, plate, kind, scale, tile_h, tile_w, turns, mirrored)
    return assemble(rng, crop_view, example, tile_view, kind)


def _tile(
    rng, plate: Plate, kind: int, scale: float, height: int, width: int, turns: int, mirrored: bool
) -> View:
    """A query tile; one without an object of the class only now and then."""
    if turns % 2:
        height, width = width, height
    view = None
    for _ in range(4):
        left = rng.uniform(0, max(0.0, plate.image.shape[1] - width / scale))
        top = rng.uniform(0, max(0.0, plate.image.shape[0] - height / scale))
        view = cut_view(plate, scale, left, top, height, width)
        if view.of_kind(kind).any() or rng.random() < 0.1:
            break
    return orient(view, turns, mirrored)


def assemble(
    rng: np.random.Generator, crop_view: View, example: int, tile_view: View, kind: int
) -> Stitched | None:
    """Stitch a crop around an example and a tile, and their labels in the same way."""
    mask = crop_view.instances == example
    if mask.sum() < SMALLEST_AREA or tile_view.image.shape[0] < mask.shape[0]:
        return None
    neighbours = (crop_view.of_kind(kind) & ~mask) | crop_view.unknown
    change = recolor(rng)
    change_tile = change if rng.random() < 0.8 else _slightly_other(rng, change)
    valid = np.ones(mask.shape, bool)
    tile_valid = np.ones(tile_view.instances.shape, bool)
    drawn = _roughly_drawn(rng, mask)
    canvas = stitch([Crop(change(crop_view.image), drawn, valid)], change_tile(tile_view.image), tile_valid)
    labels = stitch(
        [Crop(_stack(mask, neighbours, neighbours), mask, valid)],
        _stack(tile_view.of_kind(kind), tile_view.unknown, tile_view.unknown),
        tile_valid,
    ).image > 127  # fmt: skip
    wanted, unknown = labels[..., 0], labels[..., 1]
    ring = canvas.ring if rng.random() < NEIGHBOUR_IN_RING else canvas.ring & ~unknown
    return Stitched(canvas, wanted, unknown, ring, tile_view, kind)


def _slightly_other(rng: np.random.Generator, change):
    other = recolor(rng, 0.35)
    return lambda image: other(change(image))


def group_points(rng: np.random.Generator, stitched: Stitched) -> tuple[np.ndarray, np.ndarray]:
    """Positive and negative points of one run, as the pipeline's strategies place them and around that."""
    usual = rng.random() < 0.6
    n_positive = 4 if usual else int(rng.integers(1, 6))
    n_negative = 4 if usual else int(rng.integers(0, 6))
    positive = [random_pixels(rng, stitched.canvas.example, n_positive)]
    column = stitched.canvas.column
    in_query = stitched.wanted.copy()
    in_query[:, :column] = False
    dice = rng.random()
    if dice < 0.4:
        positive.append(random_pixels(rng, in_query, 1))
    elif dice < 0.6:  # anywhere: may fall on the ground
        positive.append(random_pixels(rng, stitched.canvas.query, 1))
    elif dice < 0.68:
        positive.append(random_pixels(rng, in_query, int(rng.integers(2, 5))))
    elif dice < 0.76:
        positive.append(random_pixels(rng, stitched.canvas.query, 4))
    return np.concatenate(positive), random_pixels(rng, stitched.ring, n_negative)


def canvas_task(rng: np.random.Generator, stitched: Stitched, groups: int, singles: int) -> Task:
    """Runs from the example ("all of these"), and clicks in the query alone ("this one")."""
    view, column = stitched.query_view, stitched.canvas.column
    there = clickable(view)
    singles = singles if there else 0
    task = empty_task(groups + singles, *stitched.wanted.shape)
    for row in range(groups):
        put_points(task, row, *group_points(rng, stitched))
        task.group[row] = True
        task.target[row] = stitched.wanted
        task.weight[row] = ~stitched.unknown
    for row in range(groups, groups + singles):
        mask = np.zeros(stitched.wanted.shape, bool)
        mask[:, column:] = view.instances == rng.choice(list(there))
        single_prompt(rng, task, row, mask, box_chance=0.0)
        # what is the click's object is known even where other objects are not labelled
        task.weight[row, :, column:] = ~view.unknown
    if rng.random() < 0.1:
        task.mask_input = _mask_input(stitched, groups + singles, groups)
    return task


def _mask_input(stitched: Stitched, count: int, groups: int) -> np.ndarray:
    """The example as SAM's mask prompt: sure in the column, undecided in the query."""
    logits = np.zeros(stitched.wanted.shape, np.float32)
    column = stitched.canvas.column
    logits[:, :column] = np.where(stitched.canvas.example[:, :column], 8.0, -8.0)
    small = cv2.resize(logits, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    masks = np.zeros((count, *small.shape), np.float32)
    masks[:groups] = small
    return masks
