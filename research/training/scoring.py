"""Fit how ``core.instances.scoring`` weighs its features, on detections whose truth is known.

``python -m research.training.scoring`` prints the weights. As for ``research.training.merging`` the real
places, among them all tiles with boxes of vehicles, are shown to the model of synthetic scenes alone,
which has never seen a real one, and scenes of seeds that no step draws to the model that ships.
``detect`` runs on examples drawn by the seed; what it finds is an object like the example where
half or more of it lies on such objects, or where it matches one. So a row of houses found as one is right
here: where one ends is another question. Every place counts alike, and in it every example
by the root of how much it finds, so that neither full nor empty images outweigh the others. Weights
are kept small, since a class is less surely told in one place than in another.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import defaultdict
from pathlib import Path

import geopandas as gpd
import numpy as np
import shapely

from core.errors import InputError
from core.instances import scoring
from core.metrics import match, overlaps, shapes_on
from core.pipeline.tile import TileResult
from core.sam.segmenter import Segmenter
from research.common.cases import Case, draw_cases, read_place
from research.common.matching import BOX_IOU, HALF, OUTLINE_IOU
from research.common.paths import MODEL_FILE, TRAINING_DATA
from research.common.tile_results import record
from research.training.logistic import Rows, report, together
from research.training.merging import FIRST_SEED, SCENES, SYNTHETIC_MODEL
from research.training.unseen_scenes import FOLDER, write_scene

REAL_PLACES = {"kampala": 5, "banepa": 3}  # how many examples
SEED = 3  # of the examples
RIDGE = 0.01


def right(found: gpd.GeoDataFrame, case: Case, *, boxes: bool) -> tuple[np.ndarray, np.ndarray]:
    """Which detections (F,) are objects like the example, and which can be told."""
    extent = shapely.box(*case.place.extent_map)
    own, true = (shapes_on(extent, table, boxes=boxes) for table in (found, case.place.truth))
    matching = match(own, true, extent, BOX_IOU if boxes else OUTLINE_IOU)
    left, _, shared, _ = overlaps(own, true)
    on_objects = np.bincount(left, shared, len(own)) / shapely.area(own)
    return (on_objects >= HALF) | matching.hit_found, ~matching.ignored


def features_of(case: Case, segmenter: Segmenter, target: str) -> tuple[gpd.GeoDataFrame, np.ndarray]:
    """What one example finds, whatever its score, and its features (F, 4); NaN for what was drawn."""
    found, results, work_grid, plan = record(case, segmenter, target)
    smallest = min(plan.example_areas)
    measured = []
    for result in results:
        own, score_map = result.unlabelled, result.score_map
        if own.match_probability is not None and score_map is not None:
            measured.append((result, scoring.features(own.objects, score_map, smallest)))
    points = [work_grid.to_work(shape.representative_point()) for shape in found.geometry]
    return found, np.array([_at(point, measured) for point in points]).reshape(len(found), -1)


def _at(point_work: shapely.Point, measured: list[tuple[TileResult, np.ndarray]]) -> np.ndarray:
    """Features (4,) of the object at a point, as the tile sees it that answers for the point."""
    for result, features in measured:
        tile = result.tile
        (rows, columns), objects = tile.cell_tile, result.segmentation.objects
        row, column = int(point_work.y) - tile.y_work, int(point_work.x) - tile.x_work
        if rows.start <= row < rows.stop and columns.start <= column < columns.stop:
            number = objects[row, column]
            if 0 < number <= len(features):  # beyond are what was drawn
                return features[number - 1]
    return np.full(scoring.N_FEATURES, np.nan)


def rows_of(cases: list[Case], segmenter: Segmenter, target: str, *, boxes: bool = False) -> Rows:
    """Features, answers and weights of all that is found in some cases."""
    rows = []
    for case in cases:
        found, features = features_of(case, segmenter, target)
        true, is_judged = right(found, case, boxes=boxes)
        used = is_judged & np.isfinite(features).all(axis=1)
        if used.any():
            rows.append((features[used], true[used], np.full(used.sum(), used.sum() ** -0.5)))
    return rows


def cases_on(
    raster: Path, truth: Path, target: str, count: int, folder: Path, outliner: Segmenter | None = None
) -> list[Case]:
    """Examples of a target on a raster; none where it holds no such objects."""
    try:
        place = read_place(str(raster), str(truth), target)
        return draw_cases([place], folder, examples=count, seed=SEED, outliner=outliner)
    except InputError:
        return []


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m research.training.scoring", description=__doc__)
    parser.add_argument("--real", type=Path, default=TRAINING_DATA)
    parser.add_argument("--model", type=Path, default=MODEL_FILE, help="sees the scenes")
    parser.add_argument("--synthetic-model", type=Path, default=SYNTHETIC_MODEL, help="sees the real places")
    arguments = parser.parse_args()
    rows: dict[str, dict[str, Rows]] = {target: defaultdict(list) for target in scoring.WEIGHTS}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        network = Segmenter.load("embedded", str(arguments.synthetic_model), "cpu", "single")
        for place, count in REAL_PLACES.items():
            raster = arguments.real / f"{place}.tif"
            cases = cases_on(raster, raster.with_name(f"{place}_truth.gpkg"), "building", count, folder)
            rows["building"][place] += rows_of(cases, network, "building")
        for raster in sorted((arguments.real / "estonia").glob("*.tif")):
            truth = raster.with_name(f"{raster.stem}_boxes.gpkg")
            cases = cases_on(raster, truth, "vehicle", 1, folder, outliner=network)
            rows["vehicle"]["estonia"] += rows_of(cases, network, "vehicle", boxes=True)
        network = Segmenter.load("embedded", str(arguments.model), "cpu", "single")
        for seed in range(FIRST_SEED, FIRST_SEED + SCENES):
            raster = write_scene(FOLDER.parent / "scoring_scenes", seed)
            for target in rows:
                cases = cases_on(raster, raster.with_name(f"{seed}_truth.gpkg"), target, 1, folder)
                rows[target]["scenes"] += rows_of(cases, network, target)
    for target, places in rows.items():
        print(f"# {target}")
        report({place: together(own) for place, own in places.items()}, RIDGE)


if __name__ == "__main__":
    main()
