"""Write detections whole or not at all."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import geopandas as gpd
import numpy as np
import rasterio
import shapely
from pyogrio.errors import DataLayerError, DataSourceError
from rasterio.errors import RasterioError
from rasterio.features import rasterize
from rasterio.io import DatasetWriter
from rasterio.windows import Window
from rasterio.windows import transform as window_transform

from core.errors import InputError
from core.geo.paths import plain_path
from core.geo.raster import Raster
from core.outputs.draft_folder import DraftFolder, copy_elsewhere, make_elsewhere, take_places
from core.outputs.failures import known_cause, not_written
from core.outputs.place import DRIVERS, free_place, is_taken, main_files, other_tables, stale_files, state_of
from core.outputs.verify import check_raster, check_table

GEOTIFF = {"driver": "GTiff", "count": 1, "compress": "deflate", "tiled": True, "bigtiff": "if_safer"}
STRIP = 1024  # rows of a mask that are drawn at a time: whole blocks
_FAILURES = (DataSourceError, DataLayerError, RasterioError, OSError)


@dataclasses.dataclass
class _Result:
    """One result under way."""

    asked: Path  # as the user gave it
    place: Path  # where it goes: what the path leads to, if that is a link
    folder: DraftFolder
    before: list  # what lay there
    is_free: bool = False  # the place was chosen here, and nothing lies there
    whole: bool = False


class Drafts(ExitStack):
    """Results written beside their places and moved there together at the end.

    Used as a context manager: a failure before the end leaves what was there before. What
    is whole when something goes wrong is kept under another name, and the sentence says where.

    Parameters
    ----------
    before : dict, optional
        What lay at the results' paths when the work began, as :func:`states_of` tells. What
        has been put there since then is not replaced. Default: what lies there when a draft is begun.

    Raises
    ------
    InputError
        Where something can't be written, or not be put in its place.
    """

    def __init__(self, before: dict[Path, list] | None = None) -> None:
        super().__init__()
        self._before = before or {}
        self._results: list[_Result] = []
        self._reason: str | None = None  # why a result was written elsewhere

    def __exit__(self, kind, error, trace) -> bool | None:
        try:
            if kind is None:
                self._take_places()
        finally:
            for result in reversed(self._results):
                result.folder.close()
            super().__exit__(kind, error, trace)

    def _take_places(self) -> None:
        reason = self._reason or self._changes()
        if reason is None:
            try:
                take_places([(result.folder, result.place) for result in self._results])
                return
            except OSError as error:
                reason = str(not_written(self._asked(error), error))
        raise InputError(f"{reason} {self._keep()}".strip())

    def _asked(self, error: OSError) -> Path:
        """The result that could not take its place, as the user named it."""
        at = {Path(name) for name in (error.filename, error.filename2) if isinstance(name, str)}
        theirs = (r.asked for r in self._results if at & {*main_files(r.place), *stale_files(r.place)})
        return next(theirs, self._results[0].asked)

    def _changes(self) -> str | None:
        """Say what has been put at a result's place since the work began."""
        for result in self._results:
            if state_of(result.place) != result.before:
                others = other_tables(result.place) if result.place.suffix.lower() == ".gpkg" else []
                new = f"now holds other layers ({', '.join(others)})" if others else "was changed"
                return f"{result.asked} {new} since the run began, and stays as it is."
        return None

    def _keep(self) -> str:
        """Keep what is whole under other names; say where it is, or that it is lost."""
        kept, self._results = [r for r in self._results if r.whole], [r for r in self._results if not r.whole]
        for result in self._results:
            result.folder.close()
        self._results = kept
        places: list[Path | None] = [r.place if r.is_free else free_place(r.place) for r in kept]
        try:
            take_places([(r.folder, place) for r, place in zip(kept, places, strict=True) if place])
        except OSError:
            places = [copy_elsewhere(result.folder, result.place) for result in kept]
        there = [str(place) for place in places if place]
        lost = [str(result.asked) for result, place in zip(kept, places, strict=True) if place is None]
        return " ".join(
            [
                *([f"What was found is in {' and '.join(there)}."] if there else ()),
                *([f"{' and '.join(lost)} could not be kept: ask for it once more."] if lost else ()),
            ]
        )

    def _begin(self, path: Path, elsewhere: bool = False) -> _Result:
        """Make a folder for a result beside its place, or elsewhere where that is gone."""
        place = path.resolve()
        if not elsewhere:
            try:
                folder = DraftFolder.make(place.parent)
            except OSError as error:
                self._reason = self._reason or str(not_written(path, error))
            else:
                before = self._before[path] if path in self._before else state_of(place)
                self._results.append(_Result(path, place, folder, before))
                return self._results[-1]
        folder_elsewhere = make_elsewhere()
        if folder_elsewhere is None:
            raise InputError(f"{self._reason} {self._keep()}".strip())
        place = folder_elsewhere.path.parent / place.name
        while is_taken(place) or place in {result.place for result in self._results}:
            place = free_place(place)
        self._results.append(_Result(path, place, folder_elsewhere, [], is_free=True))
        return self._results[-1]

    def _draft(self, result: _Result) -> Path:
        """Where to write a result."""
        folder = self.enter_context(plain_path(result.folder.path))
        return folder / result.folder.draft(result.place).name

    def _write(self, path: Path, write: Callable[[Path], None]) -> None:
        """Write a result, elsewhere if the disk does not take it."""
        result = self._begin(path)
        try:
            write(self._draft(result))
        except (*_FAILURES, InputError) as error:
            told = self._told(result, error)
            if result.is_free or not known_cause(path, error):
                raise InputError(f"{told} {self._keep()}".strip()) from error
            self._reason = self._reason or str(told)
            result.folder.close()  # makes room
            self._results.remove(result)
            result = self._begin(path, elsewhere=True)
            try:
                write(self._draft(result))
            except (*_FAILURES, InputError):
                raise InputError(f"{told} {self._keep()}".strip()) from error
        result.whole = True

    def _told(self, result: _Result, error: Exception) -> InputError:
        if isinstance(error, InputError) and not known_cause(result.asked, error):
            return error
        return not_written(result.asked, error)

    def table(self, table: gpd.GeoDataFrame, path: str | Path, geometry_type: str = "Polygon") -> None:
        """A layer as GeoPackage, shapefile, GeoJSON or GeoParquet, by the path's ending.

        Parameters
        ----------
        geometry_type : str
            What an empty layer holds none of.
        """
        path = Path(path)
        layer = path.resolve().stem

        def write(draft: Path) -> None:
            _write_layer(table, draft, layer, geometry_type)
            check_table(table, draft, path)

        self._write(path, write)

    def mask(self, table: gpd.GeoDataFrame, raster: Raster, extent_map, path: str | Path) -> None:
        """Detections as a byte GeoTIFF (1 inside, 0 outside) on the raster's own pixels.

        Parameters
        ----------
        extent_map : tuple of float
            xmin, ymin, xmax, ymax; the mask covers the raster's pixels in it.
        """
        path = Path(path)

        def write(draft: Path) -> None:
            _draw_mask(table, raster, _window_of(raster, extent_map), draft)
            check_raster(draft, path)

        self._write(path, write)

    @contextmanager
    def raster(self, path: str | Path, profile: dict) -> Iterator[DatasetWriter]:
        """A compressed GeoTIFF of one band, open to be written window by window.

        Parameters
        ----------
        profile : dict
            Size, type, transform and CRS, as rasterio takes them.
        """
        path = Path(path)
        result = self._begin(path)
        draft = self._draft(result)
        try:
            with rasterio.open(draft, "w", **GEOTIFF, **profile) as written:
                yield written
            check_raster(draft, path)
        except (*_FAILURES, InputError) as error:
            if isinstance(error, InputError) and draft.exists() and not known_cause(path, error):
                raise
            raise InputError(f"{self._told(result, error)} {self._keep()}".strip()) from error
        result.whole = True


