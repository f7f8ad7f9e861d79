"""Which canvas and which scale are best: layouts and sizes of the example, on training data.

Layouts: ``column`` (the pipeline's, core/canvas.py), ``halves`` (the lecture's,
512 x 512 of example and of query) and ``corner`` (the example stamped once into
the corner of a wider tile). Sizes: canvas pixels of the example's longer side.

All see the same examples, the same ground area around each (a square of some
lengths of the example), the same number of runs and the same random numbers per
tile. Buildings are measured by IoU, vehicles by F1 at a box IoU of 0.3. What is
printed is Markdown, for docs/method.md. Only training data may be given: the
presets are chosen by it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import shapely
from shapely.affinity import affine_transform

from core.canvas.example import Example, read_example
from core.canvas.prompts import STRATEGIES
from core.errors import ExemplarError
from core.geo.raster import Raster
from core.metrics import evaluate
from core.pipeline.plan import SearchPlan, SearchSettings
from core.sam.segmenter import Segmenter
from research.benchmarks.command import add_network, load_network
from research.benchmarks.figures import paired_difference
from research.benchmarks.layouts import LAYOUTS
from research.benchmarks.tiles import Answer, search_with, voting
from research.common.cases import Case, Extent, draw_cases, read_place
from research.common.matching import BOX_IOU, OUTLINE_IOU
from research.common.paths import TRAINING_DATA

SIZES = (24, 48, 96, 192, 256)
MEASURES = {"building": "iou", "vehicle": "f1"}
AREA = {"building": 6.0, "vehicle": 8.0}  # side of the ground area, in lengths of the example

Cell = tuple[str, int]  # layout, canvas pixels of the example


def cases_of(target: str, options: argparse.Namespace, segmenter: Segmenter, folder: Path) -> list[Case]:
    """Examples of one target, in turn from all rasters of the training data that have it."""
    if target == "building":
        named = [(f"{name}.tif", f"{name}_truth.gpkg") for name in ("kampala", "banepa")]
    else:
        tiles = sorted((options.data / "estonia").glob("*.tif"))
        named = [(f"estonia/{tile.name}", f"estonia/{tile.stem}_boxes.gpkg") for tile in tiles]
    places = [
        read_place(str(options.data / raster), str(options.data / truth), target) for raster, truth in named
    ]
    order = np.random.default_rng(options.seed).permutation(len(places))
    per_place = -(-options.examples // len(places))
    cases: list[list[Case]] = []
    for index in order:
        if sum(map(len, cases)) >= options.examples:
            break
        outliner = segmenter if target == "vehicle" else None
        try:
            cases.append(
                draw_cases([places[index]], folder, examples=per_place, seed=options.seed, outliner=outliner)
            )
        except ExemplarError:  # a tile without a vehicle
            continue
    in_turn = [some[n] for n in range(per_place) for some in cases if n < len(some)]
    return in_turn[: options.examples]


def ground_area(example: Example, lengths: float) -> Extent:
    """A square around the example, some of its lengths wide, moved into the raster; in its CRS."""
    raster = example.raster
    sides = [
        min(lengths * example.longer_side_m / metres, size)
        for metres, size in zip(raster.metres_per_pixel, (raster.width, raster.height), strict=True)
    ]
    centre = example.polygons_px[0].centroid
    x = min(max(centre.x - sides[0] / 2, 0), raster.width - sides[0])
    y = min(max(centre.y - sides[1] / 2, 0), raster.height - sides[1])
    square = shapely.box(x, y, x + sides[0], y + sides[1])
    return affine_transform(square, raster.map_from_px.to_shapely()).bounds


def measure_case(
    case: Case, target: str, answer: Answer, segmenter: Segmenter, options: argparse.Namespace
) -> dict[Cell, float]:
    """The measure for every layout and size, for one example."""
    measured = {}
    with Raster(case.place.raster_path) as query:
        example = read_example(case.example_path, query)
        extent = ground_area(example, options.area or AREA[target])
        for size in options.sizes:
            resolution = example.longer_side_m / size
            settings = SearchSettings(target=target, extent=extent, resolution=resolution, seed=options.seed)
            plan = SearchPlan(example, query, settings)
            for layout in options.layouts:
                found = search_with(plan, segmenter, answer, layout=LAYOUTS[layout])
                boxes = target == "vehicle"
                result = evaluate(
                    found, case.place.truth, extent, BOX_IOU if boxes else OUTLINE_IOU, boxes=boxes
                )
                measured[layout, size] = result[MEASURES[target]]
    return measured


def table(
    target: str, measured: list[dict[Cell, float]], layouts: list[str], sizes: list[int], seed: int
) -> str:
    """Means over the examples as Markdown, and the layouts' paired differences."""
    measure = "IoU" if target == "building" else f"F1 at a box IoU of {BOX_IOU}"
    lines = [
        f"{target.capitalize()}s, mean {measure} of {len(measured)} examples, by canvas pixels:",
        "",
        "| layout | " + " | ".join(map(str, sizes)) + " |",
        "|---|" + "---|" * len(sizes),
    ]
    for layout in layouts:
        means = [np.mean([each[layout, size] for each in measured]) for size in sizes]
        lines.append(f"| {layout} | " + " | ".join(f"{mean:.3f}" for mean in means) + " |")
    over_sizes = {
        layout: [np.mean([each[layout, s] for s in sizes]) for each in measured] for layout in layouts
    }
    for other in layouts[1:]:
        difference = paired_difference(over_sizes[layouts[0]], over_sizes[other], seed)
        lines += [
            "",
            f"{layouts[0]} less {other}, over all sizes: {difference['mean']:+.3f} "
            f"({difference['low']:+.3f} to {difference['high']:+.3f}, 95 % bootstrap interval).",
        ]
    return "\n".join(lines) + "\n"


