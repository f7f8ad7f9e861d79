"""Rubber bands that show the examples: what to find in one colour, what not in another."""

from __future__ import annotations

from qgis.core import QgsCoordinateReferenceSystem, QgsGeometry, QgsWkbTypes
from qgis.gui import QgsMapCanvas, QgsRubberBand
from qgis.PyQt.QtGui import QColor

from ...core.protocol import ROLES
from ..errors import UserError
from .example import ExampleSet

POLYGON = QgsWkbTypes.GeometryType.PolygonGeometry
# Told apart by people who see no red and green, too: bright orange and dark magenta.
COLOURS = dict(zip(ROLES, ((255, 176, 0), (170, 0, 110))))


def example_band(canvas: QgsMapCanvas, role: str = ROLES[0]) -> QgsRubberBand:
    """Make the rubber band that shows polygons of one role, drawn or being drawn."""
    band = QgsRubberBand(canvas, POLYGON)
    band.setWidth(3)
    colour(band, role)
    return band


def colour(band: QgsRubberBand, role: str) -> None:
    """Give a band its role's colour."""
    band.setStrokeColor(QColor(*COLOURS[role]))
    # readable on bright roofs and on dark ones
    band.setSecondaryStrokeColor(QColor(0, 0, 0, 120) if role == ROLES[0] else QColor(255, 255, 255, 160))
    band.setFillColor(QColor(*COLOURS[role], 60))


class ExamplesOnCanvas:
    """Shows the examples on the canvas, whatever CRS the canvas is switched to.

    Bands rather than a memory layer: QGIS would ask about the layer each time it closes.
    """

    def __init__(self, canvas: QgsMapCanvas) -> None:
        self._canvas = canvas
        self._bands = {role: example_band(canvas, role) for role in ROLES}
        self._examples = ExampleSet()
        canvas.destinationCrsChanged.connect(self._redraw)

    def show(self, examples: ExampleSet) -> None:
        self._examples = examples
        self._redraw()

    def remove(self) -> None:
        self._canvas.destinationCrsChanged.disconnect(self._redraw)
        for band in self._bands.values():
            self._canvas.scene().removeItem(band)

    def shown(self, role: str) -> QgsGeometry:
        """Return the polygons of a role that the canvas shows."""
        return self._bands[role].asGeometry()

    def _redraw(self) -> None:
        crs = self._canvas.mapSettings().destinationCrs()
        for band in self._bands.values():
            band.reset(POLYGON)
        for role, example in self._examples.by_role():
            try:
                geometry = example.in_crs(crs)
            except UserError:
                continue  # nothing of it lies in the part of the world that the canvas shows
            self._bands[role].addGeometry(geometry, QgsCoordinateReferenceSystem())
