"""The lecture's table on ISPRS Potsdam, by one command, for whoever has that data set.

  python -m research.benchmarks.potsdam --folder POTSDAM --model vit_h --checkpoint sam_vit_h_4b8939.pth

FOLDER holds the data set as it is published (in any subfolders): RGB tiles such
as 2_Ortho_RGB/top_potsdam_2_10_RGB.tif, with their georeference inside or in a
.tfw beside them, and label images such as 5_Labels_all/top_potsdam_2_10_label.tif.
Labels are colours: blue (0, 0, 255) building, yellow (255, 255, 0) car. Regions of
one colour become truth polygons; what touches in the label image is one object.

The lecture (Vora and Saha, arXiv 2408.07393): building IoU 0.002, 0.693, 0.393
and 0.480 for example-only, random-point, random-point-positive and random-points.
Its example is a whole image with a mask of ALL its objects, stitched to the query
image as two equal halves; negative points come from anywhere outside that mask.

By default this measures what Exemplar does: ONE polygon is the example, in a
narrow column beside a larger query tile; negative points come from a close ring
around it, since the user says nothing about what stands further away.
With --as-lecture the halves, the mask of all objects in the example's half
(512 x 512 around a drawn object) and negative points from all the rest are used.

Still different, or not said in the paper: which tiles and examples (here by seed,
--tiles), how many points and runs (core/prompts.py, --runs), the resolution
(--resolution; here by the example's size, the paper's own is 0.05 m), and the
ensemble (here weighted also by how well a run finds the example again). With
--as-lecture the example's half is cut from the tile that is searched, so that some
of the answer is given, least with --part 1.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
from pathlib import Path

import geopandas as gpd
import numpy as np
import rasterio
import shapely
from rasterio.errors import RasterioError
from rasterio.features import shapes
from shapely import Polygon
from shapely.affinity import affine_transform

from core.canvas.example import read_example
from core.canvas.prompts import STRATEGIES
from core.errors import InputError
from core.geo.raster import Raster
from core.outputs import write
from core.pipeline.plan import SearchPlan, SearchSettings
from core.pipeline.search import MIN_SCORE
from research.benchmarks.accuracy import Users, add_common, measure
from research.benchmarks.command import load_network, print_measured
from research.benchmarks.layouts import Lecture
from research.benchmarks.tiles import search_with, voting
from research.common.cases import Case, Place, draw_cases

COLOURS = {"building": (0, 0, 255), "vehicle": (255, 255, 0)}
LEAST_PIXELS = 16  # smaller patches of a label's colour are slips of the annotator's hand
LECTURE = {
    "example-only": 0.002,
    "random-point": 0.693,
    "random-point-positive": 0.393,
    "random-points": 0.480,
}


@dataclasses.dataclass(frozen=True)
class Tile:
    """One tile of the data set: its name (``2_10``), image and label image."""

    name: str
    image: Path
    labels: Path


def find_tiles(folder: Path, wanted: list[str] | None = None) -> list[Tile]:
    """All tiles that have both an RGB image and a label image, by name.

    Parameters
    ----------
    wanted : list of str, optional
        Names such as ``2_10``; default: all.
    """
    labels = {_name(path, "_label"): path for path in sorted(folder.rglob("top_potsdam_*_label.tif"))}
    images = {_name(path, "_RGB"): path for path in sorted(folder.rglob("top_potsdam_*_RGB.tif"))}
    tiles = [Tile(name, images[name], labels[name]) for name in sorted(images.keys() & labels.keys())]
    if wanted is not None:
        if missing := sorted(set(wanted) - {tile.name for tile in tiles}):
            raise InputError(f"{folder} has no tile with image and labels named {', '.join(missing)}.")
        tiles = [tile for tile in tiles if tile.name in wanted]
    if not tiles:
        raise InputError(
            f"{folder} holds no pair of top_potsdam_*_RGB.tif and top_potsdam_*_label.tif. "
            "Give the folder that the published archives were unpacked into."
        )
    return tiles


def _name(path: Path, ending: str) -> str:
    return path.stem.removeprefix("top_potsdam_").removesuffix(ending)


def read_truth(tile: Tile, target: str) -> gpd.GeoDataFrame:
    """Polygons of the target's colour in a tile's label image, in the image's CRS.

    Outlines follow pixel edges; regions are connected by edges.
    """
    try:
        with rasterio.open(tile.labels) as dataset:
            labels = dataset.read((1, 2, 3))
    except (RasterioError, IndexError) as error:
        raise InputError(f"No label image with three bands can be read from {tile.labels}.") from error
    with Raster(tile.image) as raster:
        if labels.shape[1:] != (raster.height, raster.width):
            raise InputError(f"{tile.labels} is not of the size of {tile.image}.")
        map_from_px, crs = raster.map_from_px, raster.crs
    mask = np.all([band == value for band, value in zip(labels, COLOURS[target], strict=True)], axis=0)
    found = [
        Polygon(geometry["coordinates"][0], geometry["coordinates"][1:])
        for geometry, _ in shapes(mask.astype(np.uint8), mask=mask, connectivity=4)
    ]
    polygons = [
        affine_transform(polygon, map_from_px.to_shapely())
        for polygon in found
        if polygon.area >= LEAST_PIXELS
    ]
    return gpd.GeoDataFrame({"target": [target] * len(polygons)}, geometry=polygons, crs=crs)


class AsLecture(Users):
    """Runs a case in the lecture's set-up: halves, and all objects of the example image given."""

    def _pipeline(self, case: Case, strategy: str, path: Path) -> None:
        settings = SearchSettings(
            target=self.options.target,
            extent=case.place.extent_map,
            resolution=self.options.resolution,
            seed=self.options.seed,
        )
        with Raster(case.place.raster_path) as query:
            plan = SearchPlan(read_example(case.example_path, query), query, settings)
            px_from_map = (~query.map_from_px).to_shapely()
            objects_px = [affine_transform(each, px_from_map) for each in case.place.truth.geometry]
            answer = voting(STRATEGIES[strategy], self.options.runs)
            found = search_with(plan, self.segmenter, answer, layout=Lecture(objects_px))
            write.write_table(found[found["score"] >= MIN_SCORE], path)


