"""What clean outlines cost or bring: steps, right angles and rectangles on the sample town.

Its truth is drawn as pixels, blurred, disturbed by smooth noise, cut and smoothed
as the pipeline does with a vote, and traced. So every mask's true outline is known,
and the network's own errors have no part in it. Prints Markdown, or one JSON
object with ``--json``; ``--figure`` draws a before and after.
"""

from __future__ import annotations

import argparse
import json
import warnings
from pathlib import Path

import geopandas as gpd
import numpy as np
import rasterio
import shapely
from affine import Affine
from rasterio.errors import NotGeoreferencedWarning
from rasterio.features import rasterize
from rasterio.windows import Window
from scipy import ndimage
from shapely import Polygon
from shapely.affinity import affine_transform, scale, translate

from core.geo import units
from core.targets import target_named
from core.vectors import attributes, contour, orthogonalize, polygonize, rectangles
from core.voting.score_map import Segmentation
from core.voting.thresholding import threshold
from research.common.paths import SAMPLE

RESOLUTION = 0.16  # metres per pixel, the sample's own
BLUR_PX = 1.5  # about what the coarse logits blur
RAGGED_PX = 3.0  # how smooth the noise is
NEAR_PX = 4.0  # noise lies about the objects only
NOISES = (0.05, 0.12, 0.25)  # standard deviation, in votes
LEAST_IOU = 0.5  # a mask below is not its object's mask, but a mend of two
LEAST_PX = 60
TOLERANCES_M = (0.5, 0.3, 0.1)  # of buildingregulariser, its default first

Pair = tuple[Polygon, Polygon]  # a mask's polygon and the true one, in pixels


def noisy_masks(target: str, noise: float, seed: int = 0) -> list[Pair]:
    """Masks of the sample's objects with uneven edges, each with the true outline it fits best."""
    truth = gpd.read_file(SAMPLE / "town_truth.gpkg", where=f"target = '{target}'")
    with rasterio.open(SAMPLE / "town.tif") as town:
        px_from_map, shape = (~town.transform).to_shapely(), town.shape
    true_px = np.array([affine_transform(polygon, px_from_map) for polygon in truth.geometry], dtype=object)
    drawn = rasterize(true_px, shape).astype(np.float32)
    ragged = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), RAGGED_PX)
    near = ndimage.gaussian_filter(drawn, NEAR_PX) > 0.02
    share = ndimage.gaussian_filter(drawn, BLUR_PX) + noise * ragged / ragged.std() * near
    found = threshold(share, np.ones(shape, bool), target_named(target).smooth_radius)
    segmentation = Segmentation(share, found, np.zeros(shape, np.float32), 1.0)
    tree, pairs = shapely.STRtree(true_px), []
    for piece in polygonize.polygonize(segmentation, (slice(0, shape[0]), slice(0, shape[1])), 0, 0):
        mask = attributes.filled(piece.polygon_work, 0.2 * piece.pixels)
        near_px = true_px[tree.query(mask, predicate="intersects")]
        if piece.pixels >= LEAST_PX and len(near_px):
            best = max(near_px, key=lambda true: iou(mask, true))
            if iou(mask, best) > LEAST_IOU:
                pairs.append((mask, best))
    return pairs


def iou(one: Polygon, other: Polygon) -> float:
    return one.intersection(other).area / one.union(other).area


def corners(polygon: Polygon) -> int:
    return sum(len(ring.coords) - 1 for ring in (polygon.exterior, *polygon.interiors))


def written(mask: Polygon) -> Polygon:
    """The outline as it is written where nothing else is asked."""
    return contour.half_level(mask).simplify(attributes.SIMPLIFY_WORK)


def of_outlines(drawn: list[Polygon], pairs: list[Pair]) -> dict[str, float]:
    return {
        "iou": float(np.mean([iou(polygon, true) for polygon, (_, true) in zip(drawn, pairs, strict=True)])),
        "corners": float(np.mean([corners(polygon) for polygon in drawn])),
        "length": float(np.mean([p.length / true.length for p, (_, true) in zip(drawn, pairs, strict=True)])),
    }


def of_buildings(noise: float) -> dict:
    """Steps taken out, then right angles."""
    pairs = noisy_masks("building", noise)
    steps = [mask.simplify(attributes.SIMPLIFY_WORK) for mask, _ in pairs]
    plain = [written(mask) for mask, _ in pairs]
    right = [orthogonalize.right_angled(p, mask) for p, (mask, _) in zip(plain, pairs, strict=True)]
    changed = [i for i in range(len(pairs)) if right[i] is not plain[i]]
    some = [pairs[i] for i in changed]
    return {
        "noise": noise,
        "n": len(pairs),
        "pixel_edges": of_outlines(steps, pairs),
        "half_level": of_outlines(plain, pairs),
        "regularized": of_outlines(right, pairs),
        "share_regularized": len(changed) / len(pairs),
        "those_before": of_outlines([plain[i] for i in changed], some),
        "those_after": of_outlines([right[i] for i in changed], some),
        "worst_loss": max(iou(plain[i], pairs[i][1]) - iou(right[i], pairs[i][1]) for i in changed),
    }


def of_buildingregulariser(noise: float) -> list[dict]:
    """Right angles as the package buildingregulariser makes them of the same outlines, by its tolerance."""
    from buildingregulariser import regularize_geodataframe  # slow to import, and seldom asked for

    pairs = noisy_masks("building", noise)
    plain_m = gpd.GeoDataFrame(geometry=[scaled(written(mask), RESOLUTION) for mask, _ in pairs])
    figures = []
    for tolerance_m in TOLERANCES_M:
        drawn = regularize_geodataframe(plain_m, simplify_tolerance=tolerance_m, num_cores=1)
        outlines = [scaled(polygon, 1 / RESOLUTION) for polygon in drawn.geometry]
        figures.append({"noise": noise, "tolerance_m": tolerance_m, **of_outlines(outlines, pairs)})
    return figures


