"""Masks for tiles whose objects are known as boxes only, made by the model in training.

``python -m training.pseudo CHECKPOINT`` prompts the model with every box and
keeps the mask where its own bounding box agrees with the box; all other boxes
stay unknown. Training goes on with ``--pseudo FOLDER``.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import cv2
import geopandas as gpd
import numpy as np
import torch

from training import cache
from training.network import Prompts, Trainee
from training.plates import REAL_DATA, Plate, pixel_box, read_picture
from training.scenes import BUILDING, VEHICLE
from training.state import State

FOLDER = cache.FOLDER.parent / "pseudo"
WINDOW = 320  # canvas pixels around a box
BOX_PX = {BUILDING: 150.0, VEHICLE: 84.0}  # canvas pixels that a box's longer side is scaled to
AGREEMENT = 0.72  # IoU of the mask's bounding box with the box
LEAST_FILL = 0.25  # of the box that a mask must fill
KINDS = {"building": BUILDING, "vehicle": VEHICLE}


@dataclass
class Labels:
    """What the boxes of a tile became: instances, their kinds, and what stays unknown."""

    instances: np.ndarray
    kinds: list[int]
    unknown: np.ndarray


@torch.inference_mode()
def mask_in_box(model: Trainee, image: np.ndarray, box: np.ndarray, kind: int) -> np.ndarray | None:
    """The model's mask (tile pixels, bool) for a box (x0, y0, x1, y1); None where it doesn't fit the box."""
    longer = max(box[2] - box[0], box[3] - box[1])
    scale = float(np.clip(BOX_PX[kind] / longer, 0.1, 4.0))
    middle = np.array([box[0] + box[2], box[1] + box[3]]) / 2
    corner = middle - WINDOW / scale / 2
    # rows of the matrix map window pixels to tile pixels, centres to centres
    window_from_tile = np.float32([[scale, 0, -corner[0] * scale], [0, scale, -corner[1] * scale]])
    smooth = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
    view = cv2.warpAffine(
        image, window_from_tile, (WINDOW, WINDOW), flags=smooth, borderMode=cv2.BORDER_REFLECT
    )
    in_view = (box.reshape(2, 2) - corner) * scale
    prompts = Prompts(None, None, boxes=torch.from_numpy(in_view.reshape(1, 4).astype(np.float32)))
    logits, quality = model.decode(model.encode([view]), prompts)
    chosen = logits[0, int(quality[0].argmax())].numpy()
    full = cv2.resize(chosen, (WINDOW, WINDOW), interpolation=cv2.INTER_LINEAR)
    size = image.shape[1], image.shape[0]
    mask = cv2.warpAffine(
        full, window_from_tile, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderValue=-9.0
    )
    mask = mask > 0
    return mask if fits(mask, box) else None


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
        mask = mask_in_box(model, image, box, kind)
        x0, y0, x1, y1 = (int(v) for v in np.round(box))
        around = (slice(max(0, y0 - 2), y1 + 3), slice(max(0, x0 - 2), x1 + 3))
        if mask is None:
            labels.unknown[around] = True
            labels.instances[around] = 0
        else:
            labels.kinds.append(kind)
            labels.instances[mask] = len(labels.kinds) - 1
            labels.unknown[mask] = False
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
        plates.append(Plate(image, instances, kinds, (BUILDING, VEHICLE), unknown, synthetic=False))
    return plates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--real", type=Path, default=REAL_DATA)
    parser.add_argument("--output", type=Path, default=FOLDER)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    model = State.load(arguments.checkpoint).averaged()
    arguments.output.mkdir(parents=True, exist_ok=True)
    for path in sorted((arguments.real / "estonia").glob("*.tif")):
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
