"""Read vector files that users give: whatever is wrong with them is one sentence."""

from __future__ import annotations

import glob
import shutil
import stat
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import geopandas as gpd
import pyogrio
from pyogrio.errors import DataLayerError, DataSourceError
from shapely.errors import ShapelyError

from core.errors import InputError
from core.geo.paths import check_name, plain_path


def read_vector(path: str | Path, name: str = "", columns: Sequence[str] | None = None) -> gpd.GeoDataFrame:
    """Read a layer of any format that geopandas knows.

    Parameters
    ----------
    path : str or Path
    name : str
        What the file is to the user, for the message where there is none: "of the example".
    columns : sequence of str, optional
        Lower-case names of the columns to read, whatever their case in the file. Nothing that
        stands in another column can be wrong then. Default: all.

    Raises
    ------
    InputError
        Where there is no file, nothing can be read from it, or it holds several layers of shapes
        or two of a column.
    """
    check_name(path)
    kind = _kind_of(path)
    if kind is None:
        raise InputError(f"There is no file {path}. Check the path{name and ' ' + name}.")
    if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):  # a pipe would never end
        raise InputError(f"{path} is a device or a pipe, no file. Give a vector file.")
    try:
        with plain_path(path) as plain, _with_index(plain) as whole:
            return _read(whole, path, columns)
    except ShapelyError as error:  # a ring that does not end where it began
        raise InputError(
            f"{path} holds a polygon that is not closed or else broken, or a surface such as a TIN. "
            "Mend it, or save it as polygons, first."
        ) from error
    except (DataSourceError, DataLayerError, ValueError, IndexError, KeyError, OSError) as error:
        # IndexError for folders; pyarrow raises ValueError, KeyError or OSError for what is no GeoParquet
        raise InputError(f"No polygons can be read from {path}. Give a vector file.") from error


def _kind_of(path: str | Path) -> int | None:
    """What lies at a path, as ``stat`` has it; None where there is nothing."""
    try:
        return Path(path).stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise InputError(
            f"{path} can't be read: {error.strerror or error}. Check its path and your rights."
        ) from error


@contextmanager
def _with_index(path: Path) -> Iterator[Path]:
    """Give a shapefile's path or, where its index is missing, that of a copy for which GDAL makes one."""
    if path.suffix.lower() != ".shp" or any(path.with_suffix(end).exists() for end in (".shx", ".SHX")):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="exemplar-") as folder:
        for part in path.parent.glob(f"{glob.escape(path.stem)}.*"):
            if part.is_file():
                shutil.copy(part, folder)
        pyogrio.set_gdal_config_options({"SHAPE_RESTORE_SHX": True})
        try:
            yield Path(folder) / path.name
        finally:
            pyogrio.set_gdal_config_options({"SHAPE_RESTORE_SHX": None})


def _read(plain: Path, path: str | Path, columns: Sequence[str] | None) -> gpd.GeoDataFrame:
    """Read what lies at a plain path; the other is the user's own, for the message."""
    if plain.suffix.lower() == ".parquet":
        # The only format whose shapes may have another column's name; with its metadata it is read whole.
        table = gpd.read_parquet(plain)
        table = table if table.geometry.name == "geometry" else table.rename_geometry("geometry")
        return table if columns is None else table[[*_chosen(list(table), columns, path), "geometry"]]
    layer = _layer_of(plain, path)
    fields = list(pyogrio.read_info(plain, layer=layer)["fields"])
    with warnings.catch_warnings():  # M values, which pyogrio leaves out, are of no use here
        warnings.filterwarnings("ignore", message=".*Measured.*")
        return gpd.read_file(plain, layer=layer, columns=_chosen(fields, columns, path))


def _chosen(names: Sequence[str], columns: Sequence[str] | None, path: str | Path) -> list[str]:
    """Those of a file's columns that are asked for; all where none are named."""
    if columns is None:
        return [name for name in names if name != "geometry"]
    chosen = [name for name in names if name.lower() in columns]
    for column in columns:
        same = [name for name in chosen if name.lower() == column]
        if len(same) > 1:
            raise InputError(f"{path} has the columns {' and '.join(same)}. Keep the one that counts.")
    return chosen


def _layer_of(plain: Path, path: str | Path) -> str:
    """The one layer that may hold polygons, or else the first one."""
    found = pyogrio.list_layers(plain)
    if len(found) == 0:
        raise DataLayerError("no layer")
    shapes = [(name, kind) for name, kind in found if kind is not None]
    names = [name for name, kind in shapes if not any(other in kind for other in ("Point", "LineString"))]
    names = names or [found[0][0]]
    if len(names) > 1:
        raise InputError(
            f"{path} holds several layers: {', '.join(names)}. Save the one to use to a file of its own."
        )
    return names[0]
