"""The example: read its polygons, choose the working resolution, cut its crops."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from pyproj import CRS, Transformer
from pyproj.exceptions import ProjError
from shapely import Polygon
from shapely.affinity import affine_transform

from core.canvas.stitch import MAX_COLUMN, Crop, crop_side
from core.errors import InputError
from core.geo.raster import Raster, Stretch
from core.geo.validity import made_valid
from core.geo.vector import read_vector
from core.geo.work_grid import WorkGrid
from core.protocol import ROLES, role_of
from core.targets import Target

MAX_ENLARGEMENT = 4.0  # beyond that the network sees interpolation, not image
LEAST_PART = 0.1  # of a shape's largest part: smaller ones are no examples
MOST = 0.5  # of a polygon
MIN_PIXELS = 4  # raster pixels of the example's longer side, below which nothing can be seen


@dataclasses.dataclass(frozen=True)
class Example:
    """Example polygons and the raster they were drawn on.

    Attributes
    ----------
    raster : Raster
    polygons_px : list of Polygon
        In the raster's own pixels.
    negatives_px : list of Polygon
        What is not wanted, likewise; they say nothing about size.
    """

    raster: Raster
    polygons_px: list[Polygon]
    negatives_px: list[Polygon] = dataclasses.field(default_factory=list)

    @property
    def longer_side_m(self) -> float:
        """Longer side in metres of the largest bounding box, along the raster's axes."""
        along_x, along_y = self.raster.metres_per_pixel
        return max(
            max((x1 - x0) * along_x, (y1 - y0) * along_y)
            for x0, y0, x1, y1 in (polygon.bounds for polygon in self.polygons_px)
        )

    @property
    def areas_m2(self) -> list[float]:
        """Areas of the polygons in square metres."""
        along_x, along_y = self.raster.metres_per_pixel
        return [polygon.area * along_x * along_y for polygon in self.polygons_px]

    @property
    def area_m2(self) -> float:
        """Median area of the polygons in square metres."""
        return float(np.median(self.areas_m2))

    @classmethod
    def from_table(
        cls, table: gpd.GeoDataFrame, raster: Raster, source: str | Path = "The table of the example"
    ) -> Example:
        """Bring example polygons to the raster's pixels, and check that they can be used.

        Parameters
        ----------
        table : GeoDataFrame
            With a column ``role``, or without, as :func:`read_example` says.
        raster : Raster
            The one that they were drawn on.
        source : str or Path
            What the table is called in errors.
        """
        roles = _roles(table, source)
        geometries = [None] * len(table) if "geometry" not in table else list(table.geometry)
        polygons: dict[str, list[Polygon]] = {role: [] for role in ROLES}
        for role, geometry in zip(roles, geometries, strict=True):
            if geometry is not None:
                polygons[role] += _polygons_of(geometry, source)
        positive, negative = (polygons[role] for role in ROLES)
        if negative and not positive:
            raise InputError(
                f"{source} says only what not to find. Draw one example polygon of what to find."
            )
        if not positive:
            raise InputError(f"{source} holds no polygon with an area. Draw one example polygon first.")
        crs = table.crs if "geometry" in table else None
        example = cls(raster, *(_in_pixels(given, crs, raster, source) for given in (positive, negative)))
        if not _all_on(raster, example.polygons_px) and (fits := _better_crs(positive, crs, raster)):
            raise InputError(
                f"The example lies outside the raster {raster.path} by the coordinate reference system that "
                f"{source} names. {fits}"
            )
        example._check()
        return example

    def _check(self) -> None:
        raster = self.raster
        if not _all_on(raster, self.polygons_px):
            raise InputError(
                f"The example lies outside the raster {raster.path}. "
                "Draw it on the image, or check its coordinate reference system."
            )
        if not _all_on(raster, self.negatives_px):
            raise InputError(
                f"A negative polygon lies outside the raster {raster.path}. "
                "Draw it on the image that the example lies on."
            )
        if any(_is_covered(wanted, other) for wanted in self.polygons_px for other in self.negatives_px):
            raise InputError("A negative polygon covers a positive one. Give each place one role.")
        if self.longer_side_m < MIN_PIXELS * min(raster.metres_per_pixel):
            raise InputError(
                f"The example is less than {MIN_PIXELS} pixels long. "
                "Draw it around a whole object, or take a sharper image."
            )


def read_example(path: str | Path, raster: Raster) -> Example:
    """Read example polygons of a vector file and bring them to the raster's pixels.

    A column ``role`` says ``positive`` or ``negative`` ("not this"); without it, and
    where it is empty, a polygon is positive.

    Raises
    ------
    InputError
        Where the file holds no positive polygon, a role is none of the two, a polygon
        does not lie on the raster, or a negative one covers a positive one.
    """
    return Example.from_table(read_vector(path, "of the example", columns=("role",)), raster, path)


def _roles(table: gpd.GeoDataFrame, path: str | Path) -> list[str]:
    """The role of each row, positive where nothing is said."""
    column = next((name for name in table.columns if str(name).lower() == "role"), None)
    if column is None:
        return [ROLES[0]] * len(table)
    roles = []
    for value in table[column]:
        said = "" if pd.api.types.is_scalar(value) and pd.isna(value) else str(value).strip()
        role = role_of(said)
        if role is None:
            raise InputError(
                f"The column role of {path} says {said!r}. Write positive or negative, or leave it empty."
            )
        roles.append(role)
    return roles


