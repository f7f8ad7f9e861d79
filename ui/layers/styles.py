"""Applies the plugin's own layer styles."""

from __future__ import annotations

from pathlib import Path

from qgis.core import QgsMapLayer

STYLES = Path(__file__).resolve().parents[2] / "resources" / "styles"


def apply_style(layer: QgsMapLayer, name: str) -> None:
    """Give a layer the plugin's style of that name."""
    layer.loadNamedStyle(str(STYLES / f"{name}.qml"))
    layer.triggerRepaint()
