"""Reads from raster layers what the engine needs: the file, the bands, the extent."""

from __future__ import annotations

import re
from pathlib import Path

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsCoordinateTransformContext,
    QgsCsException,
    QgsMultiBandColorRenderer,
    QgsProject,
    QgsProviderRegistry,
    QgsRasterLayer,
    QgsRectangle,
)

from ..errors import UserError
from ..translation import tr

_OPEN_OPTIONS = re.compile(r"\|option:[^|]*")


def raster_problem(layer: QgsRasterLayer) -> str:
    """Say in a sentence why the engine can't read this raster; empty if it can.

    The engine is another process and reads the file itself.
    """
    name = layer.name()
    if layer.providerType() != "gdal":
        return tr(
            "“{layer}” is not a file, but comes from the web or from a database: save the part you need "
            "with Export → Save As… first."
        ).format(layer=name)
    path = QgsProviderRegistry.instance().decodeUri("gdal", raster_source(layer)).get("path") or ""
    # QGIS opens what GDAL has by names of its own, such as files in an archive or on a server: /vsi…
    if not Path(path).is_file() and layer.isValid() and path.startswith("/vsi"):
        return tr(
            "“{layer}” is not a file on this computer's disk: save it with Export → Save As… first."
        ).format(layer=name)
    if not Path(path).is_file() or not layer.isValid():
        return tr(
            "“{layer}” can't be opened: its file is missing or damaged ({path}). Repair it with Change Data "
            "Source… in the layer's menu, or choose another image."
        ).format(layer=name, path=path)
    if not layer.dataProvider().crs().isValid():
        return tr(
            "The file of “{layer}” names no coordinate system: assign one with Raster → Projections → "
            "Assign Projection…"
        ).format(layer=name)
    return ""


def raster_source(layer: QgsRasterLayer) -> str:
    """Return the raster's name as GDAL itself opens it: a path, or such as ``GPKG:file:table``.

    QGIS puts the options that a file is opened with behind it. They are taken off before QGIS decodes the
    rest: it takes the last colon of a GeoPackage's name, and 3.22 finds that in the options.
    """
    return _OPEN_OPTIONS.sub("", layer.source())


def shown_bands(layer: QgsRasterLayer) -> list[int] | None:
    """Return the bands that the layer shows as red, green and blue; None where it shows no such picture."""
    renderer = layer.renderer()
    if not isinstance(renderer, QgsMultiBandColorRenderer):
        return None
    bands = [renderer.redBand(), renderer.greenBand(), renderer.blueBand()]
    return bands if min(bands) > 0 else None


def extent_in_raster(
    extent: QgsRectangle,
    crs: QgsCoordinateReferenceSystem,
    raster: QgsRasterLayer,
    transforms: QgsCoordinateTransformContext | None = None,
) -> list[float]:
    """Return the part of ``extent`` that the raster covers, in its CRS, as xmin, ymin, xmax, ymax."""
    nowhere = UserError(
        tr("“{layer}” is not in the visible extent: zoom to the layer first.").format(layer=raster.name())
    )
    try:
        transforms = transforms or QgsProject.instance().transformContext()
        inside = QgsCoordinateTransform(crs, raster.crs(), transforms).transformBoundingBox(extent)
    except QgsCsException as error:
        raise nowhere from error
    inside = inside.intersect(raster.extent())
    if inside.isEmpty():
        raise nowhere
    return [inside.xMinimum(), inside.yMinimum(), inside.xMaximum(), inside.yMaximum()]
