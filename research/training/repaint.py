"""New colours for single objects, so that the colour of a roof or a car tells nothing either.

Two real places have few roofs, and those of a new place are of other colours:
a model that has seen them alone takes orange tiles for soil. Patches of ground
are repainted as well, else new paint itself would give objects away.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from research.training.plates import Plate

FEATHER_PX = 3  # footprints are not exact: the new colour fades out over the outline
LARGEST_GAIN = 2.0  # of the texture's contrast
PATCHES = 6  # the most patches of ground per plate, beside one to every eight objects
CAMOUFLAGED = 0.25  # of the repainted objects: in the ground's colour, so that shape and texture have to tell
IN_PARTS = 0.15  # of the repainted objects: a part of them once more, as a roof has of other tin
LEAST_PX = 8  # a patch's shorter side
MOST_PX = 1 << 20  # larger objects, as halls, are left as they are: it would cost more than it teaches


def random_colour(rng: np.random.Generator) -> np.ndarray:
    """A colour of any hue, mostly little saturated, from dark to bright; RGB, 0 to 255."""
    hue = rng.uniform(0, 50) if rng.random() < 0.4 else rng.uniform(0, 360)  # tiles, rust and clay are many
    saturation, value = 0.7 * rng.beta(1, 2), rng.uniform(0.15, 0.95)
    pixel = np.float32([[[hue, saturation, value]]])
    return cv2.cvtColor(pixel, cv2.COLOR_HSV2RGB)[0, 0] * 255


def repaint(rng: np.random.Generator, plate: Plate) -> Plate:
    """The plate with some of its objects, and some patches of ground, in other colours."""
    boxes = plate.instance_boxes()
    image = plate.image.copy()
    share = rng.uniform(0.2, 1)
    for number, (x0, y0, x1, y1, _) in boxes.items():
        if rng.random() < share and (x1 - x0) * (y1 - y0) < MOST_PX:
            _paint(rng, image, plate.instances, number, (x0, y0, x1, y1))
            if rng.random() < IN_PARTS:
                part = _side(rng, plate.instances[y0:y1, x0:x1] == number)
                _paint(rng, image, plate.instances, number, (x0, y0, x1, y1), part)
    height, width = image.shape[:2]
    if boxes:
        sides = np.array([(x1 - x0, y1 - y0) for x0, y0, x1, y1, _ in boxes.values()])
        for _ in range(rng.integers(PATCHES + len(boxes) // 8 + 1)):
            w, h = sides[rng.integers(len(sides))] * rng.uniform(0.7, 3)
            w, h = (int(np.clip(side, LEAST_PX, most)) for side, most in ((w, width), (h, height)))
            x0, y0 = rng.integers(width - w + 1), rng.integers(height - h + 1)
            if w * h < MOST_PX:
                _paint(rng, image, plate.instances, 0, (x0, y0, x0 + w, y0 + h), _blob(rng, h, w))
    return replace(plate, image=image)


def _side(rng: np.random.Generator, inside: np.ndarray) -> np.ndarray:
    """Weights (h, w) of an object's part on one side of a line along it or across it."""
    y, x = np.nonzero(inside)
    offsets = np.stack([x - x.mean(), y - y.mean()])
    _, axes = np.linalg.eigh(np.cov(offsets) if len(x) > 2 else np.eye(2))
    normal = axes[:, rng.integers(2)]
    reach = np.abs(normal @ offsets).max()
    rows, columns = np.indices(inside.shape)
    along = normal[0] * (columns - x.mean()) + normal[1] * (rows - y.mean())
    return (along > rng.uniform(-0.4, 0.4) * reach).astype(np.float32)


def _blob(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Weights (height, width) of a patch without corners or straight sides."""
    coarse = rng.normal(0, 1, (4, 4)).astype(np.float32)
    noise = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    y, x = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)[None]
    return np.clip(4 * (0.9 - x**2 - y**2 + 0.5 * noise), 0, 1).astype(np.float32)


def _paint(rng: np.random.Generator, image, instances, number: int, box, weight=None) -> None:
    """Give what ``number`` is within a box another mean colour; its texture stays."""
    x0, y0, x1, y1 = box
    window = np.s_[max(y0 - FEATHER_PX, 0) : y1 + FEATHER_PX, max(x0 - FEATHER_PX, 0) : x1 + FEATHER_PX]
    inside = (instances[window] == number).astype(np.float32)
    if weight is not None:
        inside *= cv2.resize(weight, inside.shape[::-1])
    total = inside.sum()
    if total < 1:
        return
    pixels = image[window].astype(np.float32)
    mean = (pixels * inside[..., None]).sum(axis=(0, 1)) / total
    ground = instances[window] == 0
    if number and ground.any() and rng.random() < CAMOUFLAGED:
        wanted = pixels[ground].mean(axis=0) + rng.normal(0, 8, 3).astype(np.float32)
    else:
        wanted = random_colour(rng)
    gain = np.clip((wanted.mean() + 20) / (mean.mean() + 20), 1 / LARGEST_GAIN, LARGEST_GAIN)
    painted = (pixels - mean) * gain + wanted
    share = cv2.blur(inside, (FEATHER_PX, FEATHER_PX))[..., None] * rng.uniform(0.6, 1)
    image[window] = np.clip(pixels + share * (painted - pixels), 0, 255).astype(np.uint8)
