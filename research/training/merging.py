"""Fit how ``core.instances.merging`` weighs its features, on pairs of pieces whose truth is known.

``python -m research.training.merging`` prints the weights. Borders err most where the network has
never been, so both real places are shown to the model of synthetic scenes alone, and
scenes of seeds that no step draws to the model that ships. ``detect`` runs on examples
drawn by the seed; each pair of touching pieces is one object where the same object of the
truth covers most of both. Every place counts alike.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

from core.instances import merging
from core.sam.segmenter import Segmenter
from research.common.cases import Case, draw_cases, read_place
from research.common.paths import MODEL_FILE, TRAINING_DATA
from research.common.tile_results import record
from research.training.logistic import Judged, report, together
from research.training.unseen_scenes import FOLDER, write_scene

SYNTHETIC_MODEL = Path(__file__).resolve().parent / "models" / "synthetic.safetensors"
REAL_PLACES = {"kampala": 5, "banepa": 2}  # how many examples
FIRST_SEED, SCENES = 930_000, 5
LARGEST_WEIGHT, LEAST_WEIGHT = 0.5, 0.02  # of a pair, by its smaller piece's area in examples


def judged(
    pieces: np.ndarray, truth: np.ndarray, pairs: np.ndarray, example_area: float
) -> tuple[np.ndarray, np.ndarray]:
    """Which pairs (P, 2) are one object by the truth's numbers, and what each counts, 0 on mere ground."""
    shape = int(pieces.max()) + 1, int(truth.max()) + 1
    shared = np.zeros(shape, int)
    np.add.at(shared, (pieces, truth), 1)
    area, owner = shared.sum(axis=1), shared.argmax(axis=1)
    purity = shared.max(axis=1) / np.maximum(area, 1)
    one, other = pairs.T
    same = (owner[one] == owner[other]) & (owner[one] > 0)
    size = np.minimum(area[one], area[other]) * np.minimum(purity[one], purity[other]) / example_area
    counts = np.clip(size, 0, LARGEST_WEIGHT) + LEAST_WEIGHT
    return same, np.where((owner[one] > 0) | (owner[other] > 0), counts, 0.0)


def pairs_of(case: Case, segmenter: Segmenter) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Features, answers and weights of all pairs that a run with one example meets, tile by tile."""
    _, results, work_grid, _ = record(case, segmenter, "building")
    outlines_work = [work_grid.to_work(outline) for outline in case.place.truth.geometry]
    rows = []
    for result in results:
        partition = result.partition
        if partition is None:  # objects are too narrow for boundaries
            continue
        pairs = merging.neighbours(partition.pieces)
        tile, shape = result.tile, partition.pieces.shape
        truth = work_grid.rasterize(outlines_work, tile.x_work, tile.y_work, shape)
        answers = judged(partition.pieces, truth, pairs, partition.example_area)
        rows.append((merging.features(pairs, partition), *answers))
    return rows


def _cases(raster: Path, truth: Path, count: int, folder: Path) -> list[Case]:
    place = read_place(str(raster), str(truth), "building")
    return draw_cases([place], folder, examples=count, seed=3)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m research.training.merging", description=__doc__)
    parser.add_argument("--real", type=Path, default=TRAINING_DATA)
    parser.add_argument("--model", type=Path, default=MODEL_FILE, help="sees the scenes")
    parser.add_argument("--synthetic-model", type=Path, default=SYNTHETIC_MODEL, help="sees the real places")
    arguments = parser.parse_args()
    places: dict[str, Judged] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        network = Segmenter.load("embedded", str(arguments.synthetic_model), "cpu", "single")
        for place, count in REAL_PLACES.items():
            files = arguments.real / f"{place}.tif", arguments.real / f"{place}_truth.gpkg"
            cases = _cases(*files, count, folder)
            places[place] = together([row for case in cases for row in pairs_of(case, network)])
            print(f"{place}: {len(places[place].true)} pairs", flush=True)
        network, rows = Segmenter.load("embedded", str(arguments.model), "cpu", "single"), []
        for seed in range(FIRST_SEED, FIRST_SEED + SCENES):
            raster = write_scene(FOLDER.parent / "merging_scenes", seed)
            for case in _cases(raster, raster.with_name(f"{seed}_truth.gpkg"), 1, folder):
                rows += pairs_of(case, network)
        places["scenes"] = together(rows)
        print(f"scenes: {len(places['scenes'].true)} pairs", flush=True)
    report(places)


if __name__ == "__main__":
    main()
