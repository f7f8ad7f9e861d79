"""How well the network outlines one object that is clicked or boxed, without any example.

Each object is shown in a view of SAM's size, at the working resolution that the
pipeline would choose for an example of that size. The answer is the one mask
that a user gets (SAM's single-mask token, no best of three). The first click is
in the middle of the object; the next ones where the answer before was most
wrong, positive or negative.

One JSON object is printed:
  building, vehicle   for each target: click_1, click_3, click_5, box, and n, the objects.
                      Outlines as truth: mean IoU of the mask. Boxes as truth:
                      share of objects whose mask's bounding box has IoU 0.5 or
                      more with the truth's box ("truth" says which it was);
                      click_1_mean and so on are mean IoUs in either case;
                      separation: mean area under the curve of the embedding's
                      cosine to the object before, object against surroundings;
                      faults: what is wrong with answers to one click whose IoU is
                      below 0.5, see benchmarks/clicks.py;
                      by_resolution: the same for every --by-resolution
  rank_correlation    Spearman's, of predicted and true IoU, over all answers
  iou_error           mean absolute difference of the two
"""

from __future__ import annotations

import argparse
import dataclasses
import sys

import numpy as np
import shapely
from shapely.affinity import affine_transform

from core.canvas.example import MIN_PIXELS, Example, working_resolution
from core.errors import ExemplarError
from core.geo.raster import Raster
from core.metrics import read_polygons
from core.sam.segmenter import Segmenter
from core.targets import Target, target_named
from research.benchmarks.clicks import FAULTS, LEAST_IOU, box, click, cut_view
from research.benchmarks.command import add_network, load_network, print_measured
from research.benchmarks.figures import rank_correlation
from research.benchmarks.separation import prototype, separation
from research.common.cases import Place, read_place

ARE_BOXES = 0.95  # share of truth polygons that equal their bounding box, from which on the truth is boxes


def are_boxes(geometries: np.ndarray) -> bool:
    """Whether a truth is axis-aligned boxes rather than outlines."""
    if not len(geometries):
        return False
    fill = shapely.area(geometries) / np.maximum(shapely.area(shapely.envelope(geometries)), 1e-12)
    return bool((fill > 0.999).mean() >= ARE_BOXES)


@dataclasses.dataclass(frozen=True)
class Measured:
    """One object: (true, predicted) IoU of every answer, the first one's fault, and how it separates."""

    answers: dict[str, tuple[float, float]]
    fault: str | None
    separation: float | None


def measure_place(
    place: Place,
    target: Target,
    segmenter: Segmenter,
    options: argparse.Namespace,
    resolution: float | None,
) -> tuple[list[Measured], bool]:
    """Measure the objects of one place; says also whether its truth is boxes."""
    geometries = place.truth.geometry.to_numpy()
    is_box = are_boxes(geometries)
    whole = geometries[shapely.contains_properly(shapely.box(*place.extent_map), geometries)]
    rng = np.random.default_rng(options.seed)
    found: list[Measured] = []
    before = None  # the prototype of another object: its own would be too easy
    with Raster(place.raster_path) as raster:
        px_from_map = (~raster.map_from_px).to_shapely()
        all_px = np.array([affine_transform(each, px_from_map) for each in geometries], dtype=object)
        for index in rng.permutation(len(whole)):
            if len(found) == options.objects:
                break
            largest = max(shapely.get_parts(whole[index]), key=shapely.area)
            example = Example(raster, [affine_transform(largest, px_from_map)])
            if example.longer_side_m < MIN_PIXELS * min(raster.metres_per_pixel):
                continue
            metres = resolution or working_resolution(example, raster, target, None)
            others_px = all_px[geometries != whole[index]]
            view = cut_view(raster, example.polygons_px[0], metres, rng, is_box=is_box, others_px=others_px)
            if view is None:
                continue
            embedding = segmenter.encode(view.image)
            answers = click(segmenter, embedding, view, max(options.clicks))
            kept = {f"click_{n}": answers[n - 1] for n in options.clicks}
            kept["box"] = box(segmenter, embedding, view)
            own = prototype(embedding, view)
            separated = None if before is None else separation(before, embedding, view)
            before = before if own is None else own
            fault = view.fault(answers[0].mask)
            answers = {name: (view.true_iou(a.mask), a.iou_pred) for name, a in kept.items()}
            found.append(Measured(answers, fault, separated))
    return found, is_box


