"""Gives rasters that the engine has written the CRS of the layer they were made from."""

from __future__ import annotations

from osgeo import gdal
from qgis.core import QgsCoordinateReferenceSystem, QgsProcessingException

from ..translation import tr

_FOR_GDAL = QgsCoordinateReferenceSystem.WktVariant.WKT_PREFERRED_GDAL


def assign_crs(path: str, crs: QgsCoordinateReferenceSystem, of_file: QgsCoordinateReferenceSystem) -> None:
    """Assign the layer's CRS to a raster, where the user has set another CRS than the file's.

    The engine knows the image's file only; vectors get the layer's CRS when they are copied.

    Parameters
    ----------
    path : str
        The raster that the engine wrote.
    crs, of_file : QgsCoordinateReferenceSystem
        The layer's, and that of its file.
    """
    if not crs.isValid() or crs == of_file:
        return
    try:  # GDAL raises or not, as another plugin may have told it
        data = gdal.Open(path, gdal.GA_Update)
        failed = data is None or data.SetProjection(crs.toWkt(_FOR_GDAL)) != gdal.CE_None
        data = None  # closes the file
    except RuntimeError:
        failed = True
    if failed:
        raise QgsProcessingException(
            tr("{path} is written, but could not be given the layer's CRS {crs}.").format(
                path=path, crs=crs.userFriendlyIdentifier()
            )
        )
