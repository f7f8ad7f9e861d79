"""Accuracy of the one-shot pipeline as users run it, against ground truth.

Every example is run with every strategy on the raster it was drawn on. Beside
the pipeline's strategies stand two baselines, ``persam`` and ``automatic``
(see benchmarks/baselines.py), and the trivial answers ``everything``, whose
IoU is the coverage, and ``nothing``.

One JSON object is printed:
  coverage     the truth's share of the extent, mean over the examples
  strategies   for each: iou_median, iou_min, f1_median, f1_min; the other end,
               the quartiles and all values; precision_median, recall_median;
               f1_pooled, of the counts of all examples together
  reference    the strategy that the others are compared with
  differences  for each other strategy: reference minus it, on the same
               examples (the first ones, where the other was run on ``--few``): mean,
               and its 95 % bootstrap interval (low, high)
  causes       the reference strategy's errors by their cause, over all examples
               (see benchmarks/causes.py)
  match_iou    the IoU from which on a detection counts for F1
  cases        the examples, in the order of the values
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from itertools import zip_longest
from pathlib import Path

import geopandas as gpd
import numpy as np

from core.canvas.example import read_example
from core.canvas.prompts import DEFAULT, STRATEGIES
from core.errors import ExemplarError
from core.geo.raster import Raster
from core.metrics import evaluate, read_polygons
from core.outputs import write
from core.pipeline.cache import Cache
from core.pipeline.detect import detect
from core.pipeline.plan import SearchPlan, SearchSettings
from core.pipeline.search import SEAM_CONTACT
from core.protocol import ENCODINGS, DetectRequest
from core.sam.segmenter import Segmenter
from research.benchmarks.baselines import BASELINES, TRIVIAL
from research.benchmarks.causes import FALSE, MISSES, counts, errors
from research.benchmarks.command import add_network, load_network, print_measured
from research.benchmarks.figures import paired_difference, spread
from research.benchmarks.pictures import Shown, draw_case, draw_strip
from research.benchmarks.tiles import search_with
from research.common.cases import Case, draw_cases, read_place
from research.common.matching import BOX_IOU, OUTLINE_IOU

ERRORS_SHOWN = 6  # of each cause
CACHE_LIMIT = 4 << 30  # bytes

Runner = Callable[[Case, str], gpd.GeoDataFrame]  # a case and a strategy's name -> what was found


class Users:
    """Runs a case as a user would: the pipeline with its defaults, or a baseline in its place.

    The strategies look at the same canvases, so all but the first find them encoded in the
    cache; what comes from there is what was computed, bit for bit.
    """

    def __init__(
        self, options: argparse.Namespace, segmenter: Segmenter, folder: Path, cache: Cache | None = None
    ):
        self.options, self.segmenter, self.folder, self.cache = options, segmenter, folder, cache

    def __call__(self, case: Case, strategy: str) -> gpd.GeoDataFrame:
        """What one example finds with one strategy; also left in the folder."""
        if strategy in TRIVIAL:
            return TRIVIAL[strategy](case.place.extent_map, case.place.truth.crs)
        path = self.folder / f"{case.name}_{strategy}.gpkg"
        if strategy in BASELINES:
            self._baseline(case, strategy, path)
        else:
            self._pipeline(case, strategy, path)
        return read_polygons(path)

    def _pipeline(self, case: Case, strategy: str, path: Path) -> None:
        request = DetectRequest(
            raster=case.place.raster_path,
            example=str(case.example_path),
            output=str(path),
            extent=list(case.place.extent_map),
            target=self.options.target,
            strategy=strategy,
            model=self.options.model,
            checkpoint=self.options.checkpoint,
            resolution=self.options.resolution,
            encode=self.options.encode,
            runs=self.options.runs,
            seed=self.options.seed,
        )
        detect(request, segmenter=self.segmenter, cache=self.cache)

    def _baseline(self, case: Case, strategy: str, path: Path) -> None:
        settings = SearchSettings(
            target=self.options.target,
            extent=case.place.extent_map,
            resolution=self.options.resolution,
            seed=self.options.seed,
        )
        with Raster(case.place.raster_path) as raster:
            plan = SearchPlan(read_example(case.example_path, raster), raster, settings)
            found = search_with(plan, self.segmenter, BASELINES[strategy], seam_contact=SEAM_CONTACT)
            write.write_table(found, path)


def measure(cases: list[Case], strategies: list[str], run: Runner, options: argparse.Namespace) -> dict:
    """Run every case with every strategy; gives the object that is printed."""
    results: dict[str, list[dict]] = {strategy: [] for strategy in strategies}
    reference = DEFAULT if DEFAULT in results else strategies[0]
    reasons: Counter[str] = Counter()
    least_iou = options.iou or (BOX_IOU if options.boxes else OUTLINE_IOU)
    for number, case in enumerate(cases):
        for strategy in strategies:
            if strategy in options.few and number >= options.few_examples:
                continue
            started = time.monotonic()
            found = run(case, strategy)
            place = case.place
            result = evaluate(found, place.truth, place.extent_map, least_iou, boxes=options.boxes)
            results[strategy].append(result)
            if strategy == reference:
                made = errors(found, place.truth, place.extent_map, least_iou, boxes=options.boxes)
                reasons.update(counts(*made))
            seconds = time.monotonic() - started
            what = f"IoU {result['iou']:.3f}, F1 {result['f1']:.3f}, {len(found)} found, {seconds:.0f} s"
            print(f"{case.name} {strategy}: {what}", file=sys.stderr, flush=True)
    return {
        "coverage": float(np.mean([result["coverage"] for result in results[reference]])),
        "strategies": {strategy: summary(each) for strategy, each in results.items()},
        "reference": reference,
        "differences": differences(results, reference, options.seed),
        "causes": dict(reasons),
        "match_iou": least_iou,
        "cases": [case.name for case in cases],
    }


def differences(results: dict[str, list[dict]], reference: str, seed: int) -> dict[str, dict]:
    """The reference less each other strategy, on the examples that both were run on."""
    compared = {}
    for strategy, each in results.items():
        both = list(zip(results[reference], each))  # the shorter list ends it: both begin with the same
        if strategy != reference and both:
            compared[strategy] = {
                key: paired_difference([own[key] for own, _ in both], [other[key] for _, other in both], seed)
                for key in ("iou", "f1")
            }
    return compared


def summary(results: list[dict]) -> dict[str, float | list[float]]:
    """Figures of one strategy over its cases."""
    counts = {key: sum(result[key] for result in results) for key in ("n_matched", "n_truth", "n_detected")}
    either = counts["n_truth"] + counts["n_detected"]
    return {
        **spread("iou", [result["iou"] for result in results]),
        **spread("f1", [result["f1"] for result in results]),
        "precision_median": float(np.median([result["precision"] for result in results])),
        "recall_median": float(np.median([result["recall"] for result in results])),
        "f1_pooled": 2 * counts["n_matched"] / either if either else 0.0,
    }


def draw_extremes(pictures: Path, cases: list[Case], result: dict, folder: Path, by: str) -> list[Path]:
    """Draw the reference strategy's best and worst case from what ``Users`` left in the folder.

    Parameters
    ----------
    by : str
        The measure that says which is best: ``iou`` or ``f1``.
    """
    pictures.mkdir(parents=True, exist_ok=True)
    strategy = result["reference"]
    values = result["strategies"][strategy][by]
    paths = []
    for which, index in (("best", int(np.argmax(values))), ("worst", int(np.argmin(values)))):
        case = cases[index]
        place, example = case.place, read_polygons(case.example_path)
        found = read_polygons(folder / f"{case.name}_{strategy}.gpkg")
        paths.append(pictures / f"{strategy}_{which}_{case.name}.png")
        with Raster(place.raster_path) as raster:
            draw_case(paths[-1], raster, place.extent_map, place.truth, found, example)
    return paths


def draw_causes(
    pictures: Path, cases: list[Case], result: dict, folder: Path, options: argparse.Namespace
) -> list[Path]:
    """Draw some errors of each cause of the reference strategy, as one strip a cause.

    The cases take turns; which of a case's errors are shown is drawn by the seed.
    """
    strategy, least_iou = result["reference"], result["match_iou"]
    rng = np.random.default_rng(options.seed)
    shown: dict[str, list[list[Shown]]] = {cause: [] for cause in (*MISSES, *FALSE)}
    for case in cases:
        place, found = case.place, read_polygons(folder / f"{case.name}_{strategy}.gpkg")
        _, made = errors(found, place.truth, place.extent_map, least_iou, boxes=options.boxes)
        rng.shuffle(made)
        for cause, lists in shown.items():
            own = [error.shape_map for error in made if error.cause == cause]
            lists.append([Shown(place.raster_path, shape, place.truth, found) for shape in own])
    paths = []
    for cause, lists in shown.items():
        in_turn = [one for turn in zip_longest(*lists) for one in turn if one is not None]
        if in_turn:
            paths.append(pictures / f"{strategy}_{cause}_{options.target}_{cases[0].name}.png")
            draw_strip(paths[-1], in_turn[:ERRORS_SHOWN])
    return paths


def parser() -> argparse.ArgumentParser:
    """The command line; :mod:`research.benchmarks.report` fills it for each place."""
    parser = argparse.ArgumentParser(
        prog="python -m research.benchmarks.accuracy",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--raster", nargs="+", required=True)
    parser.add_argument("--truth", nargs="+", required=True, help="one per raster")
    parser.add_argument(
        "--extent",
        nargs=4,
        type=float,
        metavar=("XMIN", "YMIN", "XMAX", "YMAX"),
        help="search and judge here only (one raster; default: all of it)",
    )
    add_common(parser)
    return parser


def add_common(parser: argparse.ArgumentParser) -> None:
    """Options that every measurement of accuracy has."""
    names = [*STRATEGIES, *BASELINES, *TRIVIAL]
    parser.add_argument("--target", choices=("building", "vehicle"), default="building")
    parser.add_argument("--boxes", action="store_true", help="compare bounding boxes: the truth is boxes")
    parser.add_argument("--iou", type=float, help="IoU of a match (0.5; with --boxes 0.3)")
    parser.add_argument("--examples", type=int, default=10, help="per raster (10)")
    parser.add_argument("--seed", type=int, default=0, help="of examples, prompts and bootstrap (0)")
    parser.add_argument(
        "--strategies", nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names)
    )
    parser.add_argument(
        "--few", nargs="+", choices=names, default=[], metavar="NAME", help="strategies run on fewer examples"
    )
    parser.add_argument("--few-examples", type=int, default=3, help="the first so many of all (3)")
    parser.add_argument("--resolution", type=float, help="metres per canvas pixel (default: as for users)")
    parser.add_argument("--encode", choices=ENCODINGS, default=ENCODINGS[0], help="example and query")
    parser.add_argument("--runs", type=int, default=64, help="prompt sets per tile (64)")
    add_network(parser)
    parser.add_argument("--keep", type=Path, help="folder to keep examples and detections in")
    parser.add_argument(
        "--pictures",
        type=Path,
        help="folder for the best and worst case, and some errors of each cause, as PNG",
    )
    parser.add_argument("--json", action="store_true", help="one line instead of an indented object")


def run(options: argparse.Namespace) -> dict:
    """Measure in a temporary folder, or in the one to keep."""
    if len(options.raster) != len(options.truth):
        raise ExemplarError("Give one --truth for each --raster.")
    if options.extent and len(options.raster) > 1:
        raise ExemplarError("--extent is for one raster.")
    segmenter = load_network(options)
    places = [
        read_place(raster, truth, options.target, options.extent)
        for raster, truth in zip(options.raster, options.truth, strict=True)
    ]
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        outliner = segmenter if options.boxes else None
        cases = draw_cases(places, folder, examples=options.examples, seed=options.seed, outliner=outliner)
        runner = Users(options, segmenter, folder, Cache(Path(temporary) / "cache", CACHE_LIMIT))
        result = measure(cases, options.strategies, runner, options)
        if options.pictures and result["reference"] not in TRIVIAL:
            by = "f1" if options.boxes else "iou"
            paths = draw_extremes(options.pictures, cases, result, folder, by)
            result["pictures"] = [path.name for path in paths]
            paths = draw_causes(options.pictures, cases, result, folder, options)
            result["cause_pictures"] = [path.name for path in paths]
    return result


def main(arguments: list[str] | None = None) -> int:
    """Print one JSON object; 2 for wrong use or bad input."""
    options = parser().parse_args(arguments)
    return print_measured("research.benchmarks.accuracy", lambda: run(options), options.json)


if __name__ == "__main__":
    sys.exit(main())
