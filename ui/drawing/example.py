"""Example polygons: checked, transformed and measured."""

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
from qgis.PyQt.QtGui import QTransform

from ...core.protocol import ROLES
from ..errors import UserError
from ..translation import tr

USUAL_ELLIPSOID = "EPSG:7030"  # WGS 84


@dataclasses.dataclass(frozen=True)
class Example:
    """A polygon and the CRS of its coordinates."""

    geometry: QgsGeometry
    crs: QgsCoordinateReferenceSystem

    @classmethod
    def from_points(cls, points: list[QgsPointXY], crs: QgsCoordinateReferenceSystem) -> Example:
        """Make an example from clicked points; repeated points (a double click) count once."""
        ring = [point for i, point in enumerate(points) if i == 0 or point != points[i - 1]]
        if len(ring) > 1 and ring[0] == ring[-1]:
            ring.pop()
        if len(ring) < 3:
            raise UserError(tr("An example needs at least three corners."))
        return cls.from_geometry(QgsGeometry.fromPolygonXY([[*ring, ring[0]]]), crs)

    @classmethod
    def from_selection(cls, layer: QgsVectorLayer) -> Example:
        """Make an example from the one selected polygon of a layer."""
        features = layer.selectedFeatures()
        if len(features) != 1:
            raise UserError(
                tr("Select exactly one polygon in “{layer}” ({n} are selected).").format(
                    layer=layer.name(), n=len(features)
                )
            )
        return cls.from_geometry(features[0].geometry(), layer.crs())

    @classmethod
    def from_geometry(cls, geometry: QgsGeometry, crs: QgsCoordinateReferenceSystem) -> Example:
        """Make an example from a polygon; raise ``UserError`` where it can't serve as one."""
        if geometry.isEmpty() or geometry.type() != QgsWkbTypes.GeometryType.PolygonGeometry:
            raise UserError(tr("The example has to be a polygon."))
        if not geometry.isGeosValid():
            raise UserError(tr("The example's outline crosses itself: draw it again."))
        if geometry.area() <= 0:
            raise UserError(tr("The example has no area: its corners lie on one line."))
        return cls(geometry, crs)

    def in_crs(
        self, crs: QgsCoordinateReferenceSystem, transforms: QgsCoordinateTransformContext | None = None
    ) -> QgsGeometry:
        """Return the polygon in another CRS; a background thread passes its own transform context."""
        geometry = QgsGeometry(self.geometry)
        if self.crs.isValid() and crs.isValid() and self.crs != crs:
            try:
                transforms = transforms or QgsProject.instance().transformContext()
                geometry.transform(QgsCoordinateTransform(self.crs, crs, transforms))
            except QgsCsException as error:
                raise UserError(
                    tr("The example can't be brought into the CRS {crs}.").format(
                        crs=crs.userFriendlyIdentifier()
                    )
                ) from error
        return geometry

    def describe(self) -> str:
        """Describe its size in true metres, such as ``12.4 × 8.1 m, 98 m²``."""
        measure = self.ground_measure()
        # Right angles are right in metres only: a degree is shorter to the east than to the north.
        ground = QgsGeometry(self.geometry)
        ground.transform(self._metres_from_map(measure))
        _box, _area, _angle, width, height = ground.orientedMinimumBoundingBox()
        sides = sorted((width, height), reverse=True)
        area = measure.measureArea(self.geometry)
        return tr("{length} × {width} m, {area} m²").format(
            length=_rounded(sides[0]), width=_rounded(sides[1]), area=_rounded(area)
        )

    def ground_measure(self) -> QgsDistanceArea:
        """Return what measures areas and lengths of its CRS on the ellipsoid, as the engine does."""
        project = QgsProject.instance()
        measure = QgsDistanceArea()
        measure.setSourceCrs(self.crs, project.transformContext())
        ellipsoid = self.crs.ellipsoidAcronym() or project.ellipsoid()
        # With one that a CRS gives by its axes, QGIS measures nothing; the usual one is off by a few parts
        # in ten thousand at most.
        measure.setEllipsoid(USUAL_ELLIPSOID if ellipsoid.startswith("PARAMETER:") else ellipsoid)
        return measure

    def _metres_from_map(self, measure: QgsDistanceArea) -> QTransform:
        """Return the transform to a plane about its middle whose units are metres."""
        box = self.geometry.boundingBox()
        middle = box.center()
        across = measure.measureLine(
            QgsPointXY(box.xMinimum(), middle.y()), QgsPointXY(box.xMaximum(), middle.y())
        )
        along = measure.measureLine(
            QgsPointXY(middle.x(), box.yMinimum()), QgsPointXY(middle.x(), box.yMaximum())
        )
        scaled = QTransform.fromScale(across / box.width(), along / box.height())
        return scaled.translate(-middle.x(), -middle.y())


def _rounded(value: float) -> str:
    return f"{value:.1f}" if value < 100 else f"{value:.0f}"


@dataclasses.dataclass(frozen=True)
class ExampleSet:
    """The examples so far: what to find, and what not to find."""

    positive: tuple[Example, ...] = ()
    negative: tuple[Example, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.positive)

    def with_example(self, example: Example, *, negative: bool) -> ExampleSet:
        """Return the set with one more polygon."""
        if negative:
            return ExampleSet(self.positive, (*self.negative, example))
        return ExampleSet((*self.positive, example), self.negative)

    def by_role(self) -> list[tuple[str, Example]]:
        """List all polygons with their roles, as the engine names them."""
        together = zip(ROLES, (self.positive, self.negative))
        return [(role, example) for role, examples in together for example in examples]

    def describe(self) -> str:
        """Describe the size of the first, and the number where there are more."""
        if not self:
            return ""
        parts = [self.positive[0].describe()]
        if len(self.positive) > 1:
            parts.append(tr("{n} examples").format(n=len(self.positive)))
        if self.negative:
            parts.append(tr("{n} of “not this”").format(n=len(self.negative)))
        return "; ".join(parts)
