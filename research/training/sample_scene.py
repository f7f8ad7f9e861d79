"""The sample scene that ships with the plugin: a made-up town, its truth and two examples.

``python -m research.training.sample_scene`` writes ``resources/sample/`` anew.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import geopandas as gpd
import numpy as np
import pyogrio
import rasterio
from affine import Affine
from shapely import Polygon
from shapely.geometry import mapping
from shapely.ops import unary_union

from research.common.paths import SAMPLE
from research.training.scenes import ground
from research.training.scenes.climate import CLIMATES
from research.training.scenes.paint import Painter
from research.training.scenes.scene import paint_town
from research.training.scenes.sensor import expose
from research.training.scenes.town import Town
from research.training.scenes.vehicles import outline

SEED = (7, 7)  # training scenes have another first number
SIDE = 1536  # pixels
GSD_M = 0.16
CRS = "EPSG:32633"
ORIGIN_M = (500_000.0, 5_400_000.0)  # upper left corner; the town is nowhere
SEEN_SHARE = 0.5  # of an object that trees must leave visible for it to be in the truth
JPEG_QUALITY = 88


@dataclass
class SampleTown:
    """The painted town: picture and truth (polygons in pixels)."""

    image: np.ndarray
    polygons: list[Polygon]
    targets: list[str]
    details: list[str]  # roof kind or vehicle kind
    seen: list[float]  # share of each that trees and neighbours leave visible


def paint_sample() -> SampleTown:
    """Paint the town from its seed."""
    rng = np.random.default_rng(SEED)
    painter = Painter(rng, SIDE, SIDE, GSD_M)
    climate = CLIMATES[3]
    ground.paint_soil(painter, climate)
    town = Town(
        painter,
        climate,
        sun_px=np.array([0.55, 0.65]) / GSD_M * 0.8,
        shadow=0.5,
        angle=0.22,
        uses={"houses": 2.4, "rows": 0.9, "slabs": 0.7, "works": 0.35, "parking": 0.4, "park": 0.35},
        traffic=0.55,
        greenery=0.55,
        clutter=0.25,
        roof_style=["gable", "hip", "flat", "gable", "tin", "hip"],
    )
    paint_town(town, lean=0.0)
    grey = painter.image.mean(axis=2, keepdims=True)
    image = expose(rng, grey + (painter.image - grey) * np.float32(0.78) + 4, rough=False)
    return _with_truth(town, image)


def _with_truth(town: Town, image: np.ndarray) -> SampleTown:
    """Collect the planned outlines of all objects that can be seen."""
    painter = town.painter
    visible = np.bincount(painter.instances.ravel(), minlength=len(painter.kinds) + 1)
    frame = Polygon([(0, 0), (SIDE, 0), (SIDE, SIDE), (0, SIDE)])
    sample = SampleTown(image, [], [], [], [])
    above: list[Polygon] = []
    # from the highest down: where roofs meet, the higher one is seen
    planned = [
        (b.instance, b.wings, "building", b.roof) for b in sorted(town.buildings, key=lambda b: -b.height_m)
    ]
    planned += [(v.instance, [outline(v, GSD_M)], "vehicle", v.kind) for v in town.vehicles]
    for instance, rings, target, detail in planned:
        shape = unary_union([Polygon(ring) for ring in rings]).intersection(frame)
        if target == "building":
            near = [other for other in above if other.intersects(shape)]
            shape = shape.difference(unary_union(near)) if near else shape
            above.append(shape)
        if shape.geom_type == "MultiPolygon":
            shape = max(shape.geoms, key=lambda part: part.area)
        seen = visible[instance] / max(shape.area, 1.0)
        if instance and shape.geom_type == "Polygon" and shape.area > 12 and seen >= SEEN_SHARE:
            sample.polygons.append(shape)
            sample.targets.append(target)
            sample.details.append(detail)
            sample.seen.append(float(seen))
    return sample


def map_from_px(gsd_m: float = GSD_M) -> Affine:
    """Map coordinates of the town's pixels, or of another scene's of this size in metres."""
    return Affine(gsd_m, 0, ORIGIN_M[0], 0, -gsd_m, ORIGIN_M[1])


def to_map(polygon: Polygon) -> Polygon:
    """A polygon in pixels as one in the map's coordinates, to the centimetre."""
    a, b, d, e, x, y = map_from_px().to_shapely()
    return Polygon(np.round(np.array(polygon.exterior.coords) @ [[a, d], [b, e]] + [x, y], 2))


