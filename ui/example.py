"""The example polygon: what the user drew, whether it can be used, and how large it is."""

from __future__ import annotations

import dataclasses

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsCoordinateTransformContext,
    QgsCsException,
    QgsDistanceArea,
    QgsGeometry,
    QgsPointXY,
    QgsProject,
    QgsVectorLayer,
    QgsWkbTypes,
)
from qgis.gui import QgsMapCanvas, QgsRubberBand
from qgis.PyQt.QtGui import QColor

from .texts import tr

OUTLINE = QColor(255, 176, 0)
FILL = QColor(255, 176, 0, 60)


class UnusableExampleError(Exception):
    """The polygon can't serve as an example; ``str(error)`` says why."""


@dataclasses.dataclass(frozen=True)
class Example:
    """One polygon and the CRS of its coordinates."""

    geometry: QgsGeometry
    crs: QgsCoordinateReferenceSystem

    @classmethod
    def from_points(cls, points: list[QgsPointXY], crs: QgsCoordinateReferenceSystem) -> Example:
        """Close a ring of clicked points; repeated points (a double click) count once."""
        ring = [point for i, point in enumerate(points) if i == 0 or point != points[i - 1]]
        if len(ring) > 1 and ring[0] == ring[-1]:
            ring.pop()
        if len(ring) < 3:
            raise UnusableExampleError(tr("An example needs at least three corners."))
        return cls.from_geometry(QgsGeometry.fromPolygonXY([[*ring, ring[0]]]), crs)

    @classmethod
    def from_selection(cls, layer: QgsVectorLayer) -> Example:
        """Take the one selected polygon of a layer."""
        features = layer.selectedFeatures()
        if len(features) != 1:
            raise UnusableExampleError(
                tr("Select exactly one polygon in “{layer}” ({n} are selected).").format(
                    layer=layer.name(), n=len(features)
                )
            )
        return cls.from_geometry(features[0].geometry(), layer.crs())

    @classmethod
    def from_geometry(cls, geometry: QgsGeometry, crs: QgsCoordinateReferenceSystem) -> Example:
        """Take a polygon that can serve as an example."""
        if geometry.isEmpty() or geometry.type() != QgsWkbTypes.GeometryType.PolygonGeometry:
            raise UnusableExampleError(tr("The example has to be a polygon."))
        if not geometry.isGeosValid():
            raise UnusableExampleError(tr("The example's outline crosses itself: draw it again."))
        if geometry.area() <= 0:
            raise UnusableExampleError(tr("The example has no area: its corners lie on one line."))
        return cls(geometry, crs)

    def in_crs(
        self, crs: QgsCoordinateReferenceSystem, transforms: QgsCoordinateTransformContext | None = None
    ) -> QgsGeometry:
        """The polygon in another CRS, by default as the project transforms; a thread brings its own."""
        geometry = QgsGeometry(self.geometry)
        if self.crs.isValid() and crs.isValid() and self.crs != crs:
            try:
                transforms = transforms or QgsProject.instance().transformContext()
                geometry.transform(QgsCoordinateTransform(self.crs, crs, transforms))
            except QgsCsException as error:
                raise UnusableExampleError(
                    tr("The example can't be brought into the CRS {crs}.").format(
                        crs=crs.userFriendlyIdentifier()
                    )
                ) from error
        return geometry

    def describe(self) -> str:
        """Its size in true metres, such as ``12.4 × 8.1 m, 98 m²``."""
        project = QgsProject.instance()
        measure = QgsDistanceArea()
        measure.setSourceCrs(self.crs, project.transformContext())
        measure.setEllipsoid(self.crs.ellipsoidAcronym() or project.ellipsoid())
        box = self.geometry.orientedMinimumBoundingBox()[0].asPolygon()[0]
        sides = sorted(
            (measure.measureLine(box[0], box[1]), measure.measureLine(box[1], box[2])), reverse=True
        )
        area = measure.measureArea(self.geometry)
        return tr("{length} × {width} m, {area} m²").format(
            length=_rounded(sides[0]), width=_rounded(sides[1]), area=_rounded(area)
        )


def _rounded(value: float) -> str:
    return f"{value:.1f}" if value < 100 else f"{value:.0f}"


def example_band(canvas: QgsMapCanvas) -> QgsRubberBand:
    """The outline that shows an example, drawn or being drawn, on the canvas."""
    band = QgsRubberBand(canvas, QgsWkbTypes.GeometryType.PolygonGeometry)
    band.setStrokeColor(OUTLINE)
    band.setSecondaryStrokeColor(QColor(0, 0, 0, 120))  # readable on bright roofs too
    band.setFillColor(FILL)
    band.setWidth(3)
    return band


class ExampleOnCanvas:
    """Keeps the example visible on the canvas, whatever CRS the canvas is switched to.

    A band rather than a memory layer: QGIS would ask about the layer each time it closes.
    """

    def __init__(self, canvas: QgsMapCanvas) -> None:
        self._canvas = canvas
        self._band = example_band(canvas)
        self._example: Example | None = None
        canvas.destinationCrsChanged.connect(self._redraw)

    def show(self, example: Example | None) -> None:
        self._example = example
        self._redraw()

    def remove(self) -> None:
        self._canvas.destinationCrsChanged.disconnect(self._redraw)
        self._canvas.scene().removeItem(self._band)

    def _redraw(self) -> None:
        self._band.reset(QgsWkbTypes.GeometryType.PolygonGeometry)
        if self._example:
            try:
                geometry = self._example.in_crs(self._canvas.mapSettings().destinationCrs())
            except UnusableExampleError:
                return  # nothing of it lies in the part of the world that the canvas shows
            self._band.setToGeometry(geometry)
