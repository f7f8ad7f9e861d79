"""Where training puts its prompts, and what it wants to hear.

The rule that the model is to learn: without an example in the column all points
mean "this one", so that a correcting click beside a neighbour is not taken for
a second object; points on an example mean "all of these".
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch

from research.training.network import Prompts, shrink
from research.training.plates import pick_kind
from research.training.views import View

MAX_POINTS = 12
SMALLEST_AREA = 40  # canvas pixels: below that an object is neither clicked nor an example


@dataclass
class Task:
    """Prompt sets on one picture and the wanted masks.

    Attributes
    ----------
    points, labels : numpy.ndarray
        (P, N, 2) canvas pixels and (P, N); label -1 for no point.
    boxes : numpy.ndarray
        (P, 4); used instead of points where ``boxed``.
    boxed, group : numpy.ndarray
        (P,) bool.
    target, weight : numpy.ndarray
        (P, H, W) uint8: wanted mask, and 0 where it does not count.
    mask_input : numpy.ndarray or None
        (P, H/4, W/4) float32 logits.
    """

    points: np.ndarray
    labels: np.ndarray
    boxes: np.ndarray
    boxed: np.ndarray
    group: np.ndarray
    target: np.ndarray
    weight: np.ndarray
    mask_input: np.ndarray | None = None

    def parts(self):
        """Prompts in one batch for each kind: (rows, Prompts, target, weight, group).

        Kinds: points on an example, clicks on single objects, boxes.
        """
        kind = np.where(self.boxed, 2, np.where(self.group, 0, 1))
        for number in np.unique(kind):
            rows = np.flatnonzero(kind == number)
            if number == 2:
                prompts = Prompts(None, None, boxes=torch.from_numpy(self.boxes[rows]))
            else:
                masks = None if self.mask_input is None else torch.from_numpy(self.mask_input[rows])[:, None]
                # As few empty slots as can be: the pipeline and SamPredictor pad with one "no point"
                # token, so the network must not get used to many.
                used = max(1, int((self.labels[rows] >= 0).sum(axis=1).max()))
                points, labels = self.points[rows, :used], self.labels[rows, :used]
                prompts = Prompts(torch.from_numpy(points), torch.from_numpy(labels), masks=masks)
            target = shrink(torch.from_numpy(self.target[rows]).float())
            weight = shrink(torch.from_numpy(self.weight[rows]).float())
            yield rows, prompts, target, weight, torch.from_numpy(self.group[rows])


def empty_task(count: int, height: int, width: int) -> Task:
    """A task without prompts, to be filled."""
    return Task(
        np.zeros((count, MAX_POINTS, 2), np.float32),
        np.full((count, MAX_POINTS), -1, np.int64),
        np.zeros((count, 4), np.float32),
        np.zeros(count, bool),
        np.zeros(count, bool),
        np.zeros((count, height, width), np.uint8),
        np.ones((count, height, width), np.uint8),
    )


def random_pixels(rng: np.random.Generator, mask: np.ndarray, count: int) -> np.ndarray:
    """``count`` random pixels (x, y) of a mask; fewer (none) where it is empty."""
    flat = np.flatnonzero(mask)
    if len(flat) == 0 or count <= 0:
        return np.zeros((0, 2), np.float32)
    chosen = flat[rng.integers(len(flat), size=count)]
    return np.stack([chosen % mask.shape[1], chosen // mask.shape[1]], axis=1).astype(np.float32)


def middle_pixel(mask: np.ndarray) -> np.ndarray:
    """The pixel (x, y) farthest inside a mask, as (1, 2)."""
    padded = cv2.copyMakeBorder(mask.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    distance = cv2.distanceTransform(padded, cv2.DIST_L2, 3)
    y, x = np.unravel_index(int(distance.argmax()), distance.shape)
    return np.array([[x - 1, y - 1]], np.float32)


def put_points(task: Task, row: int, positive: np.ndarray, negative: np.ndarray) -> None:
    """Write points into a row of a task (what does not fit is left out)."""
    points = np.concatenate([positive, negative])[:MAX_POINTS]
    task.points[row, : len(points)] = points
    task.labels[row, : len(points)] = ([1] * len(positive) + [0] * len(negative))[: len(points)]


def single_prompt(
    rng: np.random.Generator, task: Task, row: int, mask: np.ndarray, box_chance: float = 0.2
) -> None:
    """Clicks on one object, or a box around it: "this one"."""
    task.target[row] = mask
    if rng.random() < box_chance:
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        box = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float32)
        loose = 0.06 * max(box[2] - box[0], box[3] - box[1])
        task.boxes[row] = box + rng.normal(0, loose, 4)
        task.boxed[row] = True
        return
    if rng.random() < 0.5:
        positive = middle_pixel(mask) + rng.normal(0, 1, (1, 2)).astype(np.float32)
    else:
        positive = random_pixels(rng, mask, 1)
    if rng.random() < 0.3:
        positive = np.concatenate([positive, random_pixels(rng, mask, int(rng.integers(1, 3)))])
    negative = np.zeros((0, 2), np.float32)
    if rng.random() < 0.2:
        negative = random_pixels(rng, ring(mask, 3, 16), int(rng.integers(1, 4)))
    put_points(task, row, positive, negative)


def add_corrections(
    rng: np.random.Generator,
    points: np.ndarray,
    labels: np.ndarray,
    answers: np.ndarray,
    targets: np.ndarray,
    shift: np.ndarray,
) -> None:
    """Add to every prompt the click that a user would make next, in place.

    It falls into one of the larger regions where answer and target (P, H/4,
    W/4) differ, mostly its middle; positive where something was missed.
    """
    for row in range(len(points)):
        free = np.flatnonzero(labels[row] < 0)
        wrong = answers[row] != targets[row]
        if len(free) == 0 or not wrong.any():
            continue
        count, regions, stats, _ = cv2.connectedComponentsWithStats(wrong.astype(np.uint8), connectivity=4)
        sizes = stats[1:, cv2.CC_STAT_AREA].astype(float) ** 2
        region = regions == 1 + rng.choice(count - 1, p=sizes / sizes.sum())
        x, y = middle_pixel(region)[0] if rng.random() < 0.7 else random_pixels(rng, region, 1)[0]
        points[row, free[0]] = np.array([x, y]) * 4 + 1.5 + shift
        labels[row, free[0]] = int(targets[row][int(y), int(x)])


def ring(mask: np.ndarray, gap: int, width: int) -> np.ndarray:
    """Pixels ``gap`` to ``gap + width`` away from a mask."""
    distance = cv2.distanceTransform((~mask.astype(bool)).astype(np.uint8), cv2.DIST_L2, 3)
    return (distance > gap) & (distance <= gap + width)


def clickable(view: View) -> dict[int, int]:
    """Instances large enough to be clicked, and their areas in the view."""
    ids, areas = np.unique(view.instances, return_counts=True)
    return {int(i): int(a) for i, a in zip(ids, areas) if i > 0 and a >= SMALLEST_AREA}


def crop_task(rng: np.random.Generator, view: View, count: int) -> Task | None:
    """Clicks and boxes on a view without an example column; None where nothing can be clicked."""
    there = clickable(view)
    if not there:
        return None
    task = empty_task(count, *view.instances.shape)
    task.weight[:] = ~view.unknown
    ids = np.array(list(there))
    kinds = view.kinds[ids]
    for row in range(count):
        kind = pick_kind(rng, kinds)  # not by number: vehicles may outnumber buildings
        single_prompt(rng, task, row, view.instances == rng.choice(ids[kinds == kind]))
    return task