def _in_pixels(polygons: list[Polygon], crs: CRS | None, raster: Raster, source: str | Path) -> list[Polygon]:
    """Polygons of a CRS in the raster's pixels; ``InputError`` where their coordinates are none of it."""
    try:
        return _moved(polygons, crs, raster)
    except ProjError as error:
        raise InputError(
            f"The coordinates of {source} are not of the coordinate reference system that it names. "
            + (_better_crs(polygons, crs, raster) or "Set the right one for the layer, and save it again.")
        ) from error


def _moved(polygons: list[Polygon], crs: CRS | None, raster: Raster) -> list[Polygon]:
    if crs is not None and raster.crs is not None and crs != raster.crs:
        transformer = Transformer.from_crs(crs, raster.crs, always_xy=True)
        to_raster = partial(transformer.transform, errcheck=True)  # else infinite, which closes no ring
        polygons = [shapely.transform(polygon, to_raster, interleaved=False) for polygon in polygons]
    px_from_map = (~raster.map_from_px).to_shapely()
    return [affine_transform(polygon, px_from_map) for polygon in polygons]


def _better_crs(polygons: list[Polygon], crs: CRS | None, raster: Raster) -> str:
    """What to do where the polygons lie on the raster by another CRS than the one named; or nothing."""
    if crs is None or raster.crs is None:
        return ""
    for guess, name in (
        (raster.crs, f"the raster's own, {raster.crs.name}"),
        (CRS("EPSG:3857"), "EPSG:3857"),
        (CRS("EPSG:4326"), "EPSG:4326"),
    ):
        try:
            found = _moved(polygons, guess, raster)
        except ProjError:
            continue
        if guess != crs and _all_on(raster, found):
            return f"They fit {name}: set that one for the layer, and save it again."
    return ""


def _is_covered(one: Polygon, other: Polygon) -> bool:
    """Whether the other polygon covers most of the one, so that nothing would be found of it."""
    return one.intersection(other).area > MOST * one.area


def _all_on(raster: Raster, polygons_px: list[Polygon]) -> bool:
    """Whether each polygon is sound and lies on the raster by half or more."""
    image = shapely.box(0, 0, raster.width, raster.height)
    return all(
        polygon.is_valid and polygon.intersection(image).area >= 0.5 * polygon.area for polygon in polygons_px
    )


def _polygons_of(geometry: shapely.Geometry, source: str | Path) -> list[Polygon]:
    """The polygons of a shape; not the specks that an outline's slip leaves beside the object."""
    if not geometry.is_valid:
        geometry = made_valid(geometry, source)
    parts = shapely.get_parts(geometry)
    if any(part.geom_type.startswith(("Multi", "GeometryC")) for part in parts):
        parts = [inner for part in parts for inner in shapely.get_parts(part)]
    polygons = [part for part in parts if part.geom_type == "Polygon" and part.area > 0]
    largest = max((part.area for part in polygons), default=0)
    return [part for part in polygons if part.area >= LEAST_PART * largest]


def working_resolution(example: Example, query: Raster, target: Target, asked: float | None) -> float:
    """Metres per canvas pixel at which the example spans the target's range of pixels.

    The query's own resolution is kept where the example already does.

    Parameters
    ----------
    asked : float, optional
        The user's choice; it is only checked.

    Raises
    ------
    InputError
        Where the asked resolution makes the example too large for the column,
        or too small to be seen.
    """
    own = min(query.metres_per_pixel)
    length = example.longer_side_m
    if asked is None:
        fewest, most = target.example_length
        return min(max(own, length / most), max(length / fewest, own / MAX_ENLARGEMENT))
    if not asked > 0 or not math.isfinite(asked):
        raise InputError("The working resolution must be a number of metres above 0.")
    if crop_side(length / asked) > MAX_COLUMN:
        raise InputError(
            f"At {asked:g} m per pixel the example is {length / asked:.0f} pixels long, too long for the "
            f"canvas. Ask for {length / 192:.2g} m or more."
        )
    if length / asked < 2 * MIN_PIXELS:
        raise InputError(
            f"At {asked:g} m per pixel the example is {length / asked:.0f} pixels long, too small to be "
            f"seen. Ask for {length / 48:.2g} m or less."
        )
    return asked


def cut_crops(
    example: Example,
    resolution: float,
    stretch: Stretch | None,
    side_of: Callable[[float], int] = crop_side,
) -> list[Crop]:
    """Cut a square crop around each positive polygon, all of one size, at the working resolution.

    ``side_of`` gives the crops' side for the longest of the polygons' sides, both in canvas pixels.
    """
    grid = WorkGrid(example.raster, resolution)
    polygons_work = [grid.work_from_px(polygon) for polygon in example.polygons_px]
    tree = shapely.STRtree(polygons_work)
    longest = max(max(x1 - x0, y1 - y0) for x0, y0, x1, y1 in (p.bounds for p in polygons_work))
    side = side_of(longest)
    crops = []
    for polygon in polygons_work:
        x0, y0, x1, y1 = polygon.bounds
        left, top = round((x0 + x1 - side) / 2), round((y0 + y1 - side) / 2)
        image, valid = grid.read(left, top, side, side, stretch)
        mask = (grid.rasterize([polygon], left, top, (side, side)) > 0) & valid
        if not mask.any():
            raise InputError("The raster has no data under the example. Draw it on the image.")
        near = [polygons_work[i] for i in tree.query(shapely.box(left, top, left + side, top + side))]
        others = [each for each in near if each is not polygon]
        wanted = grid.rasterize(others, left, top, mask.shape) > 0 if others else None
        crops.append(Crop(image, mask, valid, wanted))
    return crops
