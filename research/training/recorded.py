"""One run of the pipeline on a case, for fits that look over its shoulder by patching a step of it."""

from __future__ import annotations

import tempfile
from pathlib import Path

import geopandas as gpd

from core.geo.raster import Raster
from core.metrics import read_polygons
from core.pipeline.detect import detect
from core.protocol import DetectRequest
from core.sam.segmenter import Segmenter
from research.benchmarks.cases import Case


def run(case: Case, segmenter: Segmenter, target: str) -> tuple[gpd.GeoDataFrame, list[float]]:
    """What one example finds, whatever its score, and what takes shapes from the map to working pixels."""
    with tempfile.TemporaryDirectory() as folder:
        request = DetectRequest(
            raster=case.place.raster_path,
            example=str(case.example_path),
            output=str(Path(folder) / "found.gpkg"),
            extent=list(case.place.extent_map),
            target=target,
            min_score=0.0,
        )
        resolution = detect(request, segmenter=segmenter).resolution
        found = read_polygons(request.output)
    with Raster(case.place.raster_path) as raster:
        return found, (~raster.map_from_work(resolution)).to_shapely()
