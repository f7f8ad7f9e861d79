"""Scenes on disk, so that training doesn't wait for them.

``python -m research.training.cache --count 2000`` writes ``build/training/scenes/SEED.npz``;
files that are there already are left alone, so it can be stopped and repeated.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from research.common.paths import BUILD
from research.training.scenes import Scene, make_scene

FOLDER = BUILD / "scenes"
HELD_OUT_SEED = 900_000  # scenes from here on are for validation only


def scene_path(folder: Path, seed: int) -> Path:
    """File of one scene."""
    return folder / f"{seed:06d}.npz"


def load_scene(path: Path) -> Scene:
    """Read a scene that ``save_scene`` wrote."""
    with np.load(path) as stored:
        return Scene(
            stored["image"], stored["instances"].astype(np.int32), stored["kinds"], float(stored["gsd_m"])
        )


def save_scene(path: Path, scene: Scene) -> None:
    """Write a scene; a half-written file never has the final name."""
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        np.savez(
            file,
            image=scene.image,
            instances=scene.instances.astype(np.uint16),
            kinds=scene.kinds,
            gsd_m=np.float64(scene.gsd_m),
        )
    part.replace(path)


def fill_cache(folder: Path, seeds: range, size: int = 512) -> int:
    """Draw the scenes that are missing; gives how many were drawn."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = 0
    for seed in seeds:
        path = scene_path(folder, seed)
        if not path.exists():
            save_scene(path, make_scene(seed, size))
            drawn += 1
    return drawn


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m research.training.cache", description=__doc__)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=600)
    parser.add_argument("--size", type=int, default=512, help="side of a scene in pixels")
    parser.add_argument("--held-out", type=int, default=24, help="scenes for validation")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    drawn = fill_cache(arguments.folder, range(HELD_OUT_SEED, HELD_OUT_SEED + arguments.held_out))
    drawn += fill_cache(
        arguments.folder, range(arguments.first, arguments.first + arguments.count), arguments.size
    )
    print(f"{drawn} scenes drawn into {arguments.folder}")


if __name__ == "__main__":
    main()
