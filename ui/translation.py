"""Translates texts that don't belong to a widget."""

from __future__ import annotations

from qgis.PyQt.QtCore import QCoreApplication


def tr(text: str) -> str:
    """Translate ``text`` in the plugin's one context."""
    return QCoreApplication.translate("Exemplar", text)
