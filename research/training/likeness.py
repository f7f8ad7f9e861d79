"""Fit how ``core.instances.scoring`` weighs its signs, on detections whose truth is known.

``python -m research.training.likeness`` prints the weights. As for ``research.training.joining`` the real
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
from unittest import mock

import geopandas as gpd
import numpy as np
import shapely
from shapely.affinity import affine_transform

from core.errors import InputError
from core.instances import scoring
from core.metrics import match, overlaps, shapes_on
from core.sam.segmenter import Segmenter
from core.vectors import polygonize
from research.benchmarks.accuracy import BOX_IOU, OUTLINE_IOU
from research.benchmarks.cases import Case, draw_cases, read_place
from research.benchmarks.causes import HALF
from research.training import recorded
from research.training.export import MODEL_FILE
from research.training.joining import FIRST_SEED, SCENES, SYNTHETIC_MODEL
from research.training.logistic import Rows, report, together
from research.training.plates import REAL_DATA
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


def signs_of(case: Case, segmenter: Segmenter, target: str) -> tuple[gpd.GeoDataFrame, np.ndarray]:
    """What a run with one example finds, whatever its score, and its signs (F, 4); NaN for what was drawn."""
    told: list[np.ndarray] = []  # of the tile at hand
    tiles: list[tuple] = []
    trace, of_tile = polygonize.trace, scoring.likeness

    def record_signs(vote, target, example_px):
        told.append(scoring.signs(vote, example_px))
        return of_tile(vote, target, example_px)

    def record_tile(vote, cell_tile, x_work, y_work):
        if told:
            tiles.append((vote.objects, told.pop(), cell_tile, x_work, y_work))
        return trace(vote, cell_tile, x_work, y_work)

    with (
        mock.patch.object(scoring, "likeness", record_signs),
        mock.patch.object(polygonize, "trace", record_tile),
    ):
        found, work_from_map = recorded.run(case, segmenter, target)
    points = [affine_transform(shape.representative_point(), work_from_map) for shape in found.geometry]
    return found, np.array([_at(point, tiles) for point in points]).reshape(len(found), -1)


def _at(point_work: shapely.Point, tiles: list[tuple]) -> np.ndarray:
    """Signs (4,) of the object at a point, as the tile sees it that answers for the point."""
    for objects, told, (rows, columns), x_work, y_work in tiles:
        row, column = int(point_work.y) - y_work, int(point_work.x) - x_work
        if rows.start <= row < rows.stop and columns.start <= column < columns.stop:
            number = objects[row, column]
            if 0 < number <= len(told):  # beyond are what was drawn, which need no signs
                return told[number - 1]
    return np.full(scoring.SIGNS, np.nan)


def rows_of(cases: list[Case], segmenter: Segmenter, target: str, *, boxes: bool = False) -> Rows:
    """Signs, answers and weights of all that is found in some cases."""
    rows = []
    for case in cases:
        found, signs = signs_of(case, segmenter, target)
        true, is_judged = right(found, case, boxes=boxes)
        used = is_judged & np.isfinite(signs).all(axis=1)
        if used.any():
            rows.append((signs[used], true[used], np.full(used.sum(), used.sum() ** -0.5)))
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
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--real", type=Path, default=REAL_DATA)
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
            raster = write_scene(FOLDER.parent / "likeness_scenes", seed)
            for target in rows:
                cases = cases_on(raster, raster.with_name(f"{seed}_truth.gpkg"), target, 1, folder)
                rows[target]["scenes"] += rows_of(cases, network, target)
    for target, places in rows.items():
        print(f"# {target}")
        report({place: together(own) for place, own in places.items()}, RIDGE)


if __name__ == "__main__":
    main()
