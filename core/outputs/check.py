"""Where a result goes: found out before the work whether it can, and that it takes nothing with it."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterable
from pathlib import Path

import geopandas as gpd
import shapely
from pyogrio.errors import DataLayerError, DataSourceError
from pyproj import CRS

from core.errors import InputError
from core.geo.paths import check_name, plain_path
from core.outputs.draft_folder import DraftFolder, sweep
from core.outputs.failures import known_cause, not_written
from core.outputs.place import DRIVERS, SHAPEFILE_PARTS, main_files, other_tables, stale_files

LEAST = 1 << 16  # bytes that a disk must have left for the work to begin

_SOURCE = re.compile(r"<SrcDataSource[^>]*>([^<]+)<")  # of a virtual layer of GDAL's


def check_writable(path: str | Path, endings: tuple[str, ...] = tuple(DRIVERS)) -> Path:
    """Find out before the work begins whether a result can be written.

    Raises
    ------
    InputError
        Where the ending is unknown, the name can't be used, the folder is missing or can't be
        written to, a GeoPackage holds more than an earlier result, or the parts of a shapefile
        are there without it.
    """
    path = Path(path)
    ending = path.suffix.lower()
    check_name(path)
    if ending not in endings:
        raise InputError(f"{path} ends in no known format. Give it one of: {', '.join(endings)}.")
    if path.is_dir():
        raise InputError(f"{path} is a folder. Give the path of a file.")
    if not path.parent.is_dir():
        raise InputError(f"There is no folder {path.parent}. Make it first, or choose another.")
    file = path.resolve()  # where the path is a link: what it leads to
    sweep(file.parent)
    try:
        draft_folder = DraftFolder.make(file.parent)
    except OSError as error:
        raise not_written(path, error) from error
    try:
        probe = draft_folder.path / file.name
        probe.write_bytes(b"\0" * LEAST)
        probe.unlink()
        _try_layer(draft_folder.draft(file), file.stem, path)
    except OSError as error:
        raise not_written(path, error) from error
    finally:
        draft_folder.close()
    if ending == ".gpkg" and (others := other_tables(file)):
        raise InputError(
            f"{path} holds other layers, which would be lost: {', '.join(others)}. Choose another output."
        )
    if ending == ".shp":
        _check_shapefile(path, file)
    return path


def _try_layer(probe: Path, layer: str, path: Path) -> None:
    """Formats have rules for names: a GeoPackage's layer must not begin with ``gpkg``."""
    driver = DRIVERS.get(probe.suffix)
    if driver in (None, "Parquet"):
        return
    table = gpd.GeoDataFrame(geometry=[shapely.box(0, 0, 1, 1)], crs="EPSG:3857")
    try:
        with plain_path(probe) as plain:
            table.to_file(plain, driver=driver, engine="pyogrio", layer=layer)
    except (DataSourceError, DataLayerError) as error:
        if known_cause(path, error):
            raise not_written(path, error) from error
        raise InputError(f"{path} can't be written: {error}. Choose another name.") from error


def _check_shapefile(path: Path, file: Path) -> None:
    if path.suffix != ".shp":  # it would be written in small letters, beside what the path names
        raise InputError(f"{path} would be written as .shp. Give it that ending.")
    strangers = [file.with_suffix(ending) for ending in SHAPEFILE_PARTS[1:]]
    found = [part.name for part in strangers if part.exists()]
    if found and not file.exists():
        raise InputError(
            f"{', '.join(found)} would be overwritten by {path}, and is no part of an older one. "
            "Choose another name."
        )


def check_apart(results: Iterable[str | None], inputs: Iterable[str | None]) -> None:
    """Find out before the work begins whether a result would replace an input or another result.

    Raises
    ------
    InputError
        Where it would.
    """
    given = {file for path in inputs if path for file in _files_read(Path(path))}
    taken: set[Path] = set()
    for path in filter(None, results):
        files = _files_written(Path(path).resolve())
        if any(file in given or not given.isdisjoint(file.parents) for file in files):
            raise InputError(f"{path} would be overwritten. Choose another output.")
        if taken & files:
            raise InputError(f"Two results would be written to {path}. Give each a file of its own.")
        taken |= files


def _files_written(path: Path) -> set[Path]:
    """All files that a result replaces or removes."""
    return {*main_files(path), *stale_files(path)}


def _files_read(path: Path) -> set[Path]:
    """The files that an input is read from; a folder stands for all that it holds."""
    files = {path.resolve()}
    if path.suffix.lower() == ".shp":
        files |= {path.resolve().with_suffix(part) for part in SHAPEFILE_PARTS}
    if path.suffix.lower() == ".vrt" and path.is_file():  # of a raster GDAL tells the files
        named = _SOURCE.findall(path.read_text(encoding="utf-8", errors="replace"))
        files |= {(folder / name.strip()).resolve() for name in named for folder in (path.parent, Path())}
    return files


def check_holds(path: str | Path, crs: CRS | None) -> None:
    """Find out before the work begins whether a format can say in which CRS its coordinates are.

    GeoJSON names a CRS by its code only, and a file without one is read as degrees.

    Raises
    ------
    InputError
        Where it can't.
    """
    if DRIVERS[Path(path).suffix.lower()] != "GeoJSON":
        return
    with io.BytesIO() as probe, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the CRS that lacks, which is looked at below
        gpd.GeoDataFrame(geometry=[shapely.Point(0, 0)], crs=crs).to_file(
            probe, driver="GeoJSON", engine="pyogrio"
        )
        back = gpd.read_file(probe.getvalue()).crs
    if crs is None or back is None or not back.equals(crs, ignore_axis_order=True):
        raise InputError(
            f"{path} can't be written: GeoJSON can't hold this raster's coordinate reference system. "
            "Choose a GeoPackage, .gpkg."
        )
