"""The map tool with which examples are drawn."""

from __future__ import annotations

from qgis.core import QgsPointXY, QgsWkbTypes
from qgis.gui import QgsMapCanvas, QgsMapMouseEvent, QgsMapTool
from qgis.PyQt.QtCore import Qt, pyqtSignal
from qgis.PyQt.QtGui import QKeyEvent

from ..errors import UserError
from .example import Example
from .rubber_bands import colour, example_band


class DrawTool(QgsMapTool):
    """Draws a polygon with clicks.

    Left click adds a corner; right click, double click or Enter closes the polygon. Backspace removes the
    last corner, Escape drops the drawing.
    """

    drawn = pyqtSignal(object)  # Example
    refused = pyqtSignal(str)  # the sentence
    left = pyqtSignal()  # nothing was drawn and the user is done with the tool
    corners_changed = pyqtSignal()  # there is a corner more, one less, or none any more

    def __init__(self, canvas: QgsMapCanvas) -> None:
        super().__init__(canvas)
        self._points: list[QgsPointXY] = []
        self._double_clicked = False
        self._band = example_band(canvas)
        self.setCursor(Qt.CursorShape.CrossCursor)
        # Corners are in the canvas' coordinates, and those of another CRS would be other places.
        canvas.destinationCrsChanged.connect(self._clear)

    def set_role(self, role: str) -> None:
        """Draw in the colour of a role: what to find, or what not to find."""
        colour(self._band, role)
        self._band.update()

    @property
    def corners(self) -> int:
        """The number of corners so far."""
        return len(self._points)

    def take_back(self) -> None:
        """Remove the last corner."""
        if self._points:
            self._points.pop()
            self._redraw(self._points[-1] if self._points else None)
            self.corners_changed.emit()

    def remove(self) -> None:
        """Take the tool and its rubber band off the canvas."""
        canvas = self.canvas()
        canvas.destinationCrsChanged.disconnect(self._clear)
        canvas.unsetMapTool(self)
        canvas.scene().removeItem(self._band)

    def canvasReleaseEvent(self, event: QgsMapMouseEvent) -> None:
        if self._double_clicked:
            self._finish()
        elif event.button() == Qt.MouseButton.LeftButton:
            point = event.mapPoint()
            self._points.append(QgsPointXY(point))
            self._redraw(point)
            self.corners_changed.emit()
        elif event.button() == Qt.MouseButton.RightButton:
            if self._points:
                self._finish()
            else:
                self.left.emit()

    def canvasDoubleClickEvent(self, event: QgsMapMouseEvent) -> None:
        # Finishing waits for the release that follows: it would go to the next tool, and the pan tool
        # takes a lone release as "centre the map here".
        self._double_clicked = event.button() == Qt.MouseButton.LeftButton and bool(self._points)

    def canvasMoveEvent(self, event: QgsMapMouseEvent) -> None:
        if self._points:
            self._redraw(event.mapPoint())

    def keyPressEvent(self, event: QKeyEvent) -> None:
        key = event.key()
        if key in (Qt.Key.Key_Backspace, Qt.Key.Key_Delete):
            self.take_back()
        elif key == Qt.Key.Key_Escape:
            if self._points:
                self._clear()
            else:
                self.left.emit()
        elif key in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and self._points:
            self._finish()
        else:
            return
        # Ignored on purpose: QGIS takes an accepted Backspace on the canvas as "delete what is selected".
        event.ignore()

    def deactivate(self) -> None:
        self._clear()
        super().deactivate()

    def _finish(self) -> None:
        points, crs = self._points, self.canvas().mapSettings().destinationCrs()
        try:
            example = Example.from_points(points, crs)
        except UserError as error:
            self._clear()
            self.refused.emit(str(error))
            return
        self._clear()
        self.drawn.emit(example)

    def _clear(self) -> None:
        had, self._points = bool(self._points), []
        self._double_clicked = False
        self._redraw(None)
        if had:
            self.corners_changed.emit()

    def _redraw(self, cursor: QgsPointXY | None) -> None:
        self._band.reset(QgsWkbTypes.GeometryType.PolygonGeometry)
        for point in self._points:
            self._band.addPoint(point, False)
        if self._points and cursor is not None:
            self._band.addPoint(cursor, False)
        self._band.updatePosition()
        self._band.update()
