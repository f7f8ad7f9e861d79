"""What lies at a result's place: its files, the tables of a GeoPackage, and whether they changed."""

from __future__ import annotations

import itertools
import os
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

DRIVERS = {".gpkg": "GPKG", ".shp": "ESRI Shapefile", ".geojson": "GeoJSON", ".parquet": "Parquet"}
SHAPEFILE_FILES = (".shp", ".shx", ".dbf", ".prj", ".cpg")
SHAPEFILE_PARTS = (*SHAPEFILE_FILES, ".qix", ".sbn", ".sbx")  # the last three are indexes that programs make
# What a database of another program left unfinished would be applied to the new file.
GEOPACKAGE_PARTS = ("-wal", "-shm", "-journal")
RASTER_PARTS = (".aux.xml", ".ovr", ".msk")  # what GDAL and QGIS leave beside one

_TABLES = (
    "SELECT table_name, data_type, last_change FROM gpkg_contents UNION "
    "SELECT name, 'table', NULL FROM sqlite_master WHERE type = 'table' "
    "AND name NOT IN (SELECT table_name FROM gpkg_contents) ORDER BY 1"
)
_STYLES = ("layer_styles", "attributes")  # QGIS's, of the result's own layer


def main_files(path: Path) -> list[Path]:
    """The files that a result consists of, whether they are there or not; those to be written."""
    if path.suffix.lower() == ".shp":
        return [path.with_suffix(part) for part in SHAPEFILE_FILES]
    return [path]


def stale_files(path: Path) -> list[Path]:
    """What may lie beside an older result and says nothing true of a new one."""
    indexes = [path.with_suffix(part) for part in SHAPEFILE_PARTS if part not in SHAPEFILE_FILES]
    beside = GEOPACKAGE_PARTS if path.suffix.lower() == ".gpkg" else RASTER_PARTS
    return [
        *(indexes if path.suffix.lower() == ".shp" else ()),
        *(path.with_name(path.name + part) for part in beside),
    ]


def state_of(path: Path) -> list:
    """What distinguishes what lies at a place from what is put there later.

    Of a GeoPackage its tables and when their rows changed last: QGIS writes into one that
    it only shows. Of anything else sizes and times.

    Returns
    -------
    list
        Of strings, numbers and lists, as JSON holds them; empty where nothing is there.
    """
    if path.suffix.lower() == ".gpkg" and (tables := _tables(path)) is not None:
        return [[name, kind, changed] for name, kind, changed in tables if (name, kind) != _STYLES]
    found = []
    for file in main_files(path):
        try:
            there = file.lstat()
        except OSError:
            continue
        found.append([file.suffix, there.st_size, there.st_mtime_ns])
    return found


def other_tables(path: Path) -> list[str]:
    """What a GeoPackage holds besides the one layer of shapes that a result of that name has.

    Not layers alone: QGIS keeps projects in a table that the GeoPackage's own list doesn't name.
    """
    own = {(path.stem, "features"), _STYLES}
    return [name for name, kind, _ in _tables(path) or () if (name, kind) not in own]


def _tables(path: Path) -> list[tuple[str, str, str]] | None:
    """Name, kind and time of the last change; without those that a GeoPackage itself needs."""
    if not path.is_file():
        return None
    # as it is, if it can't be locked: a medium that can only be read, or another program's
    for how in ("mode=ro", "mode=ro&immutable=1"):
        try:
            with closing(sqlite3.connect(f"{path.absolute().as_uri()}?{how}", uri=True)) as database:
                found = database.execute(_TABLES).fetchall()
        except sqlite3.Error:  # the last time: no GeoPackage
            continue
        return [
            (name, kind, changed)
            for name, kind, changed in found
            if not (kind == "table" and name.lower().startswith(("gpkg_", "rtree_", "sqlite_")))
        ]
    return None


def states_of(results: Iterable[str | None]) -> dict[Path, list]:
    """What lies at the results' paths: tell it when the work begins to :class:`core.outputs.write.Drafts`."""
    return {Path(path): state_of(Path(path).resolve()) for path in results if path}


def free_place(path: Path) -> Path:
    """The path with a number behind the name, the first at which nothing lies."""
    numbered = (path.with_name(f"{path.stem}_{number}{path.suffix}") for number in itertools.count(2))
    return next(place for place in numbered if not is_taken(place))


def is_taken(path: Path) -> bool:
    """Whether a file of a result of that name is there."""
    return any(os.path.lexists(file) for file in (*main_files(path), *stale_files(path)))
