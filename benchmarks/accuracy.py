"""Accuracy of the one-shot pipeline as users run it, against ground truth.

``python -m benchmarks.accuracy --raster R [R …] --truth T [T …] --target building
--examples 10 --seed 0 [--boxes] [--iou 0.5] [--strategies A B] [--keep FOLDER] [--json]``

Every example is run with every strategy on the raster it was drawn on. One JSON
object is printed; the trivial answer "everything" has the coverage as its IoU.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import geopandas as gpd
import numpy as np
import shapely

from benchmarks.examples import drawn_order, outline_in_box
from core.evaluate import evaluate, read_polygons
from core.pipeline import detect
from core.prompts import STRATEGIES
from core.protocol import DetectRequest
from core.raster import Raster
from core.sam import Segmenter


def write_examples(
    raster_path: str, truth_path: str, options: argparse.Namespace, segmenter: Segmenter, folder: Path
) -> list[Path]:
    """Write up to ``--examples`` example files for one raster, in the seed's order."""
    truth = read_polygons(truth_path, options.target)
    files = []
    with Raster(raster_path) as raster:
        for row in drawn_order(truth, raster, options.seed):
            polygon = truth.geometry[row]
            if options.boxes:
                polygon = outline_in_box(polygon, raster, segmenter)
            if polygon is not None and shapely.get_num_geometries(polygon) == 1:
                files.append(folder / f"{Path(raster_path).stem}_{row}.geojson")
                gpd.GeoSeries([polygon], crs=truth.crs).to_file(files[-1], driver="GeoJSON")
            if len(files) == options.examples:
                break
    return files


def run_one(
    raster_path: str,
    example: Path,
    strategy: str,
    options: argparse.Namespace,
    segmenter: Segmenter,
    folder: Path,
) -> Path:
    """Run one example with one strategy; gives the file of detections."""
    output = folder / f"{example.stem}_{strategy}.gpkg"
    request = DetectRequest(
        raster=raster_path,
        example=str(example),
        output=str(output),
        target=options.target,
        strategy=strategy,
        runs=options.runs,
        seed=options.seed,
    )
    summary = detect(request, segmenter=segmenter)
    print(f"{output.stem}: {summary.count} in {summary.seconds:.0f} s", file=sys.stderr, flush=True)
    return output


def figures(results: list[dict]) -> dict[str, float | list[float]]:
    """Median and worst of the examples, and all of them."""
    iou, f1 = ([round(result[key], 4) for result in results] for key in ("iou", "f1"))
    return {
        "iou_median": float(np.median(iou)),
        "iou_min": min(iou),
        "f1_median": float(np.median(f1)),
        "f1_min": min(f1),
        "iou": iou,
        "f1": f1,
    }


def measure(options: argparse.Namespace, folder: Path) -> dict:
    """Run everything; gives the object that is printed."""
    segmenter = Segmenter.load(options.model, options.checkpoint)
    results: dict[str, list[dict]] = {strategy: [] for strategy in options.strategies}
    for raster_path, truth_path in zip(options.raster, options.truth, strict=True):
        truth = read_polygons(truth_path, options.target)
        with Raster(raster_path) as raster:
            extent = raster.bounds_map
        for example in write_examples(raster_path, truth_path, options, segmenter, folder):
            for strategy in options.strategies:
                found = read_polygons(run_one(raster_path, example, strategy, options, segmenter, folder))
                result = evaluate(found, truth, extent, options.iou, boxes=options.boxes)
                print(strategy, json.dumps(result), file=sys.stderr, flush=True)
                results[strategy].append(result)
    every = next(iter(results.values()))
    return {
        "coverage": float(np.mean([result["coverage"] for result in every])),
        "strategies": {strategy: figures(each) for strategy, each in results.items()},
    }


def parser() -> argparse.ArgumentParser:
    """The command line; :mod:`benchmarks.report` fills it for each place."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--raster", nargs="+", required=True)
    parser.add_argument("--truth", nargs="+", required=True)
    parser.add_argument("--target", choices=("building", "vehicle"), default="building")
    parser.add_argument("--boxes", action="store_true", help="the truth is bounding boxes")
    parser.add_argument("--iou", type=float, default=0.5, help="IoU of a match")
    parser.add_argument("--examples", type=int, default=10, help="per raster")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--strategies", nargs="+", choices=list(STRATEGIES), default=list(STRATEGIES))
    parser.add_argument("--runs", type=int, default=64)
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--checkpoint")
    parser.add_argument("--keep", type=Path, help="folder to keep examples and detections in")
    parser.add_argument("--json", action="store_true", help="one line instead of an indented object")
    return parser


def run(options: argparse.Namespace) -> dict:
    """Measure in a temporary folder, or in the one to keep."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        return measure(options, folder)


def main() -> None:
    """Print one JSON object."""
    options = parser().parse_args()
    result = run(options)
    print(json.dumps(result) if options.json else json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
