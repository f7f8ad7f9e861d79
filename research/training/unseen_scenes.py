"""Synthetic scenes to measure on, as rasters with their truth; their seeds are never trained on.

``python -m research.training.unseen_scenes`` writes ``build/training/unseen_scenes/SEED.tif`` and
``SEED_truth.gpkg``. The truth is what can be seen of each building and vehicle.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import geopandas as gpd
import numpy as np
import rasterio
from rasterio.features import shapes
from shapely.geometry import shape

from research.training.cache import FOLDER as CACHE
from research.training.sample_scene import CRS, map_from_px
from research.training.scenes import Scene, make_scene
from research.training.steps import NAMES

FOLDER = CACHE.parent / "unseen_scenes"
FIRST_SEED = 950_000  # beyond those that validate while training
COUNT, SIDE = 12, 768


def truth_of(scene: Scene) -> gpd.GeoDataFrame:
    """Outlines of what is seen of each building and vehicle, in map coordinates."""
    seen = shapes(
        scene.instances.astype(np.int32), mask=scene.instances > 0, transform=map_from_px(scene.gsd_m)
    )
    parts = [(int(number), shape(outline)) for outline, number in seen if scene.kinds[int(number)] in NAMES]
    numbers, outlines = zip(*parts) if parts else ((), ())
    table = gpd.GeoDataFrame({"number": numbers}, geometry=list(outlines), crs=CRS)
    table = table.dissolve("number").reset_index()
    table["target"] = [NAMES[scene.kinds[number]] for number in table["number"]]
    return table


def write_scene(folder: Path, seed: int, side: int = SIDE) -> Path:
    """Write one scene and its truth; gives the raster's path."""
    scene = make_scene(seed, side)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{seed}.tif"
    height, width = scene.image.shape[:2]
    profile = {"driver": "GTiff", "count": 3, "width": width, "height": height, "dtype": "uint8", "crs": CRS}
    truth_of(scene).to_file(folder / f"{seed}_truth.gpkg", driver="GPKG")
    with rasterio.open(
        path, "w", transform=map_from_px(scene.gsd_m), compress="deflate", **profile
    ) as raster:
        raster.write(scene.image.transpose(2, 0, 1))
    return path


def main() -> None:
    """Write them all."""
    parser = argparse.ArgumentParser(prog="python -m research.training.unseen_scenes", description=__doc__)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--count", type=int, default=COUNT)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    for seed in range(FIRST_SEED, FIRST_SEED + arguments.count):
        write_scene(arguments.folder, seed)
    print(f"{arguments.count} scenes in {arguments.folder}")


if __name__ == "__main__":
    main()
