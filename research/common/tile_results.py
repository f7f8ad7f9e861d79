"""Search a case and keep what each tile gave, through the pipeline's observer."""

from __future__ import annotations

import geopandas as gpd

from core.callbacks import Observer
from core.canvas.example import read_example
from core.geo.raster import Raster
from core.geo.work_grid import WorkGrid
from core.pipeline.plan import SearchPlan, SearchSettings
from core.pipeline.search import Search
from core.pipeline.tile import TileResult
from core.sam.segmenter import Segmenter
from research.common.cases import Case


class Recorder(Observer):
    """Keeps what each tile gave."""

    def __init__(self) -> None:
        super().__init__()
        self.results: list[TileResult] = []

    def tile_done(self, result: TileResult) -> None:
        """Keep a result."""
        self.results.append(result)


def record(
    case: Case, segmenter: Segmenter, target: str
) -> tuple[gpd.GeoDataFrame, list[TileResult], WorkGrid, SearchPlan]:
    """Search after one example: all candidates, what each tile gave, the working grid and the plan."""
    settings = SearchSettings(target=target, extent=case.place.extent_map)
    with Raster(case.place.raster_path) as raster:
        plan = SearchPlan(read_example(case.example_path, raster), raster, settings)
        recorder = Recorder()
        found = Search(plan, segmenter, observer=recorder).candidates()
        return found, recorder.results, plan.work_grid, plan
