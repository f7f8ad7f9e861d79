"""Turns Processing's parameters into what the engine can read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from qgis.core import (
    NULL,
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsCoordinateTransformContext,
    QgsCsException,
    QgsFeature,
    QgsFeatureRequest,
    QgsField,
    QgsFields,
    QgsProcessingContext,
    QgsProcessingFeatureSource,
    QgsRasterLayer,
    QgsRectangle,
)

from ...core.protocol import ROLES, role_of
from ..drawing.example import Example, ExampleSet
from ..errors import UserError
from ..layers.job_files import write_features
from ..layers.rasters import extent_in_raster, raster_problem, raster_source
from ..translation import tr

MOST_EXAMPLES = 10  # about as many as the canvas's column holds; more is a forgotten selection

# The example is checked with a sentence of its own, and the engine mends the rest.
_UNCHECKED = QgsProcessingFeatureSource.Flag.FlagSkipGeometryValidityChecks


def raster_path(layer: QgsRasterLayer | None) -> str:
    """Return the raster's path as the engine, which runs in another folder, finds it."""
    if layer is None or not layer.isValid():
        raise UserError(tr("The raster can't be opened: choose another one."))
    if problem := raster_problem(layer):
        raise UserError(problem)
    return absolute(raster_source(layer))


def absolute(path: str) -> str:
    """Make a path absolute; names such as ``GPKG:file:table`` stay as they are."""
    return str(Path(path).absolute()) if Path(path).is_file() else path


def absolute_output(path: str) -> str:
    """Make the path of a file that is not written yet absolute; empty for none."""
    return str(Path(path).absolute()) if path else ""


def examples(source: QgsProcessingFeatureSource, role_field: str = "role") -> ExampleSet:
    """Read the source's polygons, a few at most, with the role that the field gives them.

    The engine's command line reads its column ``role`` the same way.
    """
    count = source.featureCount()
    if count > MOST_EXAMPLES:
        raise UserError(
            tr(
                "{n} polygons are too many examples (at most {most}): select the one to look for and tick "
                "“Selected features only”."
            ).format(n=count, most=MOST_EXAMPLES)
        )
    index = source.fields().lookupField(role_field) if role_field else -1
    if index < 0 and role_field not in ("", "role"):  # the default need not be there, a choice must
        raise UserError(tr("The examples have no column “{field}”.").format(field=role_field))
    request = QgsFeatureRequest().setSubsetOfAttributes([index] if index >= 0 else [])
    found = ExampleSet()
    for feature in source.getFeatures(request, _UNCHECKED):
        role = _role(feature.attribute(index), role_field) if index >= 0 else ROLES[0]
        example = Example.from_geometry(feature.geometry(), source.sourceCrs())
        found = found.with_example(example, negative=role != ROLES[0])
    if found.negative and not found.positive:
        raise UserError(tr("All polygons are negative: there has to be an example of what to find."))
    if not found:
        raise UserError(tr("There is no example polygon: draw or select one first."))
    return found


def _role(value: Any, role_field: str) -> str:
    """Return the role that a feature's attribute names, the first where it is empty."""
    said = "" if value is None or value == NULL else str(value).strip()
    role = role_of(said)
    if role is None:
        raise UserError(
            tr("The column “{field}” says “{said}”: it has to be positive, negative or empty.").format(
                field=role_field, said=said
            )
        )
    return role


def extent_on_raster(
    extent: QgsRectangle,
    crs: QgsCoordinateReferenceSystem,
    raster: QgsRasterLayer,
    transforms: QgsCoordinateTransformContext,
) -> list[float] | None:
    """Return the part of the extent that the raster covers, in its CRS; None for no extent."""
    if extent.isNull():
        return None
    try:
        return extent_in_raster(extent, crs, raster, transforms)
    except UserError as error:
        raise UserError(tr("The extent does not lie on “{layer}”.").format(layer=raster.name())) from error


def extent_in_crs(
    extent: QgsRectangle,
    crs: QgsCoordinateReferenceSystem,
    wanted: QgsCoordinateReferenceSystem,
    transforms: QgsCoordinateTransformContext,
) -> list[float] | None:
    """Transform the extent into another CRS; None for no extent."""
    if extent.isNull():
        return None
    try:
        box = QgsCoordinateTransform(crs, wanted, transforms).transformBoundingBox(extent)
    except QgsCsException as error:
        raise UserError(
            tr("The extent can't be brought into the CRS {crs}.").format(crs=wanted.userFriendlyIdentifier())
        ) from error
    return [box.xMinimum(), box.yMinimum(), box.xMaximum(), box.yMaximum()]


def write_polygons(
    source: QgsProcessingFeatureSource,
    crs: QgsCoordinateReferenceSystem,
    path: str,
    context: QgsProcessingContext,
) -> None:
    """Write a source for the engine: its shapes in ``crs`` and, where there is one, its column ``target``.

    Always a new file, even where the source is one: only so do a selection, a filter, unsaved edits, one
    layer among several in a file and a CRS that the user set all count.
    """
    fields = QgsFields()
    index = source.fields().lookupField("target")
    if index >= 0:
        field = QgsField(source.fields().at(index))
        field.setName("target")  # whatever the case of its letters was
        fields.append(field)
    request = QgsFeatureRequest().setSubsetOfAttributes([index] if index >= 0 else [])
    if source.sourceCrs().isValid() and crs.isValid():
        request.setDestinationCrs(crs, context.transformContext())

    def features() -> Iterator[QgsFeature]:
        for given in source.getFeatures(request, _UNCHECKED):
            feature = QgsFeature(fields)
            if index >= 0:
                feature.setAttribute(0, given.attribute(index))
            geometry = given.geometry()
            geometry.convertToMultiType()
            feature.setGeometry(geometry)
            yield feature

    write_features(path, features(), fields, crs, context.transformContext())
