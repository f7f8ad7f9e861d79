"""Masks for tiles whose objects are known as boxes only, with the help of the model in training.

``python -m research.training.pseudo MODEL`` (a checkpoint or a model file) clicks at the middle of every box.
A building's mask is kept where its own bounding box agrees with the box, which
the model has not seen. A vehicle is a rectangle of known proportions, so its
box leaves two outlines only, mirror images; the model's answer decides between
them. All other boxes stay unknown. Training goes on with ``--pseudo FOLDER``.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import cv2
import geopandas as gpd
import numpy as np
import torch
from scipy import ndimage

from research.common.paths import TRAINING_DATA
from research.training import cache
from research.training.network import Prompts, Trainee
from research.training.plates import Plate, pixel_box, read_picture
from research.training.scenes import BUILDING, VEHICLE
from research.training.scenes.paint import rectangle
from research.training.state import State, weights_of

FOLDER = cache.FOLDER.parent / "pseudo"
WINDOW = 320  # canvas pixels around a box
BOX_PX = {BUILDING: 150.0, VEHICLE: 84.0}  # canvas pixels that a box's longer side is scaled to
AGREEMENT = 0.75  # IoU of the mask's bounding box with the box
LEAST_FILL = 0.25  # of the box that a mask must fill
TILE_GSD_M = 0.2
SNUG = 0.95  # boxes are drawn around vehicles with a little room
ALIKE = 0.6  # IoU of a vehicle's two possible outlines from which on either will do
LEAST_DIFFERENCE = 0.04  # of the model's mean answer inside the two outlines
KINDS = {"building": BUILDING, "vehicle": VEHICLE}


@dataclass
class Labels:
    """What the boxes of a tile became: instances, their kinds, and what stays unknown."""

    instances: np.ndarray
    kinds: list[int]
    unknown: np.ndarray


@torch.inference_mode()
def answer_in_box(model: Trainee, image: np.ndarray, box: np.ndarray, kind: int) -> np.ndarray:
    """Logits (tile pixels) of the model's answer to a click at the middle of a box (x0, y0, x1, y1)."""
    longer = max(box[2] - box[0], box[3] - box[1])
    scale = float(np.clip(BOX_PX[kind] / longer, 0.1, 4.0))
    corner = (box[:2] + box[2:]) / 2 - WINDOW / scale / 2
    window_from_tile = np.float32([[scale, 0, -corner[0] * scale], [0, scale, -corner[1] * scale]])
    smooth = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_LINEAR
    if scale < 0.5:  # else large halls would be sampled between their pixels
        image = cv2.blur(image, (round(1 / scale), round(1 / scale)))
    view = cv2.warpAffine(
        image, window_from_tile, (WINDOW, WINDOW), flags=smooth, borderMode=cv2.BORDER_REFLECT
    )
    click = np.full((1, 1, 2), WINDOW / 2, np.float32)
    features = model.encode([view])
    # the true box as prompt would be answered by a box; what the model itself sees there may be wrong
    seen = model.boxes_at(features, torch.from_numpy(click[:, 0])) if kind == BUILDING else None
    logits, _ = model.decode(features, Prompts(torch.from_numpy(click), torch.ones(1, 1), seen))
    full = cv2.resize(logits[0, 0].numpy(), (WINDOW, WINDOW), interpolation=cv2.INTER_LINEAR)
    size = image.shape[1], image.shape[0]
    back = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(full, window_from_tile, size, flags=back, borderValue=-9.0)


