"""Makes the folder of a job and writes polygons into it for the engine."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransformContext,
    QgsFeature,
    QgsFields,
    QgsProcessingUtils,
    QgsVectorFileWriter,
    QgsWkbTypes,
)

from ..errors import UserError
from ..translation import tr


def new_job_folder() -> Path:
    """Make a folder for one job's files; QGIS removes it when it closes, as Processing's results."""
    return Path(QgsProcessingUtils.generateTempFilename("example.gpkg")).parent


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
        raise UserError(tr("{path} could not be written: {reason}").format(path=path, reason=message))
