"""What a search will look at, before any network is loaded: extent, working grid, example crops and tiles."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import shapely

from core.canvas.example import Example, cut_crops, working_resolution
from core.canvas.prompts import strategy_named
from core.canvas.stitch import crop_side
from core.canvas.tiling import Tiling
from core.geo.extent import asked_extent
from core.geo.raster import Raster
from core.geo.work_grid import WorkGrid
from core.parameters import check_values
from core.pipeline import split_encoding
from core.protocol import DetectRequest
from core.targets import target_named


@dataclasses.dataclass(frozen=True)
class SearchSettings:
    """How to search; every field as the parameter of that name in :class:`core.protocol.DetectRequest`.

    Parameters
    ----------
    target, strategy : str
    extent : sequence of float, optional
        ``xmin, ymin, xmax, ymax`` in the raster's CRS. Default: the whole raster.
    resolution : float, optional
        Metres per canvas pixel. Default: from the example's size.
    runs, seed : int
    encode : {"together", "apart"}
    regularize, rectangles : bool
    views : int, optional
        In how many mirrorings a tile is shown, 1 to 4. Default: what suits the network.
    """

    target: str = DetectRequest.target
    strategy: str = DetectRequest.strategy
    extent: Sequence[float] | None = None
    resolution: float | None = None
    runs: int = DetectRequest.runs
    seed: int = DetectRequest.seed
    encode: str = DetectRequest.encode
    regularize: bool = False
    rectangles: bool = False
    views: int | None = None

    def check(self) -> None:
        """Raise ``InputError`` where a setting can't be used, whatever the image."""
        own = {key: value for key, value in vars(self).items() if key != "extent"}  # see `asked_extent`
        check_values(DetectRequest, own)
        target_named(self.target)
        strategy_named(self.strategy)


class SearchPlan:
    """Everything about a search that example, raster and settings say.

    Parameters
    ----------
    example : Example
    raster : Raster
        The one to search.
    settings : SearchSettings

    Attributes
    ----------
    target : Target
    strategy : Strategy
    extent_map : Polygon
    work_grid : WorkGrid
        Of the raster to search, at the working resolution.
    stretch : Stretch, optional
        What the example is shown in, too, where both rasters hold numbers of one type.
    crops : list of Crop
    example_areas : tuple of float
        In canvas pixels.

    Raises
    ------
    InputError
        Where the extent or the resolution can't be used, or there is no image under the example.
    """

    def __init__(self, example: Example, raster: Raster, settings: SearchSettings):
        settings.check()
        self.example, self.settings = example, settings
        self.target, self.strategy = target_named(settings.target), strategy_named(settings.strategy)
        self.extent_map = asked_extent(settings.extent, raster)
        resolution = working_resolution(example, raster, self.target, settings.resolution)
        self.work_grid = WorkGrid(raster, resolution)
        self.stretch = raster.stretch if example.raster.dtype == raster.dtype else None
        side_of = split_encoding.crop_side_in_steps if self.splits_encoding else crop_side
        self.crops = cut_crops(example, resolution, self.stretch, side_of)
        self.example_areas = tuple(area / resolution**2 for area in example.areas_m2)

    @property
    def splits_encoding(self) -> bool:
        """Whether example and query are encoded each alone."""
        return self.settings.encode == "apart"

    @property
    def extent_work(self) -> shapely.Polygon:
        """The extent in working pixels."""
        return self.work_grid.to_work(self.extent_map)

    @property
    def sizes_m2(self) -> tuple[float, float]:
        """Smallest and largest area of a detection: every example that was drawn must fit."""
        least, most = self.target.area_ratio
        return least * min(self.example.areas_m2), most * max(self.example.areas_m2)

    def tiling_of(self, work_grid: WorkGrid) -> Tiling:
        """Lay tiles over a raster; with split encoding the same ones for examples of about the same size."""
        length = self.example.longer_side_m / work_grid.resolution
        if self.splits_encoding:
            length = split_encoding.in_steps(length)
        return Tiling(work_grid.width, work_grid.height, self.crops[0].image.shape[0], length)