def vehicle_outlines(box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The two rectangles (4, 2) with a vehicle's proportions that a box may be drawn around."""
    width, height = box[2:] - box[:2]
    slender = 0.3 if max(width, height) * TILE_GSD_M > 7 else 0.42  # width to length: trucks, cars
    angles = np.linspace(0, np.pi / 2, 181)
    ratio = (np.cos(angles) + slender * np.sin(angles)) / (np.sin(angles) + slender * np.cos(angles))
    angle = float(angles[np.abs(np.log(ratio * height / width)).argmin()])
    length = 0.5 * (
        width / (np.cos(angle) + slender * np.sin(angle)) + height / (np.sin(angle) + slender * np.cos(angle))
    )
    middle = (box[:2] + box[2:]) / 2
    length *= SNUG
    return tuple(rectangle(middle, length, length * slender, turn) for turn in (angle, -angle))


def vehicle_mask(logits: np.ndarray, box: np.ndarray) -> np.ndarray | None:
    """The vehicle's mask in its box; None where the model's answer doesn't tell which way it points."""
    masks = []
    for outline in vehicle_outlines(box):
        drawn = np.zeros(logits.shape, np.uint8)
        cv2.fillPoly(drawn, [np.round((outline - 0.5) * 16).astype(np.int32)], 1, cv2.LINE_8, 4)
        masks.append(drawn > 0)
    share = 1 / (1 + np.exp(-np.clip(logits, -20, 20)))
    overlap = (masks[0] & masks[1]).sum() / max(1, (masks[0] | masks[1]).sum())
    scores = [float(share[mask].mean()) if mask.any() else 0.0 for mask in masks]
    if overlap < ALIKE and abs(scores[0] - scores[1]) < LEAST_DIFFERENCE:
        return None
    chosen = masks[int(scores[1] > scores[0])]
    return chosen if chosen.any() else None


def building_mask(logits: np.ndarray, box: np.ndarray) -> np.ndarray | None:
    """The model's own mask, its largest part, where that fits the box."""
    parts, count = ndimage.label(logits > 0)
    if not count:
        return None
    largest = parts == 1 + np.bincount(parts.ravel())[1:].argmax()
    return largest if fits(largest, box) else None


def fits(mask: np.ndarray, box: np.ndarray) -> bool:
    """Whether a mask's bounding box agrees with a box, and fills enough of it."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if len(rows) == 0:
        return False
    own = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
    low, high = np.maximum(own[:2], box[:2]), np.minimum(own[2:], box[2:])
    shared = np.prod(np.maximum(high - low, 0))
    area = np.prod(box[2:] - box[:2])
    union = area + np.prod(own[2:] - own[:2]) - shared
    return shared / union >= AGREEMENT and mask.sum() >= LEAST_FILL * area


def label_tile(model: Trainee, image: np.ndarray, boxes: list[tuple[np.ndarray, int]]) -> Labels:
    """Masks of all boxes of a tile, larger ones first."""
    labels = Labels(np.zeros(image.shape[:2], np.int32), [0], np.zeros(image.shape[:2], bool))
    for box, kind in sorted(boxes, key=lambda item: -np.prod(item[0][2:] - item[0][:2])):
        logits = answer_in_box(model, image, box, kind)
        mask = (vehicle_mask if kind == VEHICLE else building_mask)(logits, box)
        x0, y0, x1, y1 = (int(v) for v in np.round(box))
        around = (slice(max(0, y0 - 2), y1 + 3), slice(max(0, x0 - 2), x1 + 3))
        if mask is None:
            labels.unknown[around] = True
            labels.instances[around] = 0
        else:
            labels.kinds.append(kind)
            # the rim is a pixel or two off
            rim = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
            labels.unknown[rim] = True
            labels.unknown[mask] = False
            labels.instances[mask] = len(labels.kinds) - 1
    return labels


def boxes_of_tile(path: Path) -> tuple[np.ndarray, list[tuple[np.ndarray, int]]]:
    """Picture and boxes (pixels, kind) of a tile."""
    image, transform = read_picture(path)
    table = gpd.read_file(path.with_name(path.stem + "_boxes.gpkg"))
    found = [(np.array(pixel_box(g, transform)), KINDS[t]) for t, g in zip(table.target, table.geometry)]
    return image, [(box, kind) for box, kind in found if min(box[2:] - box[:2]) > 3]


def load_pseudo(folder: Path, real: Path) -> list[Plate]:
    """Plates of the tiles that were labelled into ``folder``."""
    plates = []
    for path in sorted(folder.glob("*.npz")):
        image, _ = read_picture(real / "estonia" / (path.stem + ".tif"))
        with np.load(path) as stored:
            instances, kinds = stored["instances"].astype(np.int32), stored["kinds"]
            unknown = stored["unknown"]
        # the boxes are complete: what is in none of them is neither a building nor a vehicle
        there = tuple(int(kind) for kind in np.unique(kinds[1:]))
        plates.append(Plate(image, instances, kinds, there, unknown, synthetic=False))
    return plates


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m research.training.pseudo", description=__doc__)
    parser.add_argument("model", type=Path, help="checkpoint or model file")
    parser.add_argument("--real", type=Path, default=TRAINING_DATA)
    parser.add_argument("--output", type=Path, default=FOLDER)
    parser.add_argument("--only", nargs="*", help="names of tiles")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    model = State(starts=[weights_of(arguments.model)]).averaged()
    arguments.output.mkdir(parents=True, exist_ok=True)
    for path in sorted((arguments.real / "estonia").glob("*.tif")):
        if arguments.only and path.stem not in arguments.only:
            continue
        image, boxes = boxes_of_tile(path)
        labels = label_tile(model, image, boxes)
        np.savez_compressed(
            arguments.output / f"{path.stem}.npz",
            instances=labels.instances.astype(np.uint16),
            kinds=np.array(labels.kinds, np.uint8),
            unknown=labels.unknown,
        )
        print(f"{path.stem}: {len(labels.kinds) - 1} of {len(boxes)} boxes have a mask", flush=True)


if __name__ == "__main__":
    main()