def run(options: argparse.Namespace) -> dict:
    """Measure; gives the object that is printed."""
    places = []
    for tile in find_tiles(options.folder, options.tiles):
        with Raster(tile.image) as raster:
            bounds = raster.bounds_map
        places.append(Place(str(tile.image), read_truth(tile, options.target), _middle(bounds, options.part)))
    segmenter = load_network(options)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        cases = draw_cases(places, folder, examples=options.examples, seed=options.seed)
        runner = (AsLecture if options.as_lecture else Users)(options, segmenter, folder)
        result = measure(cases, options.strategies, runner, options)
    return {"set_up": "lecture" if options.as_lecture else "exemplar", "lecture_iou": LECTURE, **result}


def _middle(bounds, part: float) -> tuple[float, float, float, float]:
    """The middle of the bounds, ``part`` of each side long."""
    xmin, ymin, xmax, ymax = bounds
    dx, dy = (1 - part) / 2 * (xmax - xmin), (1 - part) / 2 * (ymax - ymin)
    return shapely.box(xmin + dx, ymin + dy, xmax - dx, ymax - dy).bounds


def main(arguments: list[str] | None = None) -> int:
    """Print one JSON object; 2 for wrong use or bad input."""
    parser = argparse.ArgumentParser(
        prog="python -m research.benchmarks.potsdam",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--folder", type=Path, required=True, help="the unpacked data set")
    parser.add_argument("--tiles", nargs="+", metavar="NAME", help="such as 2_10 2_11 (default: all)")
    parser.add_argument(
        "--as-lecture", action="store_true", help="halves, and all objects of the example given"
    )
    parser.add_argument(
        "--part", type=float, default=1.0, help="search the middle part of each side only (1)"
    )
    add_common(parser)
    parser.set_defaults(strategies=list(LECTURE), examples=1)
    options = parser.parse_args(arguments)

    def measured() -> dict:
        if not 0 < options.part <= 1:
            raise InputError("--part must be above 0 and at most 1.")
        return run(options)

    return print_measured("research.benchmarks.potsdam", measured, options.json)


if __name__ == "__main__":
    sys.exit(main())