def scaled(polygon: Polygon, factor: float) -> Polygon:
    """Scale about the origin: pixels to metres and back."""
    return scale(polygon, factor, factor, origin=(0, 0))


def of_vehicles(noise: float) -> dict:
    """The smallest rectangle around each mask against the fitted one."""
    pairs = noisy_masks("vehicle", noise)
    figures: dict = {"noise": noise, "n": len(pairs)}
    true = np.array([units.rectangle(polygon, None) for _, polygon in pairs])
    for name, draw in (
        ("smallest", lambda mask: mask.minimum_rotated_rectangle),
        ("fitted", lambda mask: rectangles.fitted(written(mask), mask)),
    ):
        drawn = [draw(mask) for mask, _ in pairs]
        sizes = np.array([units.rectangle(polygon, None) for polygon in drawn])
        relative = np.abs(sizes[:, :2] / true[:, :2] - 1).mean(axis=0)
        turned = np.abs((sizes[:, 2] - true[:, 2] + 90) % 180 - 90)
        figures[name] = {
            "iou": of_outlines(drawn, pairs)["iou"],
            "length_error": float(relative[0]),
            "width_error": float(relative[1]),
            "angle_error_deg": float(np.median(turned)),
        }
    return figures


def draw_figure(path: Path, noise: float, window_px: tuple[int, int, int, int], enlarged: int = 3) -> None:
    """Write a JPEG of three panels: traced as before, half-level contour, right angles."""
    left, top, width, height = window_px
    with rasterio.open(SAMPLE / "town.tif") as town:
        box = Window(left, top, width, height)
        image = town.read((1, 2, 3), window=box).repeat(enlarged, axis=1).repeat(enlarged, axis=2)
    masks = [mask for mask, _ in noisy_masks("building", noise)]
    panels = []
    for draw in (
        lambda mask: mask.simplify(attributes.SIMPLIFY_WORK),
        written,
        lambda mask: orthogonalize.right_angled(written(mask), mask),
    ):
        panel = image.copy()
        lines = [translate(draw(mask).boundary, -left, -top) for mask in masks]
        edges = rasterize(lines, panel.shape[1:], transform=Affine.scale(1 / enlarged), all_touched=True)
        panel[:, ndimage.binary_dilation(edges)] = np.array([[255], [0], [190]], np.uint8)
        panels += [panel, np.full((3, panel.shape[1], 6), 255, np.uint8)]
    picture = np.concatenate(panels[:-1], axis=2)
    profile = {"driver": "JPEG", "width": picture.shape[2], "height": picture.shape[1], "count": 3}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "w", dtype="uint8", quality=72, **profile) as written_file:
            written_file.write(picture)
    path.with_name(path.name + ".aux.xml").unlink(missing_ok=True)


def as_markdown(figures: dict) -> str:
    rows = [
        "| noise | masks | pixel edges: IoU, corners | half-level: IoU, corners | right angles: IoU, corners "
        "| made right-angled | of those IoU before → after, corners |",
        "|---|---|---|---|---|---|---|",
    ]
    for f in figures["building"]:
        kinds = ("pixel_edges", "half_level", "regularized")
        three = (f"{f[kind]['iou']:.3f}, {f[kind]['corners']:.0f}" for kind in kinds)
        before, after = f["those_before"], f["those_after"]
        rows.append(
            f"| {f['noise']} | {f['n']} | {' | '.join(three)} | {f['share_regularized']:.0%} "
            f"| {before['iou']:.3f} → {after['iou']:.3f}, {after['corners']:.1f} |"
        )
    rows += [
        "",
        "| noise | masks | rectangle | IoU | length | width | angle |",
        "|---|---|---|---|---|---|---|",
    ]
    for f in figures["vehicle"]:
        for name in ("smallest", "fitted"):
            g = f[name]
            rows.append(
                f"| {f['noise']} | {f['n']} | {name} | {g['iou']:.3f} | {g['length_error']:.1%} "
                f"| {g['width_error']:.1%} | {g['angle_error_deg']:.1f}° |"
            )
    if "buildingregulariser" in figures:
        rows += ["", "| noise | buildingregulariser, tolerance | IoU | corners |", "|---|---|---|---|"]
    for f in figures.get("buildingregulariser", ()):
        rows.append(f"| {f['noise']} | {f['tolerance_m']} m | {f['iou']:.3f} | {f['corners']:.0f} |")
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m research.benchmarks.geometry", description=__doc__.split("\n\n", 1)[0]
    )
    parser.add_argument("--json", action="store_true", help="one JSON object instead of tables")
    parser.add_argument(
        "--buildingregulariser", action="store_true", help="measure that package's right angles beside ours"
    )
    parser.add_argument("--figure", type=Path, help="draw a before and after (.jpg) instead of measuring")
    parser.add_argument("--window", nargs=4, type=int, default=(575, 740, 200, 270), metavar="PX",
                        help="left, top, width and height of the figure on the town")  # fmt: skip
    options = parser.parse_args()
    if options.figure:
        draw_figure(options.figure, NOISES[1], tuple(options.window))
        return
    figures = {
        "building": [of_buildings(noise) for noise in NOISES],
        "vehicle": [of_vehicles(noise) for noise in NOISES],
    }
    if options.buildingregulariser:
        figures["buildingregulariser"] = [f for noise in NOISES for f in of_buildingregulariser(noise)]
    print(json.dumps(figures) if options.json else as_markdown(figures))


if __name__ == "__main__":
    main()
