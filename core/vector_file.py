"""Read vector files that users give: whatever is wrong with them is one sentence."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
from pyogrio.errors import DataLayerError, DataSourceError
from shapely.errors import ShapelyError

from .errors import InputError


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
        Where there is no file, or nothing can be read from it.
    """
    if not Path(path).exists():
        raise InputError(f"There is no file {path}. Check the path{name and ' ' + name}.")
    try:
        return gpd.read_parquet(path) if Path(path).suffix.lower() == ".parquet" else gpd.read_file(path)
    except ShapelyError as error:  # a ring that does not end where it began
        raise InputError(
            f"{path} holds a polygon that is not closed or else broken. Mend it first."
        ) from error
    except (DataSourceError, DataLayerError, ValueError, IndexError) as error:  # the last for folders
        raise InputError(f"No polygons can be read from {path}. Give a vector file.") from error