def run(options: argparse.Namespace) -> str:
    """Measure; gives the Markdown. Stops after the example in which the minutes end."""
    segmenter = load_network(options)
    answer = voting(STRATEGIES[options.strategy], options.runs)
    tables = []
    with tempfile.TemporaryDirectory() as temporary:
        for target in options.targets:
            started, measured = time.monotonic(), []
            for case in cases_of(target, options, segmenter, Path(temporary)):
                measured.append(measure_case(case, target, answer, segmenter, options))
                minutes = (time.monotonic() - started) / 60
                cells = ", ".join(f"{k[0]} {k[1]} {v:.3f}" for k, v in measured[-1].items())
                print(f"{case.name} ({minutes:.1f} min): {cells}", file=sys.stderr, flush=True)
                if options.minutes and minutes >= options.minutes / len(options.targets):
                    break
            if measured:
                tables.append(table(target, measured, options.layouts, options.sizes, options.seed))
    how = f"Strategy `{options.strategy}`, {options.runs} runs per tile, `{options.model}`, training data."
    return "\n".join([how + "\n", *tables])


def main(arguments: list[str] | None = None) -> int:
    """Print the tables; 2 for wrong use or bad input."""
    parser = argparse.ArgumentParser(
        prog="python -m research.benchmarks.canvas",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, default=TRAINING_DATA)
    parser.add_argument("--targets", nargs="+", choices=list(MEASURES), default=list(MEASURES))
    parser.add_argument("--layouts", nargs="+", choices=list(LAYOUTS), default=list(LAYOUTS))
    parser.add_argument("--sizes", nargs="+", type=int, default=list(SIZES), help="canvas pixels")
    parser.add_argument("--area", type=float, help="side of the ground area in lengths of the example")
    parser.add_argument("--examples", type=int, default=6, help="per target (6)")
    parser.add_argument("--minutes", type=float, help="take no further example after this time")
    parser.add_argument("--strategy", choices=list(STRATEGIES), default="random-point")
    parser.add_argument("--runs", type=int, default=16, help="prompt sets per tile (16)")
    parser.add_argument("--seed", type=int, default=0)
    add_network(parser)
    options = parser.parse_args(arguments)
    try:
        print(run(options))
    except ExemplarError as error:
        print(f"research.benchmarks.canvas: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
