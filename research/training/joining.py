"""Fit how ``core.instances.merging`` weighs its signs, on pairs of pieces whose truth is known.

``python -m research.training.joining`` prints the weights. Borders err most where the network has
never been, so both real places are shown to the model of synthetic scenes alone, and
scenes of seeds that no step draws to the model that ships. ``detect`` runs on examples
drawn by the seed; each pair of touching pieces is one object where the same object of the
truth covers most of both. Every place counts alike.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from unittest import mock

import numpy as np
from affine import Affine
from rasterio.features import rasterize
from shapely.affinity import affine_transform

from core.instances import merging, watershed
from core.sam.segmenter import Segmenter
from core.vectors import polygonize
from research.benchmarks.cases import Case, draw_cases, read_place
from research.training import recorded
from research.training.export import MODEL_FILE
from research.training.logistic import Judged, report, together
from research.training.plates import REAL_DATA
from research.training.unseen_scenes import FOLDER, write_scene

SYNTHETIC_MODEL = Path(__file__).resolve().parent / "models" / "synthetic.safetensors"
REAL_PLACES = {"kampala": 5, "banepa": 2}  # how many examples
FIRST_SEED, SCENES = 930_000, 5
LARGEST_WEIGHT, LEAST_WEIGHT = 0.5, 0.02  # of a pair, by its smaller piece's area in examples


def judged(
    pieces: np.ndarray, truth: np.ndarray, pairs: np.ndarray, example_px: float
) -> tuple[np.ndarray, np.ndarray]:
    """Which pairs (P, 2) are one object by the truth's numbers, and what each counts, 0 on mere ground."""
    shape = int(pieces.max()) + 1, int(truth.max()) + 1
    shared = np.zeros(shape, int)
    np.add.at(shared, (pieces, truth), 1)
    area, owner = shared.sum(axis=1), shared.argmax(axis=1)
    purity = shared.max(axis=1) / np.maximum(area, 1)
    one, other = pairs.T
    same = (owner[one] == owner[other]) & (owner[one] > 0)
    size = np.minimum(area[one], area[other]) * np.minimum(purity[one], purity[other]) / example_px
    counts = np.clip(size, 0, LARGEST_WEIGHT) + LEAST_WEIGHT
    return same, np.where((owner[one] > 0) | (owner[other] > 0), counts, 0.0)


def pairs_of(case: Case, segmenter: Segmenter) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Signs, answers and weights of all pairs that a run with one example meets, tile by tile."""
    seen: list[dict] = []
    parted: list[dict] = []  # the tile at hand, where its objects are wide enough for borders
    trace = polygonize.trace

    def record_pieces(tile: merging.Parted) -> np.ndarray:
        pairs = merging.neighbours(tile.pieces)
        signs = merging.signs(pairs, tile)
        parted.append({"pieces": tile.pieces, "pairs": pairs, "signs": signs, "example_px": tile.example_px})
        return merging.join(tile)

    def record_place(vote, cell_tile, x_work, y_work):
        seen.extend(tile | {"place": (x_work, y_work)} for tile in parted)
        parted.clear()
        return trace(vote, cell_tile, x_work, y_work)

    with (
        mock.patch.object(watershed, "join", record_pieces),
        mock.patch.object(polygonize, "trace", record_place),
    ):
        _, work_from_map = recorded.run(case, segmenter, "building")
    outlines = [affine_transform(outline, work_from_map) for outline in case.place.truth.geometry]
    numbered = [(outline, number) for number, outline in enumerate(outlines, start=1)]
    rows = []
    for tile in seen:
        place = Affine.translation(*tile["place"])
        truth = rasterize(numbered, tile["pieces"].shape, transform=place, dtype="int32")
        rows.append((tile["signs"], *judged(tile["pieces"], truth, tile["pairs"], tile["example_px"])))
    return rows


def _cases(raster: Path, truth: Path, count: int, folder: Path) -> list[Case]:
    place = read_place(str(raster), str(truth), "building")
    return draw_cases([place], folder, examples=count, seed=3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--real", type=Path, default=REAL_DATA)
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
            raster = write_scene(FOLDER.parent / "joining_scenes", seed)
            for case in _cases(raster, raster.with_name(f"{seed}_truth.gpkg"), 1, folder):
                rows += pairs_of(case, network)
        places["scenes"] = together(rows)
        print(f"scenes: {len(places['scenes'].true)} pairs", flush=True)
    report(places)


if __name__ == "__main__":
    main()
