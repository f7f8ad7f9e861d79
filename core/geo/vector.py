"""Read vector files that users give: whatever is wrong with them is one sentence."""

from __future__ import annotations

import warnings
from pathlib import Path

import geopandas as gpd
import pyogrio
from pyogrio.errors import DataLayerError, DataSourceError
from shapely.errors import ShapelyError

from core.errors import InputError
from core.geo.paths import check_name, plain_path


def read_vector(path: str | Path, name: str = "") -> gpd.GeoDataFrame:
    """Read a layer of any format that geopandas knows.

    Parameters
    ----------
    path : str or Path
    name : str
        What the file is to the user, for the message where there is none: "of the example".

    Raises
    ------
    InputError
        Where there is no file, nothing can be read from it, or it holds several layers of shapes.
    """
    check_name(path)
    if not Path(path).exists():
        raise InputError(f"There is no file {path}. Check the path{name and ' ' + name}.")
    try:
        with plain_path(path) as plain:
            return _read(plain, path)
    except ShapelyError as error:  # a ring that does not end where it began
        raise InputError(
            f"{path} holds a polygon that is not closed or else broken. Mend it first."
        ) from error
    except (DataSourceError, DataLayerError, ValueError, IndexError) as error:  # the last for folders
        raise InputError(f"No polygons can be read from {path}. Give a vector file.") from error


def _read(plain: Path, path: str | Path) -> gpd.GeoDataFrame:
    """Read what lies at a plain path; the other is the user's own, for the message."""
    if plain.suffix.lower() == ".parquet":
        table = gpd.read_parquet(plain)
        # the only format whose shapes may have another column's name
        return table if table.geometry.name == "geometry" else table.rename_geometry("geometry")
    with warnings.catch_warnings():  # M values, which pyogrio leaves out, are of no use here
        warnings.filterwarnings("ignore", message=".*Measured.*")
        return gpd.read_file(plain, layer=_layer_of(plain, path))


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
