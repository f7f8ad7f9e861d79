"""Saves a layer as a shapefile or into a GeoPackage."""

from __future__ import annotations

import contextlib
import itertools
from pathlib import Path

from osgeo import gdal
from qgis.core import QgsMapLayer, QgsProject, QgsProviderRegistry, QgsVectorFileWriter, QgsVectorLayer

from ..errors import UserError
from ..translation import tr


def save_layer(layer: QgsVectorLayer, path: str) -> str:
    """Save a layer as shapefile or GeoPackage, by the path's ending, and let the layer show that file.

    Edits under way are saved with it. In a GeoPackage that is there already the layer
    becomes one of its layers, by its own name or the next that is free; all others stay.
    A shapefile that another layer shows is not replaced: that layer would show this one's
    features, and write its own edits into them.

    Returns
    -------
    str
        The path written: the one given, with ``.gpkg`` added where it had neither ending.
    """
    target = Path(path)
    if target.suffix.lower() not in (".shp", ".gpkg"):
        target = target.with_name(target.name + ".gpkg")
    source = _file_of(layer)
    shapefile = target.suffix.lower() == ".shp"
    for other in QgsProject.instance().mapLayers().values():
        if shapefile and other.id() != layer.id() and _is_same(_file_of(other), target):
            raise UserError(
                tr("“{layer}” shows {path}: save under another name, or remove that layer first.").format(
                    layer=other.name(), path=target
                )
            )
    if layer.isEditable() and not layer.commitChanges():
        raise UserError(tr("The edits could not be saved: {path}").format(path=target))
    if _is_same(source, target):
        return str(target)
    options = QgsVectorFileWriter.SaveVectorOptions()
    options.driverName = "ESRI Shapefile" if shapefile else "GPKG"
    options.layerName = target.stem
    overwriting = QgsVectorFileWriter.ActionOnExistingFile
    options.actionOnExistingFile = overwriting.CreateOrOverwriteFile
    if target.exists() and not shapefile:
        # Runs have the same title until the user renames them: never replace another one's table.
        options.layerName = _free_name(layer.name(), _tables(target))
        options.actionOnExistingFile = overwriting.CreateOrOverwriteLayer
    options.fileEncoding = "UTF-8"
    # `fid` is the GeoPackage's row number: a column of its own in a shapefile, a clash in a new GeoPackage.
    fields = layer.fields()
    options.attributes = [i for i in range(fields.count()) if fields.at(i).name() != "fid"]
    code, message, _path, _layer = QgsVectorFileWriter.writeAsVectorFormatV3(
        layer, str(target), QgsProject.instance().transformContext(), options
    )
    if code != QgsVectorFileWriter.WriterError.NoError:
        raise UserError(tr("{path} could not be written: {reason}").format(path=target, reason=message))
    # The temporary file goes when QGIS closes; a project saved with it would show nothing.
    shown = str(target) if shapefile else f"{target}|layername={options.layerName}"
    layer.setDataSource(shown, layer.name(), "ogr")
    return str(target)


def _file_of(layer: QgsMapLayer) -> Path:
    """Return the file that a layer shows; a path that names none where it shows none."""
    parts = QgsProviderRegistry.instance().decodeUri(layer.providerType(), layer.source())
    return Path(parts.get("path") or "")


def _is_same(one: Path, other: Path) -> bool:
    return one.is_file() and other.is_file() and one.samefile(other)


def _tables(path: Path) -> set[str]:
    """List the names in a GeoPackage that are taken, in small letters, as SQLite compares them."""
    names = set()
    with contextlib.suppress(RuntimeError):  # no GeoPackage: the writer says so in its own words
        if data := gdal.OpenEx(str(path), gdal.OF_VECTOR | gdal.OF_RASTER, ["GPKG"]):
            # Not the vector layers alone: rasters and attributes have tables too.
            found = data.ExecuteSQL("SELECT name FROM sqlite_master")
            names = {row.GetField(0).casefold() for row in found}
            data.ReleaseResultSet(found)
    return names


def _free_name(wanted: str, taken: set[str]) -> str:
    """Return the name, numbered where it is taken."""
    names = itertools.chain([wanted], (f"{wanted} {n}" for n in itertools.count(2)))
    return next(name for name in names if name.casefold() not in taken)
