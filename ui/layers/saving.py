"""Saves a layer as a shapefile or into a GeoPackage."""

from __future__ import annotations

import contextlib
import itertools
from pathlib import Path

from osgeo import gdal
from qgis.core import (
    NULL,
    QgsMapLayer,
    QgsProject,
    QgsProviderRegistry,
    QgsVectorFileWriter,
    QgsVectorLayer,
)

from ..errors import UserError
from ..translation import tr
from . import drafts


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
    if target.exists() and not shapefile:
        # Runs have the same title until the user renames them: never replace another one's table.
        table = _free_name(layer.name(), _tables(target))
        _write(layer, target, table, QgsVectorFileWriter.ActionOnExistingFile.CreateOrOverwriteLayer)
    else:
        table = target.stem
        _write_file(layer, target, table)
    # The temporary file goes when QGIS closes; a project saved with it would show nothing.
    layer.setDataSource(_source(target, table), layer.name(), "ogr")
    return str(target)


def _source(path: Path, table: str) -> str:
    return str(path) if path.suffix.lower() == ".shp" else f"{path}|layername={table}"


def _write_file(layer: QgsVectorLayer, target: Path, table: str) -> None:
    """Write a file whole or not at all: beside its place first, under its own name."""
    try:
        with drafts.folder(target.parent) as folder:
            _write(layer, folder / target.name, table, named=target)
            drafts.take_place(folder, target)
    except OSError as error:
        raise _not_written(target, drafts.cause(error, target)) from error


def _write(
    layer: QgsVectorLayer,
    path: Path,
    table: str,
    action: QgsVectorFileWriter.ActionOnExistingFile = (
        QgsVectorFileWriter.ActionOnExistingFile.CreateOrOverwriteFile
    ),
    named: Path | None = None,
) -> None:
    """Write a layer's features to a table of a file, and read them back: a full disk is not always told."""
    options = QgsVectorFileWriter.SaveVectorOptions()
    options.driverName = "ESRI Shapefile" if path.suffix.lower() == ".shp" else "GPKG"
    options.layerName, options.actionOnExistingFile, options.fileEncoding = table, action, "UTF-8"
    # `fid` is the GeoPackage's row number: a column of its own in a shapefile, a clash in a new GeoPackage.
    fields = layer.fields()
    options.attributes = [i for i in range(fields.count()) if fields.at(i).name() != "fid"]
    code, message, _path, _layer = QgsVectorFileWriter.writeAsVectorFormatV3(
        layer, str(path), QgsProject.instance().transformContext(), options
    )
    failed = code != QgsVectorFileWriter.WriterError.NoError
    # whatever QGIS makes of the name when the layer shows it: "a|layername=b.gpkg" is another file
    if not failed and _content(QgsVectorLayer(_source(path, table), "written", "ogr")) == _content(layer):
        return
    if action == QgsVectorFileWriter.ActionOnExistingFile.CreateOrOverwriteLayer:
        _drop_table(path, table)
    if told := drafts.trouble(path.parent, named or path):
        message = told
    elif not failed:
        message = tr("QGIS can't read it back. Choose another name")
    raise _not_written(named or path, message)


def _not_written(path: Path, reason: str) -> UserError:
    return UserError(tr("{path} could not be written: {reason}").format(path=path, reason=reason))


def _content(layer: QgsVectorLayer) -> tuple[int, int, int]:
    """How many features, shapes and values a layer holds."""
    columns = [i for i, field in enumerate(layer.fields()) if field.name() != "fid"]
    features = shapes = values = 0
    for feature in layer.getFeatures() if layer.isValid() else ():
        features += 1
        shapes += feature.hasGeometry()
        values += sum(not _is_null(feature.attribute(i)) for i in columns)
    return features, shapes, values


def _is_null(value: object) -> bool:
    return value is None or value == NULL or value == ""


def _drop_table(path: Path, table: str) -> None:
    with contextlib.suppress(RuntimeError):
        if data := gdal.OpenEx(str(path), gdal.OF_VECTOR | gdal.OF_UPDATE, ["GPKG"]):
            names = [data.GetLayer(i).GetName() for i in range(data.GetLayerCount())]
            if table in names:
                data.DeleteLayer(names.index(table))


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
