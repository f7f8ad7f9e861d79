"""The cases of a measurement: a raster, its truth, and example polygons drawn by the seed."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import geopandas as gpd
import shapely

from core.errors import InputError
from core.geo.raster import Raster
from core.metrics import read_polygons
from core.sam.segmenter import Segmenter
from research.common.examples import write_examples

Extent = tuple[float, float, float, float]


@dataclasses.dataclass(frozen=True)
class Place:
    """A raster with its truth.

    Attributes
    ----------
    raster_path : str
    truth : GeoDataFrame
        Of the target alone, in the raster's CRS.
    extent_map : tuple of float
        xmin, ymin, xmax, ymax that is searched and judged, in the raster's CRS.
    """

    raster_path: str
    truth: gpd.GeoDataFrame
    extent_map: Extent


@dataclasses.dataclass(frozen=True)
class Case:
    """One example on one place."""

    place: Place
    example_path: Path

    @property
    def name(self) -> str:
        """The raster's name and the example's row in the truth."""
        return self.example_path.stem


def read_place(
    raster_path: str, truth_path: str, target: str | None, extent_map: Extent | None = None
) -> Place:
    """Read a raster's truth; the extent is the raster's where none is given."""
    truth = read_polygons(truth_path, target)
    with Raster(raster_path) as raster:
        bounds = raster.bounds_map
        if raster.crs is not None and truth.crs is not None and truth.crs != raster.crs:
            truth = truth.to_crs(raster.crs)
    if extent_map is None:
        return Place(raster_path, truth, bounds)
    clipped = shapely.box(*extent_map).intersection(shapely.box(*bounds))
    if clipped.area == 0:
        raise InputError(f"The extent lies outside the raster {raster_path}.")
    return Place(raster_path, truth, clipped.bounds)


def draw_cases(
    places: list[Place], folder: Path, *, examples: int, seed: int, outliner: Segmenter | None = None
) -> list[Case]:
    """Write up to ``examples`` example files per place (:mod:`research.common.examples`)."""
    cases = []
    for place in places:
        with Raster(place.raster_path) as raster:
            files = write_examples(
                raster, place.truth, place.extent_map, folder, count=examples, seed=seed, outliner=outliner
            )
        cases += [Case(place, file) for file in files]
    if not cases:
        raise InputError("No example could be drawn: the truth has no whole object on the raster.")
    return cases
