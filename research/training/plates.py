"""Labelled pictures to cut training views from: synthetic scenes and real orthophotos."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import cv2
import geopandas as gpd
import numpy as np
import rasterio
from rasterio.features import rasterize

from research.training.cache import load_scene
from research.training.scenes import BUILDING, CONTAINER, POOL, TREE, VEHICLE

# how often each kind is clicked or is the example, where a picture has it
KIND_WEIGHTS = {BUILDING: 0.6, VEHICLE: 0.27, TREE: 0.07, POOL: 0.03, CONTAINER: 0.03}
HELD_OUT_SHARE = 0.2  # of each real picture's width, kept for validation inside training


@dataclass
class Plate:
    """A picture with instances.

    Attributes
    ----------
    image : numpy.ndarray
        (H, W, 3) uint8, RGB.
    instances : numpy.ndarray
        (H, W) int32, 0 = none.
    kinds : numpy.ndarray
        Kind of every instance; ``kinds[0]`` is 0.
    labelled : tuple of int
        Kinds whose objects are all labelled.
    unknown : numpy.ndarray or None
        (H, W) bool: pixels about which the labels say nothing.
    synthetic : bool
        Whether the generator drew it.
    boxes : dict
        Bounding box (x0, y0, x1, y1, area) of each instance in pixels, filled when first asked for.
    """

    image: np.ndarray
    instances: np.ndarray
    kinds: np.ndarray
    labelled: tuple[int, ...]
    unknown: np.ndarray | None = None
    synthetic: bool = True
    boxes: dict[int, tuple[int, int, int, int, int]] = field(default_factory=dict)

    def instance_boxes(self) -> dict[int, tuple[int, int, int, int, int]]:
        """Bounding boxes and areas of all instances that have pixels."""
        if not self.boxes:
            self.boxes = boxes_of(self.instances)
        return self.boxes


def boxes_of(instances: np.ndarray) -> dict[int, tuple[int, int, int, int, int]]:
    """Bounding box (x0, y0, x1, y1; ends exclusive) and area of every instance."""
    rows, columns = np.nonzero(instances)
    ids = instances[rows, columns]
    if len(ids) == 0:
        return {}
    n = int(ids.max()) + 1
    low, high = np.full((2, n), 1 << 30), np.full((2, n), -1)
    for axis, values in enumerate((columns, rows)):
        np.minimum.at(low[axis], ids, values)
        np.maximum.at(high[axis], ids, values)
    area = np.bincount(ids, minlength=n)
    return {
        int(i): (int(low[0, i]), int(low[1, i]), int(high[0, i]) + 1, int(high[1, i]) + 1, int(area[i]))
        for i in np.flatnonzero(area)
    }


def pick_kind(rng: np.random.Generator, kinds) -> int:
    """One of the kinds that are there, by ``KIND_WEIGHTS``."""
    there = np.unique(np.asarray(kinds))
    weights = np.array([KIND_WEIGHTS[int(kind)] for kind in there])
    return int(rng.choice(there, p=weights / weights.sum()))


class ScenePlates:
    """Synthetic plates from a cache folder; new files are noticed as they come."""

    def __init__(self, folder: Path, first: int, last: int):
        self.folder, self.first, self.last = folder, first, last
        self._files: list[Path] = []
        self._drawn = 0

    def draw(self, rng: np.random.Generator) -> Plate:
        """A random scene of the cache."""
        if self._drawn % 200 == 0:
            self._files = [
                f for f in sorted(self.folder.glob("*.npz")) if self.first <= int(f.stem) < self.last
            ]
            if not self._files:
                raise FileNotFoundError(
                    f"no scenes in {self.folder}: run python -m research.training.cache first"
                )
        self._drawn += 1
        return scene_plate(self._files[rng.integers(len(self._files))])


def scene_plate(path: Path) -> Plate:
    """One scene of the cache as a plate."""
    scene = load_scene(path)
    there = np.unique(scene.kinds[1:])
    return Plate(scene.image, scene.instances, scene.kinds, tuple(int(kind) for kind in there))


def read_picture(path: Path) -> tuple[np.ndarray, rasterio.Affine]:
    """Picture (H, W, 3) and georeference of a raster."""
    with rasterio.open(path) as raster:
        return np.ascontiguousarray(raster.read([1, 2, 3]).transpose(1, 2, 0)), raster.transform


def load_footprints(folder: Path) -> list[Plate]:
    """Real orthophotos with building footprints; vehicles in them are not labelled."""
    plates = []
    for path in sorted(folder.glob("*.tif")):
        truth = path.with_name(path.stem + "_truth.gpkg")
        if not truth.exists():
            continue
        image, transform = read_picture(path)
        table = gpd.read_file(truth)
        shapes = [(geometry, i + 1) for i, geometry in enumerate(table.geometry)]
        instances = rasterize(shapes, image.shape[:2], transform=transform, dtype="int32")
        kinds = np.array([0] + [BUILDING] * len(table), np.uint8)
        plates.append(Plate(image, instances, kinds, (BUILDING,), synthetic=False))
    return plates


def load_boxes(folder: Path) -> list[Plate]:
    """Real tiles whose objects are known as boxes only.

    All of a box is unknown but the middle of a vehicle's, which is vehicle; the
    rest of the tile is neither.
    """
    plates = []
    for path in sorted(folder.glob("*.tif")):
        table_path = path.with_name(path.stem + "_boxes.gpkg")
        if not table_path.exists():
            continue
        image, transform = read_picture(path)
        table = gpd.read_file(table_path)
        unknown = np.zeros(image.shape[:2], bool)
        instances = np.zeros(image.shape[:2], np.int32)
        kinds = [0]
        for target, geometry in zip(table.target, table.geometry):
            x0, y0, x1, y1 = pixel_box(geometry, transform)
            unknown[max(0, int(y0) - 3) : int(y1) + 4, max(0, int(x0) - 3) : int(x1) + 4] = True
            if target == "vehicle":
                kinds.append(VEHICLE)
                centre = (int((x0 + x1) / 2), int((y0 + y1) / 2))
                # half of the shorter side: certainly on the body, whichever way it points
                cv2.circle(instances, centre, max(1, int(min(x1 - x0, y1 - y0) * 0.25)), len(kinds) - 1, -1)
        unknown[instances > 0] = False
        plates.append(Plate(image, instances, np.array(kinds, np.uint8), (), unknown, synthetic=False))
    return plates


def pixel_box(geometry, transform) -> tuple[float, float, float, float]:
    """Bounding box of a geometry in pixels: x0, y0, x1, y1."""
    x0, y0, x1, y1 = geometry.bounds
    (a, b), (c, d) = ~transform * (x0, y1), ~transform * (x1, y0)
    return a, b, c, d


def split_plate(plate: Plate, share: float = HELD_OUT_SHARE) -> tuple[Plate, Plate]:
    """Training part (left) and held-out part (right) of a real plate."""
    cut = int(plate.image.shape[1] * (1 - share))
    parts = []
    for columns in (slice(None, cut), slice(cut, None)):
        unknown = None if plate.unknown is None else plate.unknown[:, columns]
        parts.append(
            Plate(
                plate.image[:, columns],
                plate.instances[:, columns],
                plate.kinds,
                plate.labelled,
                unknown,
                False,
            )
        )
    return parts[0], parts[1]
