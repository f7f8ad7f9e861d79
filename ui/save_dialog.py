"""Where to save the detections: the file dialog, and the folder that it remembers."""

from __future__ import annotations

from pathlib import Path

from qgis.core import QgsFileUtils
from qgis.PyQt.QtWidgets import QFileDialog, QMessageBox, QWidget

from . import settings
from .texts import tr


def ask_where(parent: QWidget) -> str:
    """Ask for a file, with the ending of the format that was chosen; empty where the user leaves it."""
    filters = {".gpkg": tr("GeoPackage (*.gpkg)"), ".shp": tr("ESRI Shapefile (*.shp)")}
    suggestion = str(Path(settings.save_folder(), "detections.gpkg"))
    typed, chosen = QFileDialog.getSaveFileName(
        parent, tr("Save detections"), suggestion, ";;".join(filters.values())
    )
    if not typed:
        return ""
    path = QgsFileUtils.addExtensionFromFilter(typed, chosen)
    # The dialog asked about the name that was typed only.
    if path != typed and Path(path).exists() and not _may_replace(parent, path):
        return ""
    settings.set_save_folder(str(Path(path).parent))
    return path


def _may_replace(parent: QWidget, path: str) -> bool:
    question = tr("{path} already exists. Replace the detections in it?").format(path=path)
    answer = QMessageBox.question(parent, tr("Save detections"), question)
    return answer == QMessageBox.StandardButton.Yes
