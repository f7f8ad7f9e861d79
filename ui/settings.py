"""The settings that the plugin keeps between sessions."""

from __future__ import annotations

from pathlib import Path

from qgis.core import QgsSettings

_PREFIX = "exemplar/"


def _text(key: str) -> str:
    return str(QgsSettings().value(_PREFIX + key, "") or "")


def engine_python() -> str:
    """Return the engine's Python that the user chose; empty where none was chosen."""
    return _text("engine_python")


def set_engine_python(path: str) -> None:
    QgsSettings().setValue(_PREFIX + "engine_python", path)


def model() -> str:
    """Return the model that the user chose last; empty where none was chosen."""
    return _text("model")


def set_model(name: str) -> None:
    QgsSettings().setValue(_PREFIX + "model", name)


def save_folder() -> str:
    """Return the folder in which the user saved detections last; empty where none is known."""
    folder = _text("save_folder")
    return folder if Path(folder).is_absolute() else ""


def set_save_folder(path: str) -> None:
    QgsSettings().setValue(_PREFIX + "save_folder", path)
