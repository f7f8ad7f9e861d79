"""Tree crowns over the roofs of real pictures, whose footprints reach under the trees.

Who draws footprints draws a roof as a whole where a tree hides a part of it; the
generator's labels end where its crowns begin, and two real places have few such
roofs. So crowns of the picture's own plants are laid over the rims of more of them,
and as many over the ground, else a crown would give an object away.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from training.plates import Plate
from training.scenes.noise import texture

COARSE_PX = 8  # side of the places where plants are looked for
GREENEST = 88  # percentile of the greenness from which on a place counts as plants
MOST_OVERGROWN = 0.4  # of the objects
MOST_CROWNS = 3  # over one object
RADIUS = (0.15, 0.6)  # of a crown, as a share of the object's shorter side
RADIUS_PX = (4, 60)
MOST_HIDDEN = 0.5  # of an object by its crowns: beyond that its label would be a guess
SHADE = 0.55  # what a crown's shadow leaves of the light


def overgrow(rng: np.random.Generator, plate: Plate) -> Plate:
    """The plate with crowns over some objects and over ground, its labels as before.

    A plate without plants or objects stays as it is.
    """
    plants, boxes = places_of_plants(plate), plate.instance_boxes()
    if not len(plants) or not boxes:
        return plate
    image = plate.image.copy()
    turn = rng.uniform(0, 2 * np.pi)
    sun = np.array([np.sin(turn), np.cos(turn)]) * rng.uniform(0.2, 0.8)  # a shadow's way, in radii
    share = rng.uniform(0, MOST_OVERGROWN)
    for number, (x0, y0, x1, y1, area) in boxes.items():
        if rng.random() > share:
            continue
        inside = np.array([y0, x0]) + np.argwhere(plate.instances[y0:y1, x0:x1] == number)
        count = int(rng.integers(1, MOST_CROWNS + 1))
        most = np.sqrt(MOST_HIDDEN * area / (count * np.pi))
        for _ in range(count):
            radius = np.clip(min(x1 - x0, y1 - y0) * rng.uniform(*RADIUS), *RADIUS_PX)
            for centre in (_on_the_rim(rng, inside), rng.uniform((0, 0), image.shape[:2])):
                source = plants[rng.integers(len(plants))]
                _plant(rng, image, plate.image, centre, source, min(radius, most), sun)
    return replace(plate, image=image)


def places_of_plants(plate: Plate) -> np.ndarray:
    """Centres (n, 2), row and column, of the greenest places where no object lies."""
    height, width = (side // COARSE_PX for side in plate.image.shape[:2])
    if not height or not width:
        return np.empty((0, 2))
    coarse, objects = (
        cv2.resize(picture.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
        for picture in (plate.image, plate.instances > 0)
    )
    bright = coarse.sum(axis=2) + 1
    greenness = (3 * coarse[..., 1] - bright) / bright
    there = greenness > max(np.percentile(greenness, GREENEST), 0)
    return (np.argwhere(there & (objects == 0)) + 0.5) * COARSE_PX


def _on_the_rim(rng: np.random.Generator, inside: np.ndarray) -> np.ndarray:
    """A place of an object, mostly far from its middle."""
    some = inside[rng.integers(len(inside), size=3)]
    return some[np.linalg.norm(some - inside.mean(axis=0), axis=1).argmax()]


def _plant(rng: np.random.Generator, image, original, centre, source, radius: float, sun: np.ndarray) -> None:
    """Lay the original's texture around ``source`` over ``image`` as a ragged crown with its shadow."""
    window, alpha = _crown(rng, image.shape, centre + sun * radius, radius)
    image[window] = image[window] * (1 - (1 - SHADE) * alpha[..., None])
    window, alpha = _crown(rng, image.shape, centre, radius)
    rows, columns = (
        np.clip(np.arange(part.start, part.stop) + int(there - here), 0, side - 1)
        for part, there, here, side in zip(window, source, centre, image.shape)
    )
    leaves = original[rows[:, None], columns]
    image[window] = image[window] + alpha[..., None] * (leaves.astype(np.float32) - image[window])


def _crown(rng: np.random.Generator, shape, centre, radius: float) -> tuple[tuple[slice, slice], np.ndarray]:
    """Window within an image of this shape, and how far a ragged disc covers it, 0 to 1."""
    window = tuple(
        slice(int(np.clip(c - 1.5 * radius, 0, side)), int(np.clip(c + 1.5 * radius + 1, 0, side)))
        for c, side in zip(centre, shape)
    )
    y, x = (np.arange(part.start, part.stop) - c for part, c in zip(window, centre))
    distance = np.hypot(y[:, None], x) / radius
    ragged = 0.15 * texture(rng, "leaves", *distance.shape) + 0.1 * texture(rng, "soil", *distance.shape)
    return window, np.clip((1 + ragged - distance) / max(0.1, 1.2 / radius), 0, 1).astype(np.float32)