def write_table(table: gpd.GeoDataFrame, path: str | Path) -> None:
    """Write one table whole or not at all; see :meth:`Drafts.table`."""
    with Drafts() as drafts:
        drafts.table(table, path)


def write_mask(table: gpd.GeoDataFrame, raster: Raster, extent_map, path: str | Path) -> None:
    """Write one mask whole or not at all; see :meth:`Drafts.mask`."""
    with Drafts() as drafts:
        drafts.mask(table, raster, extent_map, path)


def _write_layer(table: gpd.GeoDataFrame, draft: Path, layer: str, geometry_type: str) -> None:
    driver = DRIVERS[draft.suffix]
    if driver == "Parquet":
        table.to_parquet(draft, index=False)
        return
    options = {"ENCODING": "UTF-8"} if driver == "ESRI Shapefile" else {}
    with warnings.catch_warnings():
        # A raster without a CRS gives a layer without one; the user knows.
        warnings.filterwarnings("ignore", message=".*crs.* was not provided")
        kind = {"driver": driver, "geometry_type": geometry_type, "layer": layer}
        table.to_file(draft, engine="pyogrio", **kind, **options)


def _draw_mask(table: gpd.GeoDataFrame, raster: Raster, window: Window, draft: Path) -> None:
    transform = window_transform(window, raster.map_from_px)
    width, height = int(window.width), int(window.height)
    profile = {
        "dtype": "uint8",
        "width": width,
        "height": height,
        "transform": transform,
        "crs": raster.crs.to_wkt() if raster.crs else None,
    }
    shapes = table.geometry.to_numpy()
    tree = shapely.STRtree(shapes)
    with rasterio.open(draft, "w", **GEOTIFF, **profile) as written:
        for top in range(0, height, STRIP):  # a large raster's mask need not fit into memory
            strip = Window(0, top, width, min(STRIP, height - top))
            there = window_transform(strip, transform)
            mask = np.zeros((int(strip.height), width), np.uint8)
            ends = [there @ (x, y) for x in (0, width) for y in (0, strip.height)]
            inside = tree.query(shapely.MultiPoint(ends).convex_hull, predicate="intersects")
            if len(inside):
                rasterize(shapes[inside], out=mask, transform=there, default_value=1)
            written.write(mask, 1, window=strip)


def _window_of(raster: Raster, extent_map) -> Window:
    xmin, ymin, xmax, ymax = extent_map
    corners = [(xmin, ymin), (xmin, ymax), (xmax, ymin), (xmax, ymax)]
    columns, rows = zip(*((~raster.map_from_px) @ corner for corner in corners), strict=True)
    left, top = max(0, int(np.floor(min(columns)))), max(0, int(np.floor(min(rows))))
    right = min(raster.width, int(np.ceil(max(columns))))
    bottom = min(raster.height, int(np.ceil(max(rows))))
    return Window(left, top, right - left, bottom - top)
