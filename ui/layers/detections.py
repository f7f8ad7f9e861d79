"""Opens the engine's detections as a styled layer and adds it to the project."""

from __future__ import annotations

from qgis.core import QgsProject, QgsRasterLayer, QgsVectorLayer

from ..errors import UserError
from ..translation import tr
from .styles import apply_style


def load_detections(path: str, name: str, raster: QgsRasterLayer | None) -> QgsVectorLayer:
    """Open the engine's result, styled, in the raster's CRS."""
    layer = QgsVectorLayer(path, name, "ogr")
    if not layer.isValid():
        raise UserError(tr("The engine's result can't be opened: {path}").format(path=path))
    if raster is not None:
        layer.setCrs(raster.crs())
    apply_style(layer, "detections")
    return layer


def add_on_top(layer: QgsVectorLayer) -> None:
    """Add a layer above all others, wherever the legend's selection is."""
    project = QgsProject.instance()
    project.addMapLayer(layer, False)
    project.layerTreeRoot().insertLayer(0, layer)
