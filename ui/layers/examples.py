"""Places examples on a raster and writes the file that the engine reads them from."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransformContext,
    QgsFeature,
    QgsGeometry,
    QgsMapLayer,
    QgsProject,
    QgsRasterLayer,
    QgsRectangle,
    QgsVectorLayer,
)

from ...core.protocol import ROLES
from ..drawing.example import Example, ExampleSet
from ..errors import UserError
from ..translation import tr
from .job_files import write_features
from .rasters import raster_problem


def topmost_raster(shown: Iterable[QgsMapLayer], example: Example) -> QgsRasterLayer | None:
    """Return the raster that an example was drawn on: the topmost shown one that can be read."""
    for layer in shown:
        if isinstance(layer, QgsRasterLayer) and not raster_problem(layer):
            with contextlib.suppress(UserError):
                example_on_raster(example, layer)
                return layer
    return None


def example_on_raster(
    example: Example,
    raster: QgsRasterLayer,
    transforms: QgsCoordinateTransformContext | None = None,
    role: str = ROLES[0],
) -> QgsGeometry:
    """Return the example in the raster's coordinates; raise ``UserError`` where it lies elsewhere."""
    geometry = example.in_crs(raster.crs(), transforms)
    if not geometry.intersects(QgsRectangle(raster.extent())):
        problem = (
            tr("The example does not lie on “{layer}”: draw it there, or choose the raster it lies on.")
            if role == ROLES[0]
            else tr("A polygon of “not this” does not lie on “{layer}”: draw it there, or take it back.")
        )
        raise UserError(problem.format(layer=raster.name()))
    geometry.convertToMultiType()
    return geometry


def write_examples(examples: ExampleSet, raster: QgsRasterLayer, path: str) -> None:
    """Write the examples with their roles as a GeoPackage in the raster's own coordinates.

    It carries the CRS of the raster's *file*. Where the user gave the layer another CRS, that one says
    where on earth the pixels are, but the engine only sees the file; so both stay consistent.
    """
    shapes = [(role, example_on_raster(example, raster, role=role)) for role, example in examples.by_role()]
    write_roles(path, shapes, raster.dataProvider().crs(), QgsProject.instance().transformContext())


def write_roles(
    path: str,
    shapes: Iterable[tuple[str, QgsGeometry]],
    crs: QgsCoordinateReferenceSystem,
    transforms: QgsCoordinateTransformContext,
) -> None:
    """Write shapes with the column ``role``, by which the engine knows what is wanted and what not."""
    # By way of a layer: how a field's type is named differs between the QGIS that are served.
    fields = QgsVectorLayer("Polygon?field=role:string(8)", "roles", "memory").fields()

    def features() -> Iterator[QgsFeature]:
        for role, geometry in shapes:
            feature = QgsFeature(fields)
            feature.setAttribute(0, role)
            feature.setGeometry(geometry)
            yield feature

    write_features(path, features(), fields, crs, transforms)
