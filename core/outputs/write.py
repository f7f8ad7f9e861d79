"""Write detections whole or not at all."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator
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
from core.outputs.check import DRIVERS, GEOPACKAGE_PARTS, RASTER_PARTS, SHAPEFILE_PARTS
from core.outputs.verify import check_raster, check_table

DRAFT = "draft"  # a plain name: libraries change others, and would write beside what was asked for
STRIP = 1024  # rows of a mask that are drawn at a time: whole blocks


class Drafts(ExitStack):
    """Results written beside their places and moved there together at the end.

    Used as a context manager: a failure before the end leaves what was there before.

    Raises
    ------
    InputError
        Where something can't be written, or not be put in its place.
    """

    def __init__(self) -> None:
        super().__init__()
        self._written: list[tuple[Path, Path]] = []

    def __exit__(self, kind, error, trace) -> bool | None:
        try:
            if kind is None:
                for folder, path in self._written:
                    _move(folder, path)
        finally:
            super().__exit__(kind, error, trace)

    def _draft(self, path: Path) -> Path:
        """Where to write what goes to a path; to the file itself where the path is a link to one."""
        path = path.resolve()
        folder = self.enter_context(tempfile.TemporaryDirectory(dir=path.parent, prefix=".exemplar-"))
        self._written.append((Path(folder), path))
        return self.enter_context(plain_path(folder)) / f"{DRAFT}{path.suffix.lower()}"

    def table(self, table: gpd.GeoDataFrame, path: str | Path, geometry_type: str = "Polygon") -> None:
        """A layer as GeoPackage, shapefile, GeoJSON or GeoParquet, by the path's ending.

        Parameters
        ----------
        geometry_type : str
            What an empty layer holds none of.
        """
        path = Path(path)
        driver = DRIVERS[path.suffix.lower()]
        options = {"ENCODING": "UTF-8"} if driver == "ESRI Shapefile" else {}
        draft = self._draft(path)
        try:
            if driver == "Parquet":
                table.to_parquet(draft, index=False)
            else:
                with warnings.catch_warnings():
                    # A raster without a CRS gives a layer without one; the user knows.
                    warnings.filterwarnings("ignore", message=".*crs.* was not provided")
                    kind = {"driver": driver, "geometry_type": geometry_type}
                    table.to_file(draft, engine="pyogrio", layer=path.resolve().stem, **kind, **options)
        except (DataSourceError, DataLayerError, OSError) as error:
            raise InputError(f"{path} could not be written: {error}.") from error
        check_table(table, draft, path)

    def mask(self, table: gpd.GeoDataFrame, raster: Raster, extent_map, path: str | Path) -> None:
        """Detections as a byte GeoTIFF (1 inside, 0 outside) on the raster's own pixels.

        Parameters
        ----------
        extent_map : tuple of float
            xmin, ymin, xmax, ymax; the mask covers the raster's pixels in it.
        """
        path = Path(path)
        window = _window_of(raster, extent_map)
        transform = window_transform(window, raster.map_from_px)
        width, height = int(window.width), int(window.height)
        profile = {
            "dtype": "uint8",
            "width": width,
            "height": height,
            "transform": transform,
            "crs": raster.crs.to_wkt() if raster.crs else None,
        }
        with self.raster(path, profile) as written:
            shapes = table.geometry.to_numpy()
            tree = shapely.STRtree(shapes)
            for top in range(0, height, STRIP):  # a large raster's mask need not fit into memory
                strip = Window(0, top, width, min(STRIP, height - top))
                there = window_transform(strip, transform)
                mask = np.zeros((int(strip.height), width), np.uint8)
                ends = [there @ (x, y) for x in (0, width) for y in (0, strip.height)]
                inside = tree.query(shapely.MultiPoint(ends).convex_hull, predicate="intersects")
                if len(inside):
                    rasterize(shapes[inside], out=mask, transform=there, default_value=1)
                written.write(mask, 1, window=strip)

    @contextmanager
    def raster(self, path: str | Path, profile: dict) -> Iterator[DatasetWriter]:
        """A compressed GeoTIFF of one band, open to be written window by window.

        Parameters
        ----------
        profile : dict
            Size, type, transform and CRS, as rasterio takes them.
        """
        path = Path(path)
        kind = {"driver": "GTiff", "count": 1, "compress": "deflate", "tiled": True, "bigtiff": "if_safer"}
        draft = self._draft(path)
        try:
            with rasterio.open(draft, "w", **kind, **profile) as written:
                yield written
        except (RasterioError, OSError) as error:
            raise InputError(f"{path} could not be written: {error}.") from error
        check_raster(draft, path)


def write_table(table: gpd.GeoDataFrame, path: str | Path) -> None:
    """Write one table whole or not at all; see :meth:`Drafts.table`."""
    with Drafts() as drafts:
        drafts.table(table, path)


def write_mask(table: gpd.GeoDataFrame, raster: Raster, extent_map, path: str | Path) -> None:
    """Write one mask whole or not at all; see :meth:`Drafts.mask`."""
    with Drafts() as drafts:
        drafts.mask(table, raster, extent_map, path)


def _window_of(raster: Raster, extent_map) -> Window:
    xmin, ymin, xmax, ymax = extent_map
    corners = [(xmin, ymin), (xmin, ymax), (xmax, ymin), (xmax, ymax)]
    columns, rows = zip(*((~raster.map_from_px) @ corner for corner in corners), strict=True)
    left, top = max(0, int(np.floor(min(columns)))), max(0, int(np.floor(min(rows))))
    right = min(raster.width, int(np.ceil(max(columns))))
    bottom = min(raster.height, int(np.ceil(max(rows))))
    return Window(left, top, right - left, bottom - top)


def _move(folder: Path, path: Path) -> None:
    """Move a result's files from their folder to their place, and what belonged to an older one away."""
    try:
        if path.suffix.lower() == ".shp":
            for stale in (path.with_suffix(ending) for ending in SHAPEFILE_PARTS):
                if stale.exists() and not (folder / f"{DRAFT}{stale.suffix}").exists():
                    stale.unlink()
        if path.suffix.lower() == ".gpkg":
            for ending in GEOPACKAGE_PARTS:
                path.with_name(path.name + ending).unlink(missing_ok=True)
        for part in SHAPEFILE_PARTS if path.suffix.lower() == ".shp" else (path.suffix,):
            draft = folder / f"{DRAFT}{part.lower()}"
            if draft.exists():
                draft.replace(path.with_suffix(part))
        for ending in RASTER_PARTS:  # last: an older raster that can't be replaced keeps what is its own
            path.with_name(path.name + ending).unlink(missing_ok=True)
    except OSError as error:
        raise InputError(
            f"{path} is in use by another program. Close it there, or choose another."
        ) from error