def summary(objects: list[Measured], is_box: bool) -> dict:
    """Figures of one target."""
    figures: dict[str, float | int | str | dict[str, int]] = {}
    for name in objects[0].answers:
        true = np.array([each.answers[name][0] for each in objects])
        figures[name] = round(float((true >= LEAST_IOU).mean() if is_box else true.mean()), 4)
        figures[f"{name}_mean"] = round(float(true.mean()), 4)
    separated = [each.separation for each in objects if each.separation is not None]
    if separated:
        figures["separation"] = round(float(np.mean(separated)), 4)
    figures["faults"] = {fault: sum(each.fault == fault for each in objects) for fault in FAULTS}
    return {**figures, "n": len(objects), "truth": "boxes" if is_box else "outlines"}


def targets_of(truth_paths: list[str], asked: str | None) -> list[str]:
    """The targets to measure: the one asked for, or those that the truth's column names, or buildings."""
    if asked:
        return [asked]
    named: set[str] = set()
    for path in truth_paths:
        table = read_polygons(path)
        named |= set(table["target"]) if "target" in table else {"building"}
    return [name for name in ("building", "vehicle") if name in named]


def measure_target(
    name: str, segmenter: Segmenter, options: argparse.Namespace, resolution: float | None
) -> tuple[list[Measured], bool]:
    """Measure the objects of all places; ``resolution`` in metres per canvas pixel, None by object."""
    objects: list[Measured] = []
    kinds = set()
    for raster, truth in zip(options.raster, options.truth, strict=True):
        place = read_place(raster, truth, name)
        if not len(place.truth):
            continue
        some, is_box = measure_place(place, target_named(name), segmenter, options, resolution)
        objects += some
        kinds.add(is_box)
        print(f"{name}, {raster}: {len(some)} objects", file=sys.stderr, flush=True)
    if len(kinds) > 1:
        raise ExemplarError("Outlines and boxes can't be averaged. Measure them one after the other.")
    return objects, True in kinds


def run(options: argparse.Namespace) -> dict:
    """Measure; gives the object that is printed."""
    if len(options.raster) != len(options.truth):
        raise ExemplarError("Give one --truth for each --raster.")
    segmenter = load_network(options)
    result: dict = {}
    everything: list[tuple[float, float]] = []
    for name in targets_of(options.truth, options.target):
        objects, is_box = measure_target(name, segmenter, options, options.resolution)
        if not objects:
            continue
        result[name] = summary(objects, is_box)
        everything += [pair for each in objects for pair in each.answers.values()]
        for resolution in options.by_resolution:
            objects, is_box = measure_target(name, segmenter, options, resolution)
            if objects:
                result[name].setdefault("by_resolution", {})[f"{resolution:g}"] = summary(objects, is_box)
    if not everything:
        raise ExemplarError("The truth has no whole object of that target on the raster.")
    true, predicted = np.array(everything).T
    result["rank_correlation"] = round(rank_correlation(predicted, true), 4)
    result["iou_error"] = round(float(np.abs(predicted - true).mean()), 4)
    return result


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m research.benchmarks.model",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--raster", nargs="+", required=True)
    parser.add_argument("--truth", nargs="+", required=True, help="one per raster")
    parser.add_argument("--target", choices=("building", "vehicle"), help="default: what the truth holds")
    parser.add_argument("--resolution", type=float, help="metres per canvas pixel (default: by object)")
    parser.add_argument(
        "--by-resolution",
        nargs="+",
        type=float,
        default=[],
        metavar="METRES",
        help="measure again with metres per canvas pixel as given, whatever the object's size",
    )
    parser.add_argument("--objects", type=int, default=100, help="at most, per raster and target (100)")
    parser.add_argument("--clicks", nargs="+", type=int, default=[1, 3, 5], help="after how many (1 3 5)")
    parser.add_argument("--seed", type=int, default=0, help="of which objects, and where in the view (0)")
    add_network(parser)
    parser.add_argument("--json", action="store_true", help="one line instead of an indented object")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Print one JSON object; 2 for wrong use or bad input."""
    options = parser().parse_args(arguments)
    return print_measured("research.benchmarks.model", lambda: run(options), options.json)


if __name__ == "__main__":
    sys.exit(main())
