"""The dialog that asks for the file to save detections to; it remembers the folder."""

from __future__ import annotations

from pathlib import Path

from qgis.core import QgsFileUtils
from qgis.PyQt.QtWidgets import QFileDialog, QMessageBox, QWidget

from .. import settings
from ..plain_text import as_plain
from ..translation import tr


def ask_where(parent: QWidget, title: str) -> str:
    """Ask for a file, with the ending of the format that was chosen; empty where the user cancels.

    Parameters
    ----------
    parent : QWidget
    title : str
        Of the layer that is to be saved.
    """
    filters = {".gpkg": tr("GeoPackage (*.gpkg)"), ".shp": tr("ESRI Shapefile (*.shp)")}
    # The dialog's own question is about replacing, but a GeoPackage that is there is added to.
    typed, chosen = QFileDialog.getSaveFileName(
        parent,
        tr("Save detections"),
        str(_free_file(settings.save_folder())),
        ";;".join(filters.values()),
        options=QFileDialog.Option.DontConfirmOverwrite,
    )
    if not typed:
        return ""
    ending = next((ending for ending, text in filters.items() if text == chosen), "")
    if ending and Path(typed).suffix.lower() in filters:  # the suggested one, which not all dialogs exchange
        typed = str(Path(typed).with_suffix(ending))
    path = QgsFileUtils.addExtensionFromFilter(typed, chosen)
    if Path(path).exists() and not _may_write(parent, path, title):
        return ""
    settings.set_save_folder(str(Path(path).parent))
    return path


def _free_file(folder: str) -> Path:
    """Suggest a file that does not exist yet."""
    names = (Path(folder, f"detections{number}.gpkg") for number in ("", *range(2, 1000)))
    return next((path for path in names if not path.exists()), Path(folder, "detections.gpkg"))


def _may_write(parent: QWidget, path: str, title: str) -> bool:
    question = (
        tr("{path} exists already. Replace it?")
        if path.lower().endswith(".shp")
        else tr("{path} exists already. Add “{title}” to it? Its other layers stay.")
    )
    text = as_plain(question.format(path=path, title=title))
    answer = QMessageBox.question(parent, tr("Save detections"), text)
    return answer == QMessageBox.StandardButton.Yes