def choose_example(sample: SampleTown, target: str, details: tuple[str, ...]) -> Polygon:
    """A typical, wholly visible, freely standing object near the middle of the town."""
    areas = [
        p.area
        for p, t, d in zip(sample.polygons, sample.targets, sample.details)
        if t == target and d in details
    ]
    typical = float(np.median(areas))
    best, best_cost = None, np.inf
    for i, polygon in enumerate(sample.polygons):
        if sample.targets[i] != target or sample.details[i] not in details or sample.seen[i] < 0.97:
            continue
        others = [p for j, p in enumerate(sample.polygons) if j != i]
        gap = min(polygon.distance(other) for other in others) * GSD_M
        from_middle = np.hypot(polygon.centroid.x - SIDE / 2, polygon.centroid.y - SIDE / 2) / SIDE
        x0, y0, x1, y1 = polygon.bounds
        inside = sample.image[int(y0) : int(y1) + 1, int(x0) : int(x1) + 1].mean()
        compact = polygon.area / polygon.minimum_rotated_rectangle.area
        cost = abs(np.log(polygon.area / typical)) + from_middle + max(0.0, 2.5 - gap) - inside / 255
        cost += 4 * (1 - compact)
        if cost < best_cost:
            best, best_cost = polygon, cost
    if best is None:
        raise ValueError(f"no free-standing {target} in the sample scene")
    return best


def drawn_by_hand(polygon: Polygon, tolerance_px: float, unsteady_px: float, seed: int) -> Polygon:
    """The outline as a person clicks it: few corners, each slightly off."""
    rng = np.random.default_rng(seed)
    corners = np.array(polygon.simplify(tolerance_px).exterior.coords)[:-1]
    return Polygon(corners + rng.normal(0, unsteady_px, corners.shape))


def write_raster(path: Path, image: np.ndarray) -> None:
    """Write the picture as a tiled, JPEG-compressed GeoTIFF."""
    profile = {
        "driver": "GTiff",
        "width": image.shape[1],
        "height": image.shape[0],
        "count": 3,
        "dtype": "uint8",
        "crs": CRS,
        "transform": map_from_px(),
        "tiled": True,
        "blockxsize": 256,
        "blockysize": 256,
        "compress": "jpeg",
        "jpeg_quality": JPEG_QUALITY,
        "photometric": "ycbcr",
        "interleave": "pixel",
    }
    with rasterio.open(path, "w", **profile) as raster:
        raster.write(image.transpose(2, 0, 1))


def write_example(path: Path, polygon: Polygon, target: str) -> None:
    """Write one polygon as GeoJSON with its coordinate reference system."""
    feature = {"type": "Feature", "properties": {"target": target}, "geometry": mapping(to_map(polygon))}
    collection = {
        "type": "FeatureCollection",
        "name": path.stem,
        "crs": {"type": "name", "properties": {"name": CRS.replace("EPSG:", "urn:ogc:def:crs:EPSG::")}},
        "features": [feature],
    }
    path.write_text(json.dumps(collection, indent=1) + "\n", encoding="utf-8")


def write_sample(folder: Path = SAMPLE) -> SampleTown:
    """Write picture, truth and examples to a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    sample = paint_sample()
    write_raster(folder / "town.tif", sample.image)
    truth = folder / "town_truth.gpkg"
    truth.unlink(missing_ok=True)
    table = gpd.GeoDataFrame(
        {"target": sample.targets, "detail": sample.details},
        geometry=[to_map(polygon) for polygon in sample.polygons],
        crs=CRS,
    )
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": "2026-01-01T00:00:00.000Z"})  # same bytes every time
    table.to_file(truth, layer="town_truth", driver="GPKG")
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": None})
    house = drawn_by_hand(choose_example(sample, "building", ("gable", "hip")), 2.0, 0.6, 1)
    car = drawn_by_hand(choose_example(sample, "vehicle", ("saloon", "hatch", "estate")), 0.6, 0.3, 2)
    write_example(folder / "example_building.geojson", house, "building")
    write_example(folder / "example_vehicle.geojson", car, "vehicle")
    return sample


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m research.training.sample_scene", description=__doc__)
    parser.add_argument("--folder", type=Path, default=SAMPLE)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    sample = write_sample(arguments.folder)
    counts = {target: sample.targets.count(target) for target in ("building", "vehicle")}
    print(f"{arguments.folder}: {counts['building']} buildings, {counts['vehicle']} vehicles")


if __name__ == "__main__":
    main()
