"""Between QGIS's layers and the engine's files."""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from osgeo import gdal
from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsCoordinateTransformContext,
    QgsCsException,
    QgsFeature,
    QgsFields,
    QgsGeometry,
    QgsMapLayer,
    QgsMultiBandColorRenderer,
    QgsProcessingUtils,
    QgsProject,
    QgsProviderRegistry,
    QgsRasterLayer,
    QgsRectangle,
    QgsVectorFileWriter,
    QgsVectorLayer,
    QgsWkbTypes,
)

from ..core.protocol import ROLES
from .example import Example, ExampleSet, UnusableExampleError
from .texts import tr

STYLES = Path(__file__).resolve().parents[1] / "resources" / "styles"

_OPEN_OPTIONS = re.compile(r"\|option:[^|]*")


class LayerError(Exception):
    """A layer, an extent or a file can't be used; ``str(error)`` says why and what to do."""


def raster_problem(layer: QgsRasterLayer) -> str:
    """Why the engine can't read this raster, as a sentence; empty if it can.

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


def topmost_raster(shown: Iterable[QgsMapLayer], example: Example) -> QgsRasterLayer | None:
    """The raster that an example was drawn on: of those shown, the topmost first, one that can be read."""
    for layer in shown:
        if isinstance(layer, QgsRasterLayer) and not raster_problem(layer):
            with contextlib.suppress(LayerError, UnusableExampleError):
                example_on_raster(example, layer)
                return layer
    return None


def raster_source(layer: QgsRasterLayer) -> str:
    """The raster's name as GDAL itself opens it: a path, or such as ``GPKG:file:table``.

    QGIS puts the options that a file is opened with behind it. They are taken off before QGIS decodes the
    rest: it takes the last colon of a GeoPackage's name, and 3.22 finds that in the options.
    """
    return _OPEN_OPTIONS.sub("", layer.source())


def shown_bands(layer: QgsRasterLayer) -> list[int] | None:
    """The bands that the user sees as red, green and blue; None where the layer shows no such picture."""
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
    """The part of ``extent`` that the raster covers, in the raster's CRS, as xmin, ymin, xmax, ymax."""
    nowhere = LayerError(
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


def example_on_raster(
    example: Example,
    raster: QgsRasterLayer,
    transforms: QgsCoordinateTransformContext | None = None,
    role: str = ROLES[0],
) -> QgsGeometry:
    """The example in the raster's coordinates."""
    geometry = example.in_crs(raster.crs(), transforms)
    if not geometry.intersects(QgsRectangle(raster.extent())):
        problem = (
            tr("The example does not lie on “{layer}”: draw it there, or choose the raster it lies on.")
            if role == ROLES[0]
            else tr("A polygon of “not this” does not lie on “{layer}”: draw it there, or take it back.")
        )
        raise LayerError(problem.format(layer=raster.name()))
    geometry.convertToMultiType()
    return geometry


def write_examples(examples: ExampleSet, raster: QgsRasterLayer, path: str) -> None:
    """Write the examples with their roles as a GeoPackage in the raster's own coordinates.

    It carries the CRS of the raster's *file*. Where the user gave the layer another CRS, that one says
    where on earth the pixels are, but the engine only sees the file; so both stay consistent.
    """
    shapes = [(role, example_on_raster(example, raster, role=role)) for role, example in examples.by_role()]
    write_roles(path, shapes, raster.dataProvider().crs(), QgsProject.instance().transformContext())


def write_roles(
    path: str,
    shapes: Iterable[tuple[str, QgsGeometry]],
    crs: QgsCoordinateReferenceSystem,
    transforms: QgsCoordinateTransformContext,
) -> None:
    """Write shapes with the column ``role``, by which the engine knows what is wanted and what not."""
    # By way of a layer: how a field's type is named differs between the QGIS that are served.
    fields = QgsVectorLayer("Polygon?field=role:string(8)", "roles", "memory").fields()

    def features() -> Iterator[QgsFeature]:
        for role, geometry in shapes:
            feature = QgsFeature(fields)
            feature.setAttribute(0, role)
            feature.setGeometry(geometry)
            yield feature

    write_features(path, features(), fields, crs, transforms)


def write_features(
    path: str,
    features: Iterable[QgsFeature],
    fields: QgsFields,
    crs: QgsCoordinateReferenceSystem,
    transforms: QgsCoordinateTransformContext,
) -> None:
    """Write multi-polygons as a GeoPackage for the engine."""
    options = QgsVectorFileWriter.SaveVectorOptions()
    options.driverName = "GPKG"
    options.layerName = Path(path).stem
    writer = QgsVectorFileWriter.create(path, fields, QgsWkbTypes.Type.MultiPolygon, crs, transforms, options)
    written = all(writer.addFeature(feature) for feature in features)
    message = writer.errorMessage()
    del writer  # closes the file
    if message or not written:
        raise LayerError(tr("{path} could not be written: {reason}").format(path=path, reason=message))


def new_job_folder() -> Path:
    """A folder for one job's files; QGIS removes it when it closes, as it does with Processing's results."""
    return Path(QgsProcessingUtils.generateTempFilename("example.gpkg")).parent


def load_detections(path: str, name: str, raster: QgsRasterLayer | None) -> QgsVectorLayer:
    """Open the engine's result, styled, in the raster's CRS."""
    layer = QgsVectorLayer(path, name, "ogr")
    if not layer.isValid():
        raise LayerError(tr("The engine's result can't be opened: {path}").format(path=path))
    if raster is not None:
        layer.setCrs(raster.crs())
    style_detections(layer)
    return layer


def style_detections(layer: QgsVectorLayer) -> None:
    """Make detections visible on any ground."""
    style(layer, "detections")


def style(layer: QgsMapLayer, name: str) -> None:
    """Give a layer one of our styles."""
    layer.loadNamedStyle(str(STYLES / f"{name}.qml"))
    layer.triggerRepaint()


def add_on_top(layer: QgsVectorLayer) -> None:
    """Add a layer above all others, wherever the legend's selection is."""
    project = QgsProject.instance()
    project.addMapLayer(layer, False)
    project.layerTreeRoot().insertLayer(0, layer)


def save(layer: QgsVectorLayer, path: str) -> str:
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
            raise LayerError(
                tr("“{layer}” shows {path}: save under another name, or remove that layer first.").format(
                    layer=other.name(), path=target
                )
            )
    if layer.isEditable() and not layer.commitChanges():
        raise LayerError(tr("The edits could not be saved: {path}").format(path=target))
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
        raise LayerError(tr("{path} could not be written: {reason}").format(path=target, reason=message))
    # The temporary file goes when QGIS closes; a project saved with it would show nothing.
    shown = str(target) if shapefile else f"{target}|layername={options.layerName}"
    layer.setDataSource(shown, layer.name(), "ogr")
    return str(target)


def _file_of(layer: QgsMapLayer) -> Path:
    """The file that a layer shows; a path that names none where it shows none."""
    parts = QgsProviderRegistry.instance().decodeUri(layer.providerType(), layer.source())
    return Path(parts.get("path") or "")


def _is_same(one: Path, other: Path) -> bool:
    return one.is_file() and other.is_file() and one.samefile(other)


def _tables(path: Path) -> set[str]:
    """The names in a GeoPackage that are taken, in small letters, as SQLite compares them."""
    names = set()
    with contextlib.suppress(RuntimeError):  # no GeoPackage: the writer says so in its own words
        if data := gdal.OpenEx(str(path), gdal.OF_VECTOR | gdal.OF_RASTER, ["GPKG"]):
            # Not the vector layers alone: rasters and attributes have tables too.
            found = data.ExecuteSQL("SELECT name FROM sqlite_master")
            names = {row.GetField(0).casefold() for row in found}
            data.ReleaseResultSet(found)
    return names


def _free_name(wanted: str, taken: set[str]) -> str:
    """The name, numbered where it is taken."""
    names = itertools.chain([wanted], (f"{wanted} {n}" for n in itertools.count(2)))
    return next(name for name in names if name.casefold() not in taken)
